"""EUPMU without the second forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lacuna.fields import Positive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.methods.eupmu import Implicit


@register("eupmu_fast")
@dataclass(frozen=True, kw_only=True)
class EUPMUFast(Implicit):
    """Fast implicit gradient surgery: SGD on L_f + λ_t L_r,
    λ_{t+1} = max(0, λ_t − β ((L_r(θ_t; B_t) − L_r(θ_{t+1}; B_{t+1}))/η + ε)).

    `eupmu` without the second forward pass: the retain loss after a step is read from the next batch that holds samples
    of D_r. Two batches differ by more than a step does, with weights shares also by their shares of D_r: β must be
    smaller than for `eupmu`, above all with variant paper, which divides by η.
    variant: paper, as above; released, as in the code: SGD on (L_f + λ L_r)/(1 + λ), but δ is the difference of the
    logarithms of L_r plus ε, not divided by η, and λ follows it by Adam (step β, decay 0.01) and counts as 0 below 0.
    epsilon: ε, tolerated rise of the retain loss per unit of η (released: of its logarithm per step, −`error` of the
    code), any number; below 0 a decrease is demanded.
    beta: β, step of λ, > 0; 1 suits variant released.
    weight_init: λ_0, ≥ 0.
    log_losses: log L_f and log L_r instead of L_f and L_r, in the step as in δ.
    Published values (CIFAR-10, ResNet-18): epochs 5, batch_size 256, batches mixed, weights shares, exclude_true false.
    The code's own lr 2e-3 (class), β 1, ε −0.01 and λ_0 1 belong to variant released and are not the defaults.
    Cost: 1 forward, 1 backward a step.
    Source: Zhou et al., NeurIPS 2025 (arXiv 2510.22124).
    """

    beta: Positive = 0.01

    def weighted(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        here = self.present(work)[1]
        # the retain loss of the last batch that had one, the learning rates since, and whether there was such a batch
        none = torch.zeros(3, dtype=l_r.dtype, device=l_r.device)
        last = work.tensors.get("last", none)
        self.reweigh(last[0], l_r.detach(), last[1], work, here & (last[2] > 0))
        now = torch.stack([l_r.detach(), torch.full_like(l_r, work.lr).detach(), torch.ones_like(l_r).detach()])
        work.tensors["last"] = torch.where(here, now, last + torch.stack([none[0], now[1], none[0]]))
        loss = super().weighted(l_f, l_r, work)
        return loss / (1 + work.tensors["lambda"].clamp_min(0.0)) if self.variant == "released" else loss
