"""What is known of one model after the fact: its predictions, its mask, its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lacuna.errors import LacunaError

PARTS = ("retain", "forget", "val", "test", "test_forgotten")


@dataclass(frozen=True)
class Part:
    """Predictions on one set of samples.

    logits: float [n, classes]; labels: int [n] in 0..classes-1; index: int [n], the samples' place in the dataset.
    Raises LacunaError if sizes disagree, a label is out of range, or a logit is not finite.
    """

    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray | None = None
    name: str = "part"

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or not len(self.logits):
            raise LacunaError(f"{self.name}: logits of shape {self.logits.shape}; allowed: (n, classes) with n >= 1")
        n, classes = self.logits.shape
        if self.labels.shape != (n,):
            raise LacunaError(f"{self.name}: {n} rows of logits but labels of shape {self.labels.shape}")
        if self.labels.min() < 0 or self.labels.max() >= classes:
            raise LacunaError(f"{self.name}: a label is out of range; allowed: 0 to {classes - 1}")
        if not np.isfinite(self.logits).all():
            row = int((~np.isfinite(self.logits)).any(1).argmax())
            raise LacunaError(f"{self.name}: the logits of sample {row} are not finite")

    @cached_property
    def probabilities(self) -> np.ndarray:
        """softmax(logits) in float64 [n, classes]."""
        shifted = self.logits.astype(np.float64)
        shifted -= shifted.max(1, keepdims=True)
        p = np.exp(shifted)
        return p / p.sum(1, keepdims=True)

    @property
    def accuracy(self) -> float:
        """Percent of samples whose first arg-max is the label."""
        return 100.0 * float((self.logits.argmax(1) == self.labels).mean())


@dataclass(frozen=True)
class Cell:
    """A model's predictions by part (retain, forget, test and, if there are, val and test_forgotten).

    mask: bool arrays by tensor name, if known. seconds: what the method took, if known.
    """

    parts: Mapping[str, Part]
    mask: Mapping[str, np.ndarray] | None = None
    seconds: float | None = None
    cache: dict[str, float] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        mask: Mapping[str, np.ndarray] | None = None,
        seconds: float | None = None,
        **parts: tuple[np.ndarray, np.ndarray],
    ) -> Cell:
        """From plain arrays: Cell.of(retain=(logits, labels), forget=(logits, labels), test=(logits, labels))."""
        made = {name: Part(np.asarray(x), np.asarray(y), name=name) for name, (x, y) in parts.items()}
        return cls(made, mask, seconds)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], mask: Mapping[str, np.ndarray] | None, seconds: float | None
    ) -> Cell:
        """From a stored predictions file: `logits/<part>`, `labels/<part>` and `index/<part>` for each part."""
        parts = {
            name: Part(arrays[f"logits/{name}"], arrays[f"labels/{name}"], arrays[f"index/{name}"], name)
            for name in PARTS
            if f"logits/{name}" in arrays
        }
        return cls(parts, mask, seconds)

    def __getitem__(self, part: str) -> Part:
        if part not in self.parts:
            raise LacunaError(f"the predictions have no part '{part}'; they have: {', '.join(self.parts)}")
        return self.parts[part]

    def check_comparable(self, oracle: Cell, label: str) -> None:
        """Raise LacunaError unless the oracle was asked about the same samples."""
        for name, part in self.parts.items():
            other = oracle[name]
            same = np.array_equal(part.labels, other.labels) and (
                part.index is None or other.index is None or np.array_equal(part.index, other.index)
            )
            if not same:
                raise LacunaError(f"oracle '{label}' was asked about other samples in '{name}': not the same split")
