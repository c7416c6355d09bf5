"""Feature extractors and distances of deep features."""
