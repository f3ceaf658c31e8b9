"""Direction-rectified, magnitude-adjusted gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lacuna.fields import Count, Positive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.methods.pcgrad import rectified
from lacuna.unlearning.surgery import GradientSurgery


@register("gdr_gma")
@dataclass(frozen=True, kw_only=True)
class GDRGMA(GradientSurgery):
    """Direction-rectified, magnitude-adjusted gradients: d = (1 − λ) g_r' + λ g_f', λ = 1/(1 + e^{γ(L_r − ε)}).

    g_i' is g_i without its component along the other one if they conflict. While the retain loss is below ε, d forgets;
    above, it repairs. The published code rectifies each parameter tensor on its own, makes the second projection along
    the first one's result, and rectifies the last tensor with a bank of earlier gradients too; here, the formula.
    sharpness: γ, how suddenly λ falls at ε, > 0.
    tolerance: ε, the retain loss at which both gradients weigh the same, > 0.
    Published values (CIFAR-10, ResNet-18): epochs 10, sharpness 100, tolerance 0.02, batches equal, weights equal,
    forget_loss ascent, epoch_of forget. Its rate of 1e-4 is for AdamW and not the default: SGD needs more.
    Cost: 1 forward, 2 backward a step.
    Source: Lin et al., ACM MM 2024.
    """

    epochs: Count = 10
    sharpness: Positive = 100.0
    tolerance: Positive = 0.02
    batches: Literal["mixed", "equal"] = "equal"
    weights: Literal["shares", "equal"] = "equal"
    forget_loss: Literal["random_labels", "ascent"] = "ascent"
    epoch_of: Literal["longest", "forget"] = "forget"

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        share = (self.sharpness * (self.tolerance - l_r)).sigmoid()
        return (1 - share) * rectified(g_r, g_f) + share * rectified(g_f, g_r)
