"""Forget a random sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lacuna.data.scenarios.base import DatasetFacts, Scenario
from lacuna.fields import Fraction
from lacuna.registry import register


@register("random")
@dataclass(frozen=True, kw_only=True)
class RandomFraction(Scenario):
    """D_f = a uniformly random part of the training set, all classes.

    fraction: its share of the training set, in (0, 1); published studies use 0.1, 0.3 and 0.5.
    """

    fraction: Fraction

    def share(self, meta: Mapping[str, Any]) -> float:
        return self.fraction

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(train)[: round(self.fraction * len(train))]
