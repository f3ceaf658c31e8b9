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
from lacuna.training import Work
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import LossWeighting, adam, log


@dataclass(frozen=True, kw_only=True)
class _Implicit(LossWeighting):
    """A weight λ of the retain loss that follows whether the steps kept to ⟨g_r, d⟩ ≥ −ε."""

    variant: Literal["paper", "released"] = "paper"
    epsilon: float = 0.0
    beta: Positive = 1.0
    weight_init: NonNegative = 0.0
    log_losses: bool = False

    def __post_init__(self) -> None:
        if self.logarithmic and self.forget_loss == "ascent":
            why = "variant released" if self.variant == "released" else "log_losses"
            raise LacunaError(
                f"{self.name}.forget_loss: ascent is not allowed with {why}, it has no logarithm; "
                "allowed: random_labels"
            )

    @property
    def logarithmic(self) -> bool:
        return self.log_losses or self.variant == "released"

    def begin(self, model: nn.Module, data: UnlearningData, work: Work) -> UnlearningData:
        first = next(model.parameters())
        work.tensors["lambda"] = torch.tensor(self.weight_init, dtype=first.dtype, device=first.device)
        return super().begin(model, data, work)

    def weighted(self, l_f: Tensor, l_r: Tensor, work: Work) -> Tensor:
        # Adam may carry λ below 0, where it counts as 0
        weight = work.tensors["lambda"].clamp_min(0.0)
        return log(l_f) + weight * log(l_r) if self.logarithmic else l_f + weight * l_r

    @torch.no_grad()
    def reweigh(self, before: Tensor, after: Tensor, lr: float | Tensor, work: Work) -> None:
        """λ from the retain loss before and after a step of length `lr`."""
        fell = log(before) - log(after) if self.logarithmic else before - after
        if self.variant == "released":
            # the code's `error` is −ε, and its difference is not divided by the learning rate
            adam(work, "lambda", fell + self.epsilon, self.beta, 0.01)
        else:
            delta = fell / lr + self.epsilon
            work.tensors["lambda"] = (work.tensors["lambda"] - self.beta * delta).clamp_min(0.0)


@register("eupmu")
@dataclass(frozen=True, kw_only=True)
class EUPMU(_Implicit):
    """Implicit gradient surgery: SGD on L_f + λ_t L_r, λ_{t+1} = max(0, λ_t − β ((L_r(θ_t) − L_r(θ_{t+1}))/η + ε)).

    Unilateral gradient surgery (`ungrad`) without its second backward pass: if θ stood still, λ would converge to the
    closed form's. L_r(θ_{t+1}) is that of the same samples, augmented and normalised by the batch as before the step;
    running statistics are not touched. With momentum the difference tells of the step that was really taken, with
    precision bf16 mostly of rounding.
    variant: paper, as above; released, as in the code: losses' logarithms, no division by η, λ by Adam (step β, decay
    0.01) and counted as 0 below 0.
    epsilon: ε, tolerated rise of the retain loss per unit of η (released: of its logarithm per step, −`error` of the
    code), any number; below 0 a decrease is demanded.
    beta: β, step of λ, > 0; paper: below 2/‖g_r‖² for λ to converge.
    weight_init: λ_0, ≥ 0.
    log_losses: log L_f and log L_r instead of L_f and L_r; always with variant released.
    forget_loss: L_f, cross-entropy with random labels, drawn anew at every visit, or ascent, −ℓ(D_f).
    exclude_true: never draw the true label.
    clip: largest norm of the gradient, over unmasked weights; null: no limit.
    epoch_of: a pass over the longest set (the other starts over), as published, or over the forget set.
    Published values (CIFAR-10, ResNet-18): 5 epochs, lr 1e-3 to 3e-3 (class, random 10 %), 1e-2 (30 %), 3e-2 (50 %);
    released: β 1, ε −0.01, λ_0 0.
    Cost: 2 forward (1 without gradient), 1 backward a step.
    Source: Zhou et al., NeurIPS 2025 (arXiv 2510.22124).
    """

    @torch.no_grad()
    def after_step(self, model: nn.Module, batches: Mapping[str, Batch], work: Work) -> None:
        before, after = work.memory["losses"][1], self.losses_now(model, batches, work)[1]
        self.reweigh(before, after, work.lr, work)


@register("eupmu_fast")
@dataclass(frozen=True, kw_only=True)
class EUPMUFast(_Implicit):
    """Fast implicit gradient surgery: SGD on L_f + λ_t L_r,
    λ_{t+1} = max(0, λ_t − β ((L_r(θ_t; B_t) − L_r(θ_{t+1}; B_{t+1}))/η + ε)).

    `eupmu` without the second forward pass: the retain loss after a step is read from the next batch. Two batches
    differ by more than a step does: β must be smaller than for `eupmu`, above all with variant paper, which divides
    by η.
    variant: paper, as above; released: losses' logarithms, no division by η, λ by Adam (step β, decay 0.01) and counted
    as 0 below 0. (The code also divides both weights by 1 + λ, takes the losses themselves and starts at λ_0 1.)
    epsilon: ε, tolerated rise of the retain loss per unit of η (released: of its logarithm per step, −`error` of the
    code), any number; below 0 a decrease is demanded.
    beta: β, step of λ, > 0; 1 suits variant released.
    weight_init: λ_0, ≥ 0.
    log_losses: log L_f and log L_r instead of L_f and L_r; always with variant released.
    forget_loss: L_f, cross-entropy with random labels, drawn anew at every visit, or ascent, −ℓ(D_f).
    exclude_true: never draw the true label.
    clip: largest norm of the gradient, over unmasked weights; null: no limit.
    epoch_of: a pass over the longest set (the other starts over), as published, or over the forget set.
    Published values (CIFAR-10, ResNet-18): 5 epochs, lr 2e-3 (class), β 1, ε −0.01, variant released.
    Cost: 1 forward, 1 backward a step.
    Source: Zhou et al., NeurIPS 2025 (arXiv 2510.22124).
    """

    beta: Positive = 0.01

    def weighted(self, l_f: Tensor, l_r: Tensor, work: Work) -> Tensor:
        last = work.tensors.get("last")
        if last is not None:
            self.reweigh(last[0], l_r.detach(), last[1], work)
        work.tensors["last"] = torch.stack([l_r.detach(), torch.full_like(l_r, work.lr).detach()])
        return super().weighted(l_f, l_r, work)
