"""The coordinates of a cell as a grid spells them."""

from __future__ import annotations

from decimal import Decimal

from lacuna.artifacts.coordinates import DENSE as DENSE

# Singular wildcard of each axis that holds labelled entries, in the order of a path.
AXES = {
    "dataset": "datasets",
    "model": "models",
    "recipe": "recipes",
    "scenario": "scenarios",
    "pruner": "pruners",
    "unlearner": "unlearners",
}


def canonical_sparsity(value: str | float) -> str:
    """One spelling for a sparsity, whatever was typed: 0.9, "0.9" and "0.90" → "0.90"."""
    number = Decimal(str(value)).normalize()
    decimals = max(2, -int(number.as_tuple().exponent))
    return f"{number:.{decimals}f}"
