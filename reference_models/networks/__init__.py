"""Networks: modules only, no losses, no data."""
