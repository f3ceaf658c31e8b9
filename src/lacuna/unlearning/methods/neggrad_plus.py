"""Descent on the retained and ascent on the forgotten data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Positive, Share
from lacuna.unlearning.base import LossUnlearner, register


@register("neggrad_plus")
@dataclass(frozen=True, kw_only=True)
class NegGradPlus(LossUnlearner):
    """NegGrad+: SGD on α ℓ(D_r) − (1−α) ℓ(D_f).

    Each step reads a batch of either; an epoch is one pass over the larger set, the other starts over.
    alpha: α, in (0, 1]; 1 is fine-tuning.
    Published values (CIFAR-10, ResNet-18): alpha 0.95, lr 0.01, epochs 10.
    Cost: 2 forward, 2 backward a step, one of each on either batch.
    Source: Kurmanji et al., NeurIPS 2023.
    """

    lr: Positive = 0.01
    alpha: Share = 0.95

    def loss(self, model: nn.Module, retain: Batch, forget: Batch) -> Tensor:
        keep = cross_entropy(model(retain.x), retain.y)
        return self.alpha * keep - (1 - self.alpha) * cross_entropy(model(forget.x), forget.y)
