"""Unlearning by Nash bargaining."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lacuna.fields import Count, NonNegative, Positive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import GradientSurgery, ratio


@register("munba")
@dataclass(frozen=True, kw_only=True)
class MUNBa(GradientSurgery):
    """Nash bargaining: d = α_r g_r + α_f g_f, α > 0 with GᵀG α = 1/α; α_i = 1/(‖g_i‖ √(1 + cos)).

    d halves the angle between both gradients and has norm √2, whatever their norms. The two published closed forms are
    this one; the common code adds 1e-8 to their denominators and so fails for small, parallel and orthogonal gradients.
    fallback: share of g_f in d = g_r + fallback·g_f, where no bargain exists: a gradient is 0, or the two are opposite.
    Published values (defaults of the code): lr 0.01, epochs 10, clip 1, fallback 0.1.
    Its code reads a batch of each set a step, and once an epoch has used up D_f descends on ℓ(D_r) alone; here its
    batches are those of its family. A batch without one of the sets has no bargain.
    Cost: 1 forward, 2 backward a step.
    Source: Wu and Harandi, ICCV 2025 (arXiv 2411.15537).
    """

    epochs: Count = 10
    lr: Positive = 0.01
    clip: Positive | None = 1.0
    fallback: NonNegative = 0.1

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        a_f, a_r = self.bargain(g_f, g_r)
        return a_r * g_r + a_f * g_f

    def bargain(self, g_f: Tensor, g_r: Tensor) -> tuple[Tensor, Tensor]:
        """α_f and α_r."""
        n_f, n_r = g_f.norm(), g_r.norm()
        one = torch.ones_like(n_f)
        # 1 + cos = ‖u_f + u_r‖²/2 for unit vectors: exact where both are nearly opposite
        together = (ratio(one, n_f) * g_f + ratio(one, n_r) * g_r).square().sum() / 2
        agreed = (n_f > 0) & (n_r > 0) & (together > torch.finfo(n_f.dtype).eps)
        root = together.sqrt()
        a_f, a_r = ratio(one, n_f * root), ratio(one, n_r * root)
        return torch.where(agreed, a_f, self.fallback * one), torch.where(agreed, a_r, one)
