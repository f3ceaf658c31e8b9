"""A tenth of the published steps."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.fields import Count, Fraction, Index, Positive
from lacuna.models.modes import Precision
from lacuna.registry import register
from lacuna.training.objective import Schedule
from lacuna.training.recipe import Recipe


@register("fast")
@dataclass(frozen=True, kw_only=True)
class Fast(Recipe):
    """A tenth of the steps: large batches, a triangular learning rate, bfloat16 where the GPU has it; the same loss.

    Values of Page, "How to train your ResNet" (2018), for CIFAR-10, without its cutout, Nesterov momentum and network.
    """

    epochs: Count = 24
    lr: Positive = 0.4
    batch_size: Count = 512
    schedule: Schedule = "triangular"
    milestones: tuple[Index, ...] = ()
    peak: Fraction = 0.2
    precision: Precision = "auto"
    rewind_epoch: Index = 1
