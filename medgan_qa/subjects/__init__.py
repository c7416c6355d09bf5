"""Subjects: cards, the four protocols, loading by format, the safety check."""
