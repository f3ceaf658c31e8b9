"""Gradient ascent on the forget set."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Count, Positive
from lacuna.unlearning.base import LossUnlearner, register


@register("ga")
@dataclass(frozen=True, kw_only=True)
class GradientAscent(LossUnlearner):
    """Gradient ascent: SGD on −ℓ(D_f).

    As published, batch norm normalises by the batches and its running statistics drift to D_f's. At the published rate
    that drift is nearly the whole effect: with `batchnorm: frozen` the same steps leave the accuracies as they were.
    Published values (CIFAR-10, ResNet-18): lr 1e-4, epochs 5, batchnorm train. Users need lr 5e-4 to 1e-3.
    Cost: 1 forward, 1 backward a step.
    Source: Thudi et al., EuroS&P 2022; Graves et al., AAAI 2021.
    """

    lr: Positive = 1e-4
    epochs: Count = 5

    def loss(self, model: nn.Module, forget: Batch) -> Tensor:
        return -cross_entropy(model(forget.x), forget.y)
