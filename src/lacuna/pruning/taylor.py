"""One-shot Taylor pruning of a trained model."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.fields import Count
from lacuna.pruning.base import TrainedPruner
from lacuna.pruning.criteria.taylor import taylor
from lacuna.registry import register


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

    criterion = taylor
