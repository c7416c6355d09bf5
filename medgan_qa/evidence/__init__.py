"""Evidence: the run's folder and its exports."""
