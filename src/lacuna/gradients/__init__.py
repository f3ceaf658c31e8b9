"""Gradients of a model on data: of all samples together, and of each one."""
