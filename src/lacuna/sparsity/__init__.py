"""Masks, and networks without the filters that a mask removes."""
