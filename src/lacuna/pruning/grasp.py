"""GraSP: pruning before training."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.fields import Count
from lacuna.pruning.base import InitialPruner
from lacuna.pruning.criteria.base import BatchNorm
from lacuna.pruning.criteria.grasp import grasp
from lacuna.registry import register


@register("grasp")
@dataclass(frozen=True, kw_only=True)
class GraSP(InitialPruner):
    """GraSP: remove the largest signed −θ_0 ⊙ Hg, of one balanced batch with logits/200; train from θ_0.

    g is the gradient of ℓ, H its Hessian, over all parameters.
    samples_per_class: images of each class in the batch, drawn from the retained ones.
    batchnorm: train normalises by the batch; frozen by the running statistics, which at θ_0 are 0 and 1.
    Cost: 1 forward, 2 backwards, the first of them differentiable.
    Source: Wang et al., ICLR 2020.
    """

    samples_per_class: Count = 10
    batchnorm: BatchNorm = "train"

    criterion = grasp
