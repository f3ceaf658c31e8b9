"""Criteria and the procedures that turn a dense model into a sparse one."""

from lacuna.registry import Registry

PRUNERS: Registry = Registry("lacuna.pruning", "pruner", __path__[0])
