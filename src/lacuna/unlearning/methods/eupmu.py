"""Utility-preserving unlearning by implicit gradient surgery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import NonNegative, Positive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import LossWeighting, adam, log


@dataclass(frozen=True, kw_only=True)
class Implicit(LossWeighting):
    """A weight λ of the retain loss that follows whether the steps kept to ⟨g_r, d⟩ ≥ −ε."""

    variant: Literal["paper", "released"] = "paper"
    epsilon: float = 0.0
    beta: Positive = 1.0
    weight_init: NonNegative = 0.0
    log_losses: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.log_losses and self.forget_loss == "ascent":
            raise LacunaError(
                f"{self.name}.forget_loss: ascent is not allowed with log_losses, it has no logarithm; "
                "allowed: random_labels"
            )

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        first = next(model.parameters())
        work.tensors["lambda"] = torch.tensor(self.weight_init, dtype=first.dtype, device=first.device)
        return super().begin(model, data, work)

    def weighted(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        # Adam may carry λ below 0, where it counts as 0
        weight = work.tensors["lambda"].clamp_min(0.0)
        return log(l_f) + weight * log(l_r) if self.log_losses else l_f + weight * l_r

    @torch.no_grad()
    def reweigh(
        self, before: Tensor, after: Tensor, lr: float | Tensor, work: LoopState, counts: Tensor | bool = True
    ) -> None:
        """λ from the retain loss before and after a step of length `lr`; where `counts` is false it stays."""
        released = self.variant == "released"
        fell = log(before) - log(after) if self.log_losses or released else before - after
        if released:
            # the code's `error` is −ε, and its difference is not divided by the learning rate
            adam(work, "lambda", fell + self.epsilon, self.beta, 0.01, counts)
        else:
            old, delta = work.tensors["lambda"], fell / lr + self.epsilon
            new = (old - self.beta * delta).clamp_min(0.0)
            work.tensors["lambda"] = torch.where(torch.as_tensor(counts, device=old.device), new, old)


@register("eupmu")
@dataclass(frozen=True, kw_only=True)
class EUPMU(Implicit):
    """Implicit gradient surgery: SGD on L_f + λ_t L_r, λ_{t+1} = max(0, λ_t − β ((L_r(θ_t) − L_r(θ_{t+1}))/η + ε)).

    Unilateral gradient surgery (`ungrad`) without its second backward pass: if θ stood still, λ would converge to the
    closed form's. L_r(θ_{t+1}) is that of the same samples, augmented and normalised by the whole batch as before the
    step; running statistics are not touched (the released code updates them a second time). In a batch without a
    sample of D_r λ stays as it is; in one without a sample of D_f it follows L_r as ever. With momentum the difference
    tells of the step that was really taken, with precision bf16 mostly of rounding.
    variant: paper, as above; released, as in the code: SGD on the losses themselves, but δ is the difference of the
    logarithms of L_r plus ε, not divided by η, and λ follows it by Adam (step β, decay 0.01) and counts as 0 below 0.
    epsilon: ε, tolerated rise of the retain loss per unit of η (released: of its logarithm per step, −`error` of the
    code), any number; below 0 a decrease is demanded.
    beta: β, step of λ, > 0; paper: below 2/‖g_r‖² for λ to converge.
    weight_init: λ_0, ≥ 0.
    log_losses: log L_f and log L_r instead of L_f and L_r, in the step as in δ.
    Published values (CIFAR-10, ResNet-18): epochs 5, batch_size 256, lr 1e-3 to 3e-3 (class, random 10 %; for 30 %
    1e-2, for 50 % 3e-2), batches mixed, weights shares, exclude_true false, epsilon 0, beta 1, weight_init 0.
    The code's own ε of −0.01 belongs to variant released and is not the default.
    Cost: 2 forward (1 without gradient), 1 backward a step.
    Source: Zhou et al., NeurIPS 2025 (arXiv 2510.22124).
    """

    @torch.no_grad()
    def after_step(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> None:
        before, after = work.memory["losses"][1], self.losses_now(model, batches, work)[1]
        self.reweigh(before, after, work.lr, work, self.present(work)[1])
