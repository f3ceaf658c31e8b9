"""Forget one class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lacuna.data.scenarios.base import Known, Scenario
from lacuna.errors import LacunaError
from lacuna.fields import Index
from lacuna.registry import register


@register("class")
@dataclass(frozen=True, kw_only=True)
class WholeClass(Scenario):
    """D_f = every training sample of one class; the class leaves the test set too and is tested apart.

    forget_class: its label, from 0.
    """

    forget_class: Index

    def forget(self, train: np.ndarray, known: Known, rng: np.random.Generator) -> np.ndarray:
        return train[known.y[train] == self.forget_class]

    def gone(self, test: np.ndarray, known: Known) -> np.ndarray:
        return test[known.y[test] == self.forget_class]

    def check(self, meta: Mapping[str, Any], where: str) -> None:
        if self.forget_class >= (classes := meta["classes"]):
            raise LacunaError(
                f"{where}.forget_class: {self.forget_class} is not allowed; "
                f"allowed: 0 to {classes - 1} (the dataset has {classes} classes)"
            )
