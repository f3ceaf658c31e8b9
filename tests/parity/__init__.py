"""Parity with published reference code."""
