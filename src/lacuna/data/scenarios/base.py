"""What a forget scenario answers, and what it may know of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of every image of a dataset, training images first; None: nobody knows it.

    y: int64 [n] labels in 0..classes-1. fine: int64 [n], labels of a second, finer level. scores: float [n], how hard
    an image is for the original models. poisoned: bool [n], images that carry a backdoor's trigger. train: how many of
    the images are for training.
    """

    y: np.ndarray
    classes: int
    fine: np.ndarray | None = None
    scores: np.ndarray | None = None
    poisoned: np.ndarray | None = None
    train: int | None = None


class Scenario:
    """Which training samples form D_f; the options are dataclass fields.

    needs: what it reads of `DatasetFacts` besides the labels: fine, scores, poisoned.
    named: options that are classes, which a config may call by their names; a plan makes numbers of them.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    named: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "gone" in vars(cls):  # its name in 0.1: without a word, no test sample would be left out any more
            raise TypeError(f"{cls.__name__}.gone is called forgotten_test")

    def files(self) -> list[Path]:
        """The user's files that it reads; a plan asks for their content (`user_files.content_of_files`)."""
        return []

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        """The dataset indices to forget, out of `train`, in any order."""
        raise NotImplementedError

    def forgotten_test(self, test: np.ndarray, facts: DatasetFacts) -> np.ndarray:
        """The test indices that belong to the forgotten part of the label space; none unless a scenario says so."""
        return test[:0]

    def remark(self, train: np.ndarray) -> str:
        """What a log should say of `train`, the indices to choose from; nothing unless a scenario says so."""
        return ""

    def share(self, meta: Mapping[str, Any]) -> float | None:
        """About how large a share of the training samples it forgets; None where that takes a look at the data.

        meta: as for `check`, and `poisoned`, the share of the training samples that carry a backdoor (0: it has none).
        """
        return None

    def check(self, meta: Mapping[str, Any], where: str) -> None:
        """Raise LacunaError naming `where` if the scenario cannot apply to a dataset.

        meta: its `classes`, `shape` and `fine`, the number of finer classes (0: it has none).
        """
