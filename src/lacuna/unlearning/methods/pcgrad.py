"""Projecting conflicting gradients."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import GradientSurgery, ratio


def rectified(g: Tensor, other: Tensor) -> Tensor:
    """g without its component along `other` if the two conflict, g itself otherwise."""
    return g - ratio(g.dot(other).clamp_max(0.0), other.dot(other)) * other


@register("pcgrad")
@dataclass(frozen=True, kw_only=True)
class PCGrad(GradientSurgery):
    """Projecting conflicting gradients: d = g_f' + g_r', g_i' = g_i − min(0, ⟨g_i, g_j⟩)/‖g_j‖² g_j.

    Each gradient loses its component along the other one if they conflict.
    Published values: none for unlearning. lr, epochs, batches and weights are those of EUPMU.
    Cost: 1 forward, 2 backward a step.
    Source: Yu et al., NeurIPS 2020 (arXiv 2001.06782).
    """

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        return rectified(g_f, g_r) + rectified(g_r, g_f)
