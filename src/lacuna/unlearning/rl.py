"""Random labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Positive
from lacuna.unlearning.base import LossUnlearner, register


@register("rl")
@dataclass(frozen=True, kw_only=True)
class RandomLabels(LossUnlearner):
    """Random labels: SGD on ℓ(D_f with random labels) + ℓ(D_r), one mixed shuffled stream.

    Labels are drawn anew each epoch, uniformly over the classes.
    exclude_true: never draw the true label.
    Published values (CIFAR-10, ResNet-18): lr 0.013 to 0.1, 10 epochs.
    Cost: 1 forward, 1 backward a step.
    Source: Golatkar et al., CVPR 2020; Graves et al., AAAI 2021.
    """

    lr: Positive = 0.013
    exclude_true: bool = True

    def loss(self, model: nn.Module, mixed: Batch) -> Tensor:
        return cross_entropy(model(mixed.x), torch.where(mixed.forgotten, self.draw(mixed), mixed.y))

    def draw(self, batch: Batch) -> Tensor:
        """A random label for every sample, int64 [n]."""
        choices = batch.classes - self.exclude_true
        drawn = torch.randint(choices, batch.y.shape, generator=batch.generator, device=batch.y.device)
        # skip over the true label: uniform on the others
        return drawn + (drawn >= batch.y) if self.exclude_true else drawn
