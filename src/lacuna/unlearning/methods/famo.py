"""Fast adaptive multitask optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import NonNegative, Positive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import NEGLIGIBLE, LossWeighting, adam


@register("famo")
@dataclass(frozen=True, kw_only=True)
class FAMO(LossWeighting):
    """Fast adaptive multitask optimisation: SGD on c Σ z_i log(L_i − b_i), z = softmax(w), c = 1/Σ z_i/(L_i − b_i).

    w follows, with Adam, how much each log(L_i − b_i) fell in the step: the loss that falls more slowly gains weight.
    c makes the weights of the gradients sum to 1; it is a constant for the derivative. In a batch that lacks one of the
    sets the other loss has all the weight and w stays.
    weight_lr: Adam's step for w.
    logit_decay: decay of w, added to its gradient, ≥ 0.
    normalised: with c; without, the gradient of a loss near its bound grows without limit.
    forget_bound, retain_bound: b_f and b_r, lower bounds of the losses, ≥ 0.
    Published values: weight_lr 0.025, logit_decay 1e-5 (elsewhere 1e-3 to 1e-2), batches mixed, weights shares.
    Cost: 2 forward (1 without gradient), 1 backward a step.
    Source: Liu et al., NeurIPS 2023 (arXiv 2306.03792).
    """

    weight_lr: Positive = 0.025
    logit_decay: NonNegative = 1e-5
    normalised: bool = True
    forget_bound: NonNegative = 0.0
    retain_bound: NonNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forget_loss == "ascent":
            raise LacunaError("famo.forget_loss: ascent is not allowed, it has no logarithm; allowed: random_labels")

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        first = next(model.parameters())
        work.tensors["w"] = torch.zeros(2, dtype=first.dtype, device=first.device)
        return super().begin(model, data, work)

    def weighted(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        factors = self.factors(l_f.detach(), l_r.detach(), work)
        return factors[0] * l_f + factors[1] * l_r

    def factors(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        """What the gradients of L_f and L_r are multiplied by."""
        shares = work.tensors["w"].softmax(0) / self.above(l_f, l_r) * self.present(work)
        return shares / shares.sum() if self.normalised else shares

    def above(self, l_f: Tensor, l_r: Tensor) -> Tensor:
        """L_i − b_i of both losses, kept above 0."""
        return torch.stack([l_f - self.forget_bound, l_r - self.retain_bound]).clamp_min(0) + NEGLIGIBLE

    @torch.no_grad()
    def after_step(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> None:
        fell = self.above(*work.memory["losses"]).log() - self.above(*self.losses_now(model, batches, work)).log()
        z = work.tensors["w"].softmax(0)
        both = self.present(work).all()
        adam(work, "w", z * (fell - z.dot(fell)), self.weight_lr, self.logit_decay, both)
