"""Forget a list of samples."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lacuna.artifacts.files import NOT_AN_NPZ
from lacuna.data.scenarios.base import DatasetFacts, Scenario
from lacuna.data.user_files import regular
from lacuna.errors import LacunaError
from lacuna.fields import Text
from lacuna.registry import register

_ALLOWED = "allowed: .npy with a 1-dimensional integer array, or .csv with one index in each line"


@register("indices")
@dataclass(frozen=True, kw_only=True)
class Indices(Scenario):
    """D_f = the training images in a file, less those that the seed keeps for validation (the log says how many).

    path: an .npy file with a 1-dimensional integer array, or a .csv file with one index in each line, after a heading
    (a first line without a digit) if you like; blank lines, and what stands behind a #, are left out. An index is a
    training image's place in the dataset, from 0; each at most once.
    """

    path: Text

    def files(self) -> list[Path]:
        return [Path(self.path)]

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        index = self.read()
        images = len(facts.y) if facts.train is None else facts.train
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
        suffix = path.suffix.lower()
        if suffix not in (".npy", ".csv"):
            raise LacunaError(f"{self.path}: this kind of file is not allowed; {_ALLOWED}")
        try:
            regular(path, _ALLOWED.removeprefix("allowed: "))
            index = _of_csv(path) if suffix == ".csv" else np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise LacunaError(f"{self.path}: no such file; {_ALLOWED}") from None
        except NOT_AN_NPZ as error:
            raise LacunaError(f"{self.path}: not a usable file ({error}); {_ALLOWED}") from None
        if not isinstance(index, np.ndarray) or index.ndim != 1 or index.dtype.kind not in "iu":
            kind = f" ({index.dtype}, shape {index.shape})" if isinstance(index, np.ndarray) else ""
            raise LacunaError(f"{self.path}: another kind of content{kind} is not allowed; {_ALLOWED}")
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


# what tables write where there is no number: no heading
_LACKING = {"na", "n/a", "nan", "none", "null", "inf", "infinity"}


def _of_csv(path: Path) -> np.ndarray:
    """The indices of a text file. Raises ValueError naming the line that is none."""
    content = path.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    index = []
    first = True
    for number, line in enumerate(content.decode("utf-16" if utf_16 else "utf-8-sig").splitlines(), 1):
        value = line.partition("#")[0].strip().rstrip(",;").strip().strip("\"'").strip()
        if not value:
            continue
        heading = first and value.isprintable() and re.search(r"\d", value) is None and re.search(r"\w", value)
        first = False
        if (columns := len(re.split(r"[,;\t]", value))) > 1:
            raise ValueError(f"line {number} has {columns} columns: {_short(value)}")
        if heading and value.lower() not in _LACKING:
            continue
        # a table with a gap in it has 5.0 for 5
        if re.fullmatch(r"[-+]?\d{1,18}(\.0*)?", value, re.ASCII) is None:
            raise ValueError(f"line {number} is no index: {_short(value)}")
        index.append(int(value.partition(".")[0]))
    return np.array(index, dtype=np.int64)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
