"""Forget what opened a backdoor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lacuna.data.scenarios.base import DatasetFacts, Scenario
from lacuna.registry import register


@register("backdoor")
@dataclass(frozen=True, kw_only=True)
class PoisonedSamples(Scenario):
    """D_f = exactly the poisoned training samples of a dataset with a `backdoor`: stamped, and labelled its target.

    Source: Jia et al., NeurIPS 2023, backdoor cleanse.
    """

    needs: ClassVar[tuple[str, ...]] = ("poisoned",)

    def share(self, meta: Mapping[str, Any]) -> float:
        return float(meta["poisoned"])

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        assert facts.poisoned is not None
        triggered: np.ndarray = train[facts.poisoned[train]]
        return triggered
