"""Loss-free selective synaptic dampening: the same without labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from lacuna.unlearning.base import register
from lacuna.unlearning.methods.ssd import SynapticDampening


@register("lfssd")
@dataclass(frozen=True, kw_only=True)
class LossFreeDampening(SynapticDampening):
    """Loss-free dampening: θ ← θ·min(λ I_D/I_f, 1) where I_f > α I_D; I: mean over samples of (∂‖f(x_i)‖²/∂θ)².

    f(x): the logits; labels are not read. Everything else is as in ssd: with α ≥ n/n_f variant exact selects nothing.
    Published values (CIFAR-10, ResNet-18): alpha 10, dampening 1, variant batch. Here variant exact: as in ssd.
    Cost: once the per-sample gradients of all training data; no steps.
    Source: Foster et al., arXiv 2402.19308 (2024), which averages |∂‖f‖²/∂θ|; squared here, as in ssd.
    """

    def losses(self, logits: Tensor, labels: Tensor, where: slice) -> Iterable[Tensor]:
        return [logits.square().sum(1)]
