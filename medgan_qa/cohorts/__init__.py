"""Cohorts: dataset files, readers by format, embedded phantoms and lesions."""
