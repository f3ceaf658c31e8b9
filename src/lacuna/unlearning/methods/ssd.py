"""Selective synaptic dampening: weaken what matters to D_f more than to all data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.fields import Count, NonNegative
from lacuna.gradients.per_sample import mean_squares, true_label
from lacuna.gradients.whole import Scores, squared_batch_means
from lacuna.unlearning.base import EditUnlearner, RunOptions, register


@register("ssd")
@dataclass(frozen=True, kw_only=True)
class SynapticDampening(EditUnlearner):
    """Selective synaptic dampening: θ ← θ·min(λ I_D/I_f, 1) where I_f > α I_D; I: mean over samples of (∂ℓ_i/∂θ)².

    I_f over D_f, I_D over all training data, D_f among them; evaluation mode, images as stored. All other parameters
    stay bit for bit. n samples are in the training data, n_f of them in D_f, so that I_D ≥ (n_f/n) I_f: with
    α ≥ n/n_f no parameter can be selected. That is the published α for a class of ten and for a random tenth; plan and
    log warn of it.
    alpha: α; the smaller, the more parameters are selected. From n/n_f on (equality too) variant exact selects none.
    dampening: λ; 0 sets the selected ones to 0.
    variant: exact, the mean over samples; batch, as the published code, the mean over shuffled batches of the squared
    gradient of a batch's mean loss, where I_D ≥ (n_f/n) I_f does not hold.
    batch_size: samples of a batch of variant batch.
    Published values (CIFAR-10, ResNet-18): alpha 10, dampening 1, variant batch. Here variant exact: importances as
    they are defined.
    Cost: once the per-sample gradients of all training data; no steps.
    Source: Foster et al., AAAI 2024.
    """

    reads: ClassVar[str] = "forget and retain"
    capped: ClassVar[tuple[str, str] | None] = ("alpha", "exact")

    alpha: NonNegative = 10.0
    dampening: NonNegative = 1.0
    variant: Literal["exact", "batch"] = "exact"
    batch_size: Count = 64

    def losses(self, logits: Tensor, labels: Tensor, where: slice) -> Iterable[Tensor]:
        """What the importance of a parameter is the sensitivity of, [n]."""
        return true_label(logits, labels, where)

    def edit(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> dict[str, float]:
        n_f, n = len(data.index("forget")), len(data.index("mixed"))
        facts = {"dampened": 0.0, "n_over_n_f": n / n_f}
        if self.variant == "batch":
            forget, everything = (
                squared_batch_means(model, data, part, self.batch_size, self.losses, run.seed)
                for part in ("forget", "mixed")
            )
        elif self.alpha * n_f >= n:
            # nothing can be selected: at equality rounding alone would decide
            return facts
        else:
            forget, retain = (mean_squares(model, data, part, self.losses, run.log) for part in ("forget", "retain"))
            everything = {name: n_f / n * f + (1 - n_f / n) * retain[name] for name, f in forget.items()}
        return facts | {"dampened": float(self.dampen(model, forget, everything))}

    def describe(self, facts: Mapping[str, float]) -> str:
        words, limit = f"{facts['dampened']:,.0f} parameters dampened", facts["n_over_n_f"]
        if self.variant == "exact" and self.alpha >= limit:
            words += f"; warning: alpha {self.alpha:.4g} ≥ n/n_f {limit:.4g}, so that exact importances select nothing"
        return words

    @torch.no_grad()
    def dampen(self, model: nn.Module, forget: Scores, everything: Scores) -> int:
        """The edit for given importances of D_f and of all data, by parameter; gives the number of entries it changed.

        One that is 0, as masked ones are, stays 0 and does not count.
        """
        parameters, dampened = dict(model.named_parameters()), 0
        for name, important in forget.items():
            chosen = important > self.alpha * everything[name]
            factor = (self.dampening * everything[name] / important).clamp(max=1.0)
            weaker = torch.where(chosen, parameters[name] * factor, parameters[name])
            dampened += int((weaker != parameters[name]).sum())
            parameters[name].copy_(weaker)
        return dampened
