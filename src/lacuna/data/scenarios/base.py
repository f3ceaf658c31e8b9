"""What a forget scenario answers."""

from __future__ import annotations

import numpy as np


class Scenario:
    """Which training samples form D_f; the options are dataclass fields."""

    def forget(self, train: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The dataset indices to forget, out of `train`; y: labels of the whole dataset."""
        raise NotImplementedError

    def gone(self, test: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The test indices that belong to the forgotten part of the label space; none unless a scenario says so."""
        return test[:0]

    def check(self, classes: int, where: str) -> None:
        """Raise LacunaError naming `where` if the scenario cannot apply to a dataset of `classes` classes."""
