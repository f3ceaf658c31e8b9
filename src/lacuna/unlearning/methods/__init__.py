"""Unlearners: one file for each method."""
