"""Direction-rectified, magnitude-adjusted gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lacuna.fields import Count, Positive
from lacuna.training import Work
from lacuna.unlearning.base import register
from lacuna.unlearning.pcgrad import rectified
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
    forget_loss: L_f, ascent, −ℓ(D_f), as published, or cross-entropy with random labels, drawn anew at every visit.
    exclude_true: never draw the true label.
    clip: largest norm of d, over unmasked weights; null: no limit.
    epoch_of: a pass over the forget set, as published, or over the longest set (the other starts over).
    Published values (CIFAR-10, ResNet-18): 10 epochs, γ 100, ε 0.02, lr 1e-4 with AdamW, where SGD needs more.
    Cost: 1 forward, 2 backward a step.
    Source: Lin et al., ACM MM 2024.
    """

    epochs: Count = 10
    sharpness: Positive = 100.0
    tolerance: Positive = 0.02
    forget_loss: Literal["random_labels", "ascent"] = "ascent"
    epoch_of: Literal["longest", "forget"] = "forget"

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: Work) -> Tensor:
        share = (self.sharpness * (self.tolerance - l_r)).sigmoid()
        return (1 - share) * rectified(g_r, g_f) + share * rectified(g_f, g_r)
