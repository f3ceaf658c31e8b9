"""Forget a part of a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lacuna.data.scenarios.base import DatasetFacts, Scenario
from lacuna.errors import LacunaError
from lacuna.fields import Index
from lacuna.registry import register


@register("subclass")
@dataclass(frozen=True, kw_only=True)
class Subclass(Scenario):
    """D_f = every training sample of one finer class inside a class; it leaves the test set too and is tested apart.

    The model never sees the finer labels: it knows the class, and goes on knowing the rest of it.
    super_class: the label of the class, from 0. fine_class: the finer label, from 0.
    Source: Foster et al., AAAI 2024 (CIFAR-100 with 20 coarse classes).
    """

    super_class: Index
    fine_class: Index
    needs: ClassVar[tuple[str, ...]] = ("fine",)

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        chosen = self._of(train, facts)
        if not len(chosen):
            assert facts.fine is not None
            there = np.unique(facts.y[facts.fine == self.fine_class]).tolist()
            raise LacunaError(
                f"subclass: no training image of class {self.super_class} is of fine class {self.fine_class}; "
                f"allowed: super_class {', '.join(map(str, there)) or 'of a fine class that has images'}"
            )
        return chosen

    def forgotten_test(self, test: np.ndarray, facts: DatasetFacts) -> np.ndarray:
        return self._of(test, facts)

    def check(self, meta: Mapping[str, Any], where: str) -> None:
        for key, level in (("super_class", "classes"), ("fine_class", "fine")):
            if getattr(self, key) >= meta[level]:
                raise LacunaError(
                    f"{where}.{key}: {getattr(self, key)} is not allowed; allowed: 0 to {meta[level] - 1} "
                    f"(the dataset has {meta[level]} of them)"
                )

    def _of(self, index: np.ndarray, facts: DatasetFacts) -> np.ndarray:
        if facts.fine is None:
            raise LacunaError("subclass: the dataset has no finer labels; allowed: one that has them")
        members: np.ndarray = index[(facts.y[index] == self.super_class) & (facts.fine[index] == self.fine_class)]
        return members
