"""Pruning before training: score θ_0, then train under the mask from θ_0 on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Count
from lacuna.pruning import criteria
from lacuna.pruning.base import Pruner
from lacuna.registry import register
from lacuna.sparsity.mask import Mask, Sparsity, prunable
from lacuna.training.loop import copy_of

# norms by what they are given, in evaluation mode too
_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


@dataclass(frozen=True, kw_only=True)
class InitialPruner(Pruner):
    """A pruner that scores the initialisation."""

    before_training: ClassVar[bool] = True


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
    batchnorm: criteria.BatchNorm = "train"

    criterion = criteria.snip


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
    batchnorm: criteria.BatchNorm = "train"

    criterion = criteria.grasp


@register("synflow")
@dataclass(frozen=True, kw_only=True)
class SynFlow(InitialPruner):
    """SynFlow: in round j of J keep the share (1−s)^(j/J) with the largest |∂R/∂θ_0 ⊙ θ_0|; train from θ_0.

    R is the sum of the logits of an image of ones, with every parameter at its absolute value: no data is seen.
    The masks of one run's rounds are nested; those of two sparsities need not be. Networks with layer, group or
    instance norm are refused: these are of degree 0 in what they are given, so Σ θ ∂R/∂θ over the weights before them
    is 0.
    rounds: J; with 1, whole layers vanish at a sparsity where 100 leaves them connected.
    Cost: 1 forward, 1 backward of one image a round.
    Source: Tanaka et al., NeurIPS 2020.
    """

    rounds: Count = 100

    criterion = criteria.synflow

    def check(self, model: nn.Module, sparsity: Sparsity) -> None:
        for module in model.modules():
            if isinstance(module, _NORMS):
                raise LacunaError(
                    f"{type(module).__name__} divides the size of its inputs out of R, so a score says nothing of the "
                    "flow through a weight; allowed: a network without norms, or with batch norm"
                )
        super().check(model, sparsity)

    def find_mask(
        self, model: nn.Module, sparsity: Sparsity, data: UnlearningData, *, seed: int, mask: Mask | None = None
    ) -> Mask:
        masked = copy_of(model)
        weights = prunable(masked, self.include_linear)
        total, density = sum(w.numel() for w in weights.values()), 1 - Fraction(str(sparsity))
        # whole weights, rounded down as published: on a small network one weight in an early round changes the last
        steps = [Fraction(int((1 - density ** (j / self.rounds)) * total), total) for j in range(1, self.rounds)]
        mask = mask or Mask({name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()})
        gone = max(mask.sparsity_per_layer().values()) if self.scope == "layer" else mask.sparsity
        for step in [*(step for step in steps if step > gone), sparsity]:
            mask.apply(masked)
            mask = super().find_mask(masked, step, data, seed=seed, mask=mask)
        return mask
