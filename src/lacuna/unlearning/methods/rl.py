"""Random labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Positive
from lacuna.unlearning.base import LossUnlearner, register


@register("rl")
@dataclass(frozen=True, kw_only=True)
class RandomLabels(LossUnlearner):
    """Random labels: SGD on ℓ(D_f with random labels) and ℓ(D_r).

    Labels are drawn anew each epoch, uniformly over the classes.
    order: passes, each epoch a pass over D_f and then one over D_r (the published code for CIFAR-10 and SVHN); mixed,
    one shuffled stream of both (the published code for CIFAR-100 and TinyImageNet).
    exclude_true: never draw the true label; the published code may draw it.
    Published values (CIFAR-10, ResNet-18): lr 0.013 to 0.1, epochs 10, order passes, exclude_true false.
    Cost: 1 forward, 1 backward a step.
    Source: Golatkar et al., CVPR 2020; Graves et al., AAAI 2021; order and labels of Fan et al., ICLR 2024.
    """

    reads: ClassVar[str] = "forget and retain"

    lr: Positive = 0.013
    order: Literal["passes", "mixed"] = "passes"
    exclude_true: bool = False

    def plan(self, epoch: int, passes: dict[str, int]) -> list[tuple[str, ...]]:
        streams = ("mixed",) if self.order == "mixed" else ("forget", "retain")
        return [(stream,) for stream in streams for _ in range(passes[stream])]

    def loss(self, model: nn.Module, forget: Batch | None, retain: Batch | None, mixed: Batch | None) -> Tensor:
        batch = forget or retain or mixed
        assert batch is not None, "a step reads one of the three"
        return cross_entropy(model(batch.x), torch.where(batch.forgotten, self.draw(batch), batch.y))

    def draw(self, batch: Batch) -> Tensor:
        """A random label for every sample, int64 [n]."""
        choices = batch.classes - self.exclude_true
        drawn = torch.randint(choices, batch.y.shape, generator=batch.generator, device=batch.y.device)
        # skip over the true label: uniform on the others
        return drawn + (drawn >= batch.y) if self.exclude_true else drawn
