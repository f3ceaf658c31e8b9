"""Metrics of one cell: one file for each question."""
