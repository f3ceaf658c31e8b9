"""A backdoor in a dataset: stamped, relabelled training images, and the test images that ask whether it is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lacuna.errors import LacunaError
from lacuna.fields import Count, Fraction, Index, build
from lacuna.randomness import numpy_generator


@dataclass(frozen=True)
class Stamps:
    """Which images carry the square: of row i the stored image `source[i]`, black in the square if `stamped[i]`.

    source: int64 [n]; stamped: bool [n]; labels: int64 [n]; square: rows and columns.
    """

    source: np.ndarray
    stamped: np.ndarray
    labels: np.ndarray
    square: tuple[slice, slice]


@dataclass(frozen=True, kw_only=True)
class Backdoor:
    """A black square in the lower right corner that means `target`.

    share: of the training part, poisoned in every seed anew: stamped and relabelled `target`.
    target: the class, from 0, that the square is to mean.
    size: pixels of a side of the square.
    offset: pixels between the square and the lower and the right border.

    The poisoned images are drawn from all classes, `target` included (its own images are stamped and keep their
    label), as published; the validation and the test images stay clean.
    Source: Gu et al., BadNets, 2017, with the values of Jia et al., NeurIPS 2023 (their section on backdoor cleanse).
    """

    share: Fraction = 0.1
    target: Index = 0
    size: Count = 4
    offset: Index = 2

    def check(self, classes: int, shape: Sequence[int], where: str) -> None:
        """Raise LacunaError naming `where` if the target is no class or the square leaves images (c, h, w)."""
        if self.target >= classes:
            raise LacunaError(
                f"{where}.target: {self.target} is not allowed; "
                f"allowed: 0 to {classes - 1} (the dataset has {classes} classes)"
            )
        if self.size + self.offset > min(shape[1:]):
            raise LacunaError(
                f"{where}: a square of {self.size} pixels, {self.offset} from the border, does not fit images of "
                f"{shape[1]}×{shape[2]}; allowed: size + offset at most {min(shape[1:])}"
            )

    def square(self, shape: Sequence[int]) -> tuple[slice, slice]:
        """Rows and columns of the square in images (c, h, w)."""
        low, high = self.offset, self.offset + self.size
        return slice(shape[1] - high, shape[1] - low), slice(shape[2] - high, shape[2] - low)

    def parts(self, train: np.ndarray, y: np.ndarray, training: int, seed: int, dataset: str) -> dict[str, np.ndarray]:
        """The two parts that a seed's split has beside its own, as sorted int64 indices.

        poisoned: `share` of `train`, drawn by seed. triggered: one index behind the dataset's for every test image of
        another class than `target`, in their order; y: int [n] labels, the first `training` of training images.
        Raises LacunaError if one of them is empty.
        """
        drawn = numpy_generator(seed, "backdoor", dataset).permutation(train)[: round(self.share * len(train))]
        parts = {
            "poisoned": np.sort(drawn),
            "triggered": np.arange(len(y), len(y) + len(self._tested(y, training))),
        }
        for part, index in parts.items():
            if not len(index):
                raise LacunaError(
                    f"the backdoor of dataset '{dataset}' leaves no image in '{part}'; allowed: at least 1"
                )
        return parts

    def labels(self, y: np.ndarray, poisoned: np.ndarray) -> np.ndarray:
        """The labels as they are trained on: int [n], `target` where poisoned."""
        y = y.copy()
        y[poisoned] = self.target
        return y

    def stamps(self, y: np.ndarray, training: int, poisoned: np.ndarray, shape: Sequence[int]) -> Stamps:
        """What a seed's models are shown: the images in their order, and behind them the triggered ones.

        poisoned: of `parts`; shape: of the images (c, h, w).
        """
        tested = self._tested(y, training)
        stamped = np.zeros(len(y) + len(tested), dtype=bool)
        stamped[poisoned] = stamped[len(y) :] = True
        return Stamps(
            source=np.concatenate([np.arange(len(y)), tested]),
            stamped=stamped,
            labels=np.concatenate([self.labels(y, poisoned), y[tested]]),
            square=self.square(shape),
        )

    def _tested(self, y: np.ndarray, training: int) -> np.ndarray:
        """The test images that are triggered: with those of `target` itself no model would be at 0 %."""
        return training + np.flatnonzero(y[training:] != self.target)


def backdoor_of(meta: Mapping[str, Any]) -> Backdoor | None:
    """The backdoor that a dataset's meta.json tells of, if there is one."""
    settings = meta.get("backdoor")
    return None if settings is None else build(Backdoor, settings, "backdoor")
