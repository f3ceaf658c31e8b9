"""The published CIFAR setting."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.registry import register
from lacuna.training.recipe import Recipe


@register("standard")
@dataclass(frozen=True, kw_only=True)
class Standard(Recipe):
    """The published CIFAR setting by a name of its own: what `sgd` is without options."""
