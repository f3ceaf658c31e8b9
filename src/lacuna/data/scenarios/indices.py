"""Forget a list of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lacuna.artifacts import NOT_AN_NPZ
from lacuna.data.scenarios.base import Known, Scenario
from lacuna.errors import LacunaError
from lacuna.fields import Text
from lacuna.registry import register

_ALLOWED = "allowed: .npy with a 1-dimensional integer array, or .csv with one index in each line"


@register("indices")
@dataclass(frozen=True, kw_only=True)
class Indices(Scenario):
    """D_f = the training images in a file, less those that the seed keeps for validation (the log says how many).

    path: an .npy file with a 1-dimensional integer array, or a .csv file with one index in each line, after a heading
    if you like. An index is a training image's place in the dataset, from 0; each at most once.
    """

    path: Text

    def files(self) -> list[Path]:
        return [Path(self.path)]

    def forget(self, train: np.ndarray, known: Known, rng: np.random.Generator) -> np.ndarray:
        index = self.read()
        images = len(known.y) if known.train is None else known.train
        if (high := int(index.max())) >= images:
            raise LacunaError(f"{self.path}: index {high} is out of range; allowed: 0 to {images - 1}, training images")
        return np.intersect1d(index, train)

    def remark(self, train: np.ndarray) -> str:
        index = self.read()
        return f"{len(np.setdiff1d(index, train))} of {len(index)} indices left out: they are for validation"

    def check(self, meta: Mapping[str, Any], where: str) -> None:
        try:
            self.read()
        except LacunaError as error:
            raise LacunaError(f"{where}.path: {error}") from None

    def read(self) -> np.ndarray:
        """The indices as they are in the file, int64 [n].

        Raises LacunaError naming the file if it holds anything but different whole numbers from 0.
        """
        path = Path(self.path)
        if path.suffix not in (".npy", ".csv"):
            raise LacunaError(f"{self.path}: this kind of file is not allowed; {_ALLOWED}")
        try:
            index = _of_csv(path) if path.suffix == ".csv" else np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise LacunaError(f"{self.path}: no such file; {_ALLOWED}") from None
        except (OverflowError, *NOT_AN_NPZ) as error:
            raise LacunaError(f"{self.path}: not a usable file ({error}); {_ALLOWED}") from None
        if not isinstance(index, np.ndarray) or index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
            raise LacunaError(f"{self.path}: another kind of content is not allowed; {_ALLOWED}")
        if not len(index):
            raise LacunaError(f"{self.path}: it holds no index; {_ALLOWED}")
        for end in (int(index.min()), int(index.max())):
            if not 0 <= end < 2**62:
                raise LacunaError(f"{self.path}: index {end} is out of range; allowed: training images from 0")
        values, times = np.unique(index, return_counts=True)
        if (times > 1).any():
            twice = int(values[times > 1][0])
            raise LacunaError(f"{self.path}: index {twice} is there {times.max()} times; allowed: each once")
        return index.astype(np.int64)


def _of_csv(path: Path) -> np.ndarray:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if lines and not lines[0].lstrip("-").isdigit():
        lines = lines[1:]  # a heading
    return np.array([int(line) for line in lines], dtype=np.int64)
