"""Conflict-averse gradient descent for two gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lacuna.fields import UnitHalfOpen
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import GradientSurgery, ratio


@register("cagrad")
@dataclass(frozen=True, kw_only=True)
class CAGrad(GradientSurgery):
    """Conflict-averse gradient descent: d maximises min(⟨g_f, d⟩, ⟨g_r, d⟩) with ‖d − g_0‖ ≤ c ‖g_0‖,
    g_0 = (g_f + g_r)/2.

    By its dual: d = g_0 + c ‖g_0‖ g_w/‖g_w‖, where g_w = w g_f + (1 − w) g_r minimises ⟨g_w, g_0⟩ + c ‖g_0‖ ‖g_w‖ over
    w ∈ [0, 1]; for two gradients w has a closed form. d is not rescaled (some code divides it by 1 + c or 1 + c²).
    c: radius around the mean gradient, as a share of its norm, 0 ≤ c < 1; 0 gives the mean.
    Published values: c 0.5 (in the code of EUPMU 0.4). None for unlearning: the rest is as for EUPMU.
    Cost: 1 forward, 2 backward a step.
    Source: Liu et al., NeurIPS 2021 (arXiv 2110.14048).
    """

    c: UnitHalfOpen = 0.5

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        g_0 = (g_f + g_r) / 2
        radius = self.c * g_0.norm()
        g_w = g_r + self.weight(g_f, g_r, g_0, radius) * (g_f - g_r)
        return g_0 + ratio(radius, g_w.norm()) * g_w

    @staticmethod
    def weight(g_f: Tensor, g_r: Tensor, g_0: Tensor, radius: Tensor) -> Tensor:
        """w: where the derivative ⟨Δ, g_0⟩ + radius ⟨Δ, g_w⟩/‖g_w‖ is 0, Δ = g_f − g_r, or the nearer end of [0, 1]."""
        apart = g_f - g_r
        length = apart.norm()
        along = apart / length.clamp_min(torch.finfo(length.dtype).tiny)
        # with Δ as an axis: g_w = (t, h), only t depends on w, and t/‖g_w‖ must be the cosine q
        t_0 = along.dot(g_r)
        h = (g_r - t_0 * along).norm()
        q = ratio(-along.dot(g_0), radius)
        t = torch.where(q.abs() < 1, q * h / (1 - q.square()).clamp_min(0.0).sqrt(), q.sign() * torch.inf)
        return (ratio(t.clamp(-1e30, 1e30) - t_0, length)).clamp(0.0, 1.0)
