"""Forget whole classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from lacuna.data.scenarios.base import DatasetFacts, Scenario
from lacuna.errors import LacunaError
from lacuna.fields import Bound, Index, Text
from lacuna.registry import register


@register("class")
@dataclass(frozen=True, kw_only=True)
class WholeClass(Scenario):
    """D_f = every training sample of a class, or of several; they leave the test set too and are tested apart.

    forget_class: its label, from 0, or its name where the dataset names its classes; or a list of these.
    """

    forget_class: Index | Text | Annotated[tuple[Index | Text, ...], Bound("minItems", 1), Bound("uniqueItems", True)]
    named: ClassVar[tuple[str, ...]] = ("forget_class",)

    @property
    def forgotten(self) -> tuple[int, ...]:
        """The labels, be it one or several."""
        chosen = self.forget_class if isinstance(self.forget_class, tuple) else (self.forget_class,)
        labels = tuple(item for item in chosen if isinstance(item, int))
        if len(labels) < len(chosen):
            raise LacunaError(
                f"forget_class: {self.forget_class!r} is a name; allowed outside of a grid: labels, from 0"
            )
        return labels

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        return train[np.isin(facts.y[train], self.forgotten)]

    def forgotten_test(self, test: np.ndarray, facts: DatasetFacts) -> np.ndarray:
        return test[np.isin(facts.y[test], self.forgotten)]

    def share(self, meta: Mapping[str, Any]) -> float:
        # as if all classes had the same number of samples
        return len(self.forgotten) / int(meta["classes"])

    def check(self, meta: Mapping[str, Any], where: str) -> None:
        classes = meta["classes"]
        for label in self.forgotten:
            if label >= classes:
                raise LacunaError(
                    f"{where}.forget_class: {label} is not allowed; "
                    f"allowed: 0 to {classes - 1} (the dataset has {classes} classes)"
                )
        if len(self.forgotten) == classes:
            raise LacunaError(
                f"{where}.forget_class: all {classes} classes are forgotten; allowed: at least one is retained"
            )
