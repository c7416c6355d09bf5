"""Planted defects through the audits that must catch them, and clean subjects through the same rules."""
