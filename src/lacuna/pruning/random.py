"""Random pruning of a trained model."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.pruning.base import TrainedPruner
from lacuna.pruning.criteria.random import random
from lacuna.registry import register


@register("random")
@dataclass(frozen=True, kw_only=True)
class RandomPruning(TrainedPruner):
    """Random pruning: keep (1−s) of the prunable weights by one random draw; otherwise as omp.

    The baseline for every criterion.
    Source: definition.
    """

    criterion = random
