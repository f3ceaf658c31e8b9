"""How originals and oracles are trained: one file per recipe."""

from lacuna.registry import Registry

RECIPES: Registry = Registry("lacuna.training.recipes", "recipe", __path__[0])
