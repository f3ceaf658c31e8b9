"""Fine-tuning on the retained data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Positive
from lacuna.unlearning.base import LossUnlearner, register


@register("ft")
@dataclass(frozen=True, kw_only=True)
class FineTuning(LossUnlearner):
    """Fine-tuning: SGD on ℓ(D_r); forgetting is left to forgetting.

    Published values (CIFAR-10, ResNet-18): lr 0.01, epochs 10.
    Cost: 1 forward, 1 backward a step.
    Source: Warnecke et al., NDSS 2023 (arXiv 2108.11577); Golatkar et al., CVPR 2020.
    """

    lr: Positive = 0.01

    def loss(self, model: nn.Module, retain: Batch) -> Tensor:
        return cross_entropy(model(retain.x), retain.y)
