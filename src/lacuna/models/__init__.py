"""Architectures and their registry."""

from lacuna.registry import Registry

MODELS: Registry = Registry("lacuna.models", "model", __path__[0])
