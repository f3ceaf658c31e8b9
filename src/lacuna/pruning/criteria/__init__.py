"""Criteria: one score per prunable weight, one file each; the lowest are removed."""
