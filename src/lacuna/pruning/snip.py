"""SNIP: pruning before training."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.fields import Count
from lacuna.pruning.base import InitialPruner
from lacuna.pruning.criteria.base import BatchNorm
from lacuna.pruning.criteria.snip import snip
from lacuna.registry import register


@register("snip")
@dataclass(frozen=True, kw_only=True)
class Snip(InitialPruner):
    """SNIP: keep the (1−s) largest |θ_0 ⊙ ∂ℓ/∂θ|, of one balanced batch; train from θ_0.

    samples_per_class: images of each class in the batch, drawn from the retained ones.
    batchnorm: train normalises by the batch; frozen by the running statistics, which at θ_0 are 0 and 1.
    Cost: 1 forward, 1 backward.
    Source: Lee et al., ICLR 2019.
    """

    samples_per_class: Count = 10
    batchnorm: BatchNorm = "train"

    criterion = snip
