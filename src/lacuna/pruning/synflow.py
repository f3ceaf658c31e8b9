"""SynFlow: pruning before training, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Count
from lacuna.models.inference import copy_of
from lacuna.pruning.base import InitialPruner
from lacuna.pruning.criteria.synflow import synflow
from lacuna.registry import register
from lacuna.sparsity.mask import Mask, Sparsity, prunable

# norms by what they are given, in evaluation mode too
_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


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

    criterion = synflow

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
