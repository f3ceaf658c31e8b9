"""Both losses with fixed weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.fields import NonNegative
from lacuna.training import Work
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import LossWeighting


@register("linear")
@dataclass(frozen=True, kw_only=True)
class Linear(LossWeighting):
    """Linear weighting: SGD on w L_r + L_f.

    The baseline of every gradient surgery.
    retain_weight: w, ≥ 0.
    forget_loss: L_f, cross-entropy with random labels, drawn anew at every visit, or ascent, −ℓ(D_f).
    exclude_true: never draw the true label.
    clip: largest norm of the gradient, over unmasked weights; null: no limit.
    epoch_of: a pass over the longest set (the other starts over), or over the forget set.
    Published values: none; lr and epochs as for EUPMU.
    Cost: 1 forward, 1 backward a step.
    Source: baseline of Zhou et al., NeurIPS 2025 (arXiv 2510.22124).
    """

    retain_weight: NonNegative = 1.0

    def weighted(self, l_f: Tensor, l_r: Tensor, work: Work) -> Tensor:
        return self.retain_weight * l_r + l_f
