"""One-shot pruning of a trained model: score the weights once, restart, train with the mask."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.pruning import criteria
from lacuna.pruning.base import TrainedPruner
from lacuna.registry import register


@register("omp")
@dataclass(frozen=True, kw_only=True)
class MagnitudePruning(TrainedPruner):
    """One-shot magnitude pruning: keep the (1−s) largest |θ_T|, θ ← m⊙θ_k, train on.

    Source: Frankle et al., ICML 2020 (rewinding); Jia et al., NeurIPS 2023 (OMP before unlearning).
    """

    criterion = criteria.magnitude


@register("random")
@dataclass(frozen=True, kw_only=True)
class RandomPruning(TrainedPruner):
    """One random draw over all prunable weights; otherwise as omp. The baseline for every criterion."""

    criterion = criteria.random
