"""Saliency unlearning without a saliency mask: a proximal step keeps most weights where they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import NonNegative, UnitHalfOpen
from lacuna.gradients.whole import unmasked
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.methods.rl import RandomLabels


@register("salun_soft")
@dataclass(frozen=True, kw_only=True)
class SoftSalUn(RandomLabels):
    """Soft-thresholding SalUn: after each `rl` step, θ ← θ_o + sign(Δ) max(|Δ| − s, 0), Δ = θ − θ_o.

    That is the proximal operator of s‖θ − θ_o‖₁ over all unmasked parameters. The threshold falls linearly: with
    w = 1 − e/T in epoch e of T, s is the (w·share) quantile of |Δ|, as in the published code (which moves the anchor
    every epoch; here it is θ_o), or η·w·penalty, the step of an ℓ1 penalty. Running statistics follow the data.
    share: share of the unmasked parameters that epoch 0 puts back to θ_o exactly, in [0, 1).
    penalty: weight of ‖θ − θ_o‖₁ in epoch 0, in place of share; null: share decides.
    order: mixed, one shuffled stream of D_f and D_r, as published; passes, as in rl.
    Published values (CIFAR-10, ResNet-18): lr 0.013 to 0.1, epochs 10, order mixed, exclude_true false. The threshold
    is not printed; it decays linearly.
    Cost: 1 forward, 1 backward a step, and one selection over all parameters.
    Source: Fan et al., ICLR 2024.
    """

    order: Literal["passes", "mixed"] = "mixed"
    share: UnitHalfOpen = 0.5
    penalty: NonNegative | None = None

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        anchors = {name: p.detach().clone() for name, p in model.named_parameters()}
        exists = torch.cat([e.flatten() for e in unmasked(anchors, work.mask).values()])
        work.memory |= {"anchors": anchors, "exists": exists.nonzero().flatten()}
        return data

    @torch.no_grad()
    def after_step(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> None:
        anchors: dict[str, Tensor] = work.memory["anchors"]
        moved = {name: p - anchors[name] for name, p in model.named_parameters()}
        threshold = self.threshold(moved, work)
        for name, p in model.named_parameters():
            shrunk = p - moved[name].sign() * threshold
            p.copy_(torch.where(moved[name].abs() > threshold, shrunk, anchors[name]))

    def threshold(self, moved: Mapping[str, Tensor], work: LoopState) -> Tensor | float:
        """s at the present step."""
        decay = 1 - work.epoch / self.epochs
        if self.penalty is not None:
            return work.lr * decay * self.penalty
        distances = torch.cat([m.flatten() for m in moved.values()])[work.memory["exists"]].abs()
        held = int(decay * self.share * len(distances))
        return distances.kthvalue(held).values if held else 0.0
