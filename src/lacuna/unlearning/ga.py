"""Gradient ascent on the forget set."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Count, Positive
from lacuna.unlearning.base import BatchNorm, LossUnlearner, register


@register("ga")
@dataclass(frozen=True, kw_only=True)
class GradientAscent(LossUnlearner):
    """Gradient ascent: SGD on −ℓ(D_f).

    Published values (CIFAR-10, ResNet-18): lr 1e-4 (users need 5e-4 to 1e-3), 5 epochs.
    Cost: 1 forward, 1 backward a step.
    Source: Thudi et al., EuroS&P 2022; Graves et al., AAAI 2021.
    """

    lr: Positive = 1e-4
    epochs: Count = 5
    batchnorm: BatchNorm = "frozen"

    def loss(self, model: nn.Module, forget: Batch) -> Tensor:
        return -cross_entropy(model(forget.x), forget.y)
