"""Selective synaptic dampening: weaken what matters to D_f more than to all data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.fields import NonNegative
from lacuna.unlearning.base import EditUnlearner, Run, register
from lacuna.unlearning.per_sample import mean_squares, true_label
from lacuna.unlearning.saliency import Scores


@register("ssd")
@dataclass(frozen=True, kw_only=True)
class SynapticDampening(EditUnlearner):
    """Selective synaptic dampening: θ ← θ·min(λ I_D/I_f, 1) where I_f > α I_D; I: mean over samples of (∂ℓ_i/∂θ)².

    I_f over D_f, I_D over all training data, D_f among them; evaluation mode, images as stored. All other parameters
    stay bit for bit. The published code squares the gradient of a batch's mean instead of each sample's.
    alpha: α; the smaller, the more parameters are chosen. Above n/n_f none can be.
    dampening: λ; 0 sets the chosen ones to 0.
    Published values (CIFAR-10, ResNet-18): α 10, λ 1.
    Cost: once the per-sample gradients of all training data; no steps.
    Source: Foster et al., AAAI 2024.
    """

    reads: ClassVar[str] = "forget and retain"

    alpha: NonNegative = 10.0
    dampening: NonNegative = 1.0

    def losses(self, logits: Tensor, labels: Tensor, where: slice) -> Iterable[Tensor]:
        """What the importance of a parameter is the sensitivity of, [n]."""
        return true_label(logits, labels, where)

    def edit(self, model: nn.Module, data: UnlearningData, run: Run) -> None:
        forget, retain = (mean_squares(model, data, part, self.losses, run.log) for part in ("forget", "retain"))
        share = len(data.index("forget")) / len(data.index("mixed"))
        everything = {name: share * f + (1 - share) * retain[name] for name, f in forget.items()}
        self.dampen(model, forget, everything)

    @torch.no_grad()
    def dampen(self, model: nn.Module, forget: Scores, everything: Scores) -> None:
        """The edit for given importances of D_f and of all data, by parameter."""
        parameters = dict(model.named_parameters())
        for name, important in forget.items():
            chosen = important > self.alpha * everything[name]
            factor = (self.dampening * everything[name] / important).clamp(max=1.0)
            parameters[name].copy_(torch.where(chosen, parameters[name] * factor, parameters[name]))
