"""Both losses with fixed weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.fields import NonNegative
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.surgery import LossWeighting


@register("linear")
@dataclass(frozen=True, kw_only=True)
class Linear(LossWeighting):
    """Linear weighting: SGD on w L_r + L_f.

    The baseline of every gradient surgery. With w 1 and weights shares it descends on the mean loss of the whole batch,
    forgotten samples with random labels: the linearisation of the EUPMU paper.
    retain_weight: w, ≥ 0.
    Published values: retain_weight 1, batches mixed, weights shares. lr and epochs are those of EUPMU.
    Cost: 1 forward, 1 backward a step.
    Source: baseline of Zhou et al., NeurIPS 2025 (arXiv 2510.22124).
    """

    retain_weight: NonNegative = 1.0

    def weighted(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        return self.retain_weight * l_r + l_f
