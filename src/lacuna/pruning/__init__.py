"""Criteria and the procedures that turn a dense model into a sparse one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lacuna.registry import Registry

if TYPE_CHECKING:
    from lacuna.pruning.base import Pruner

PRUNERS: Registry[type[Pruner]] = Registry("lacuna.pruning", "pruner", __path__[0])
