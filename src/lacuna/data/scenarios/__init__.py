"""Forget scenarios: which training samples are to be forgotten."""
