"""Magnitude: how large a weight is."""

from __future__ import annotations

from torch import nn

from lacuna.pruning.criteria.base import Scores
from lacuna.sparsity.mask import prunable


def magnitude(model: nn.Module, *, include_linear: bool = False) -> Scores:
    """|θ| of the trained weights (Han et al., NeurIPS 2015)."""
    return {name: w.detach().abs() for name, w in prunable(model, include_linear).items()}
