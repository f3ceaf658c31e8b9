"""Unilateral gradient surgery, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.training import Work
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import GradientSurgery, ratio


@register("ungrad")
@dataclass(frozen=True, kw_only=True)
class UnilateralGradientSurgery(GradientSurgery):
    """Unilateral gradient surgery: d = g_f + λ g_r, λ = max(0, −(⟨g_r, g_f⟩ + ε) / ‖g_r‖²).

    The forget gradient, changed as little as possible so that ⟨g_r, d⟩ ≥ −ε: a step of length η raises the retain loss
    by at most η ε to first order. ε = 0 is PCGrad on the forget gradient alone. Without a retain gradient d = g_f.
    epsilon: ε, tolerated rise of the retain loss per unit of η, any number; below 0 a decrease is demanded.
    forget_loss: L_f, cross-entropy with random labels, drawn anew at every visit, or ascent, −ℓ(D_f).
    exclude_true: never draw the true label.
    clip: largest norm of d, over unmasked weights; null: no limit.
    epoch_of: a pass over the longest set (the other starts over), as published, or over the forget set.
    Published values (CIFAR-10, ResNet-18): 5 epochs, lr 1e-3 to 3e-3 (class, random 10 %), 1e-2 (30 %), 3e-2 (50 %).
    Cost: 1 forward, 2 backward a step.
    Source: Zhou et al., NeurIPS 2025 (arXiv 2510.22124).
    """

    epsilon: float = 0.0

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: Work) -> Tensor:
        return g_f + self.multiplier(g_f, g_r) * g_r

    def multiplier(self, g_f: Tensor, g_r: Tensor) -> Tensor:
        """λ*."""
        return ratio((-(g_r.dot(g_f) + self.epsilon)).clamp_min(0.0), g_r.dot(g_r))
