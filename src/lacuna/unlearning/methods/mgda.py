"""The multiple-gradient descent algorithm for two gradients."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import GradientSurgery, ratio


@register("mgda")
@dataclass(frozen=True, kw_only=True)
class MGDA(GradientSurgery):
    """Multiple-gradient descent: d = w g_f + (1 − w) g_r, w ∈ [0, 1] with the smallest ‖d‖.

    It follows the shorter gradient; at a well-trained model that is the retain gradient. In a batch without one of the
    sets d is 0.
    Published values: none for unlearning. lr, epochs, batches and weights are those of EUPMU.
    Cost: 1 forward, 2 backward a step.
    Source: Désidéri, Comptes Rendus Mathématique 2012; Sener and Koltun, NeurIPS 2018.
    """

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        apart = g_f - g_r
        return g_r + ratio(-apart.dot(g_r), apart.dot(apart)).clamp(0.0, 1.0) * apart
