"""SGD with the options of `Recipe`."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.registry import register
from lacuna.training.recipe import Recipe


@register("sgd")
@dataclass(frozen=True, kw_only=True)
class SgdRecipe(Recipe):
    """Training from scratch by the published recipe or any other: every option of `Recipe`, whose defaults it has."""
