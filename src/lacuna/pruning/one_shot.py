"""One-shot pruning of a trained model: score the weights once, restart, train with the mask."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.fields import Count
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
    """Random pruning: keep (1−s) of the prunable weights by one random draw; otherwise as omp.

    The baseline for every criterion.
    Source: definition.
    """

    criterion = criteria.random


@register("taylor")
@dataclass(frozen=True, kw_only=True)
class TaylorPruning(TrainedPruner):
    """Taylor pruning of weights: keep the (1−s) largest Σ over batches of (θ_T ⊙ ∂ℓ/∂θ)², θ ← m⊙θ_k, train on.

    One pass over the retained samples, in evaluation mode and without augmentation.
    batch_size: samples whose mean gradient is squared.
    Cost: 1 forward, 1 backward a batch, once.
    Source: Molchanov et al., CVPR 2019 (their criterion, on single weights).
    """

    batch_size: Count = 256

    criterion = criteria.taylor
