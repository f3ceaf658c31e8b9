"""One-shot magnitude pruning of a trained model."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.pruning.base import TrainedPruner
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.registry import register


@register("omp")
@dataclass(frozen=True, kw_only=True)
class MagnitudePruning(TrainedPruner):
    """One-shot magnitude pruning: keep the (1−s) largest |θ_T|, θ ← m⊙θ_k, train on.

    Source: Frankle et al., ICML 2020 (rewinding); Jia et al., NeurIPS 2023 (OMP before unlearning).
    """

    criterion = magnitude
