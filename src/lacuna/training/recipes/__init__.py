"""How originals and oracles are trained: one file per recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lacuna.registry import Registry

if TYPE_CHECKING:
    from lacuna.training.recipe import Recipe

RECIPES: Registry[type[Recipe]] = Registry("lacuna.training.recipes", "recipe", __path__[0])
