"""Iterative pruning: prune a little, restart, train, again, until the sparsity is reached."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.fields import Fraction
from lacuna.pruning.base import TrainedPruner
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.registry import register


@register("imp")
@dataclass(frozen=True, kw_only=True)
class IterativeMagnitudePruning(TrainedPruner):
    """Iterative magnitude pruning: in rounds, remove the smallest |θ_T| of the surviving weights, θ ← m⊙θ_k, train.

    The last round removes just enough to land on the requested sparsity. The masks of one run are nested: what a round
    removed never returns. Rounds are shared by all sparsities.
    rate: share of the survivors that a round removes.
    Source: Frankle & Carbin, ICLR 2019; Chen et al., NeurIPS 2020.
    """

    rate: Fraction = 0.2  # type: ignore[misc]

    criterion = magnitude
