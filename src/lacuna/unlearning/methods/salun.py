"""Saliency unlearning: random labels on the weights that the forget set moves most."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.fields import Fraction
from lacuna.gradients.whole import lowest, mean_gradient
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.methods.rl import RandomLabels


@register("salun")
@dataclass(frozen=True, kw_only=True)
class SalUn(RandomLabels):
    """SalUn: random labels (`rl`) where M = 1, M = 1[|∇ℓ(D_f)| at θ_o in the top τ]; elsewhere θ = θ_o bit for bit.

    Saliency is the gradient of the mean over D_f (signed sum, then absolute), ranked over all unmasked parameters
    together, batch norm and classifier included. Momentum and weight decay act on M alone. Running statistics of
    batch norm are no weights: they follow the batches unless `batchnorm: frozen`.
    share: τ, share of the unmasked parameters that may move, in (0, 1).
    Published values (CIFAR-10, ResNet-18): share 0.5, lr 0.013, epochs 10, order passes, exclude_true false.
    Cost: 1 forward, 1 backward a step; once a forward and a backward over D_f.
    Source: Fan et al., ICLR 2024.
    """

    share: Fraction = 0.5

    def movable(self, model: nn.Module, data: UnlearningData, work: LoopState) -> dict[str, Tensor]:
        gradient = mean_gradient(model, data, "forget", self.batch_size)
        return lowest({name: -g.abs() for name, g in gradient.items()}, self.share, work.mask)
