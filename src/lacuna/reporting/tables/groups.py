"""Rows that belong together, as arrays: what a table tells of each is computed for all of one size at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import holm, least_effect
from lacuna.reporting.columns import COORDINATES

# rows that are worked on at once
_ROWS = 250_000


class Groups(NamedTuple):
    """Rows by group. of: the group of each row, numbered as they first appear; first: the first row of each group."""

    of: np.ndarray
    first: np.ndarray

    def by_size(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The numbers [k] of groups of one size n, and their rows [k, n] in order; for each size, of many rows in
        several parts."""
        sizes = np.bincount(self.of, minlength=len(self.first))
        order = np.argsort(self.of, kind="stable")
        starts = np.cumsum(sizes) - sizes
        for n in np.unique(sizes).tolist():
            numbers = np.flatnonzero(sizes == n)
            for some in parts_of(len(numbers), n):
                yield numbers[some], order[starts[numbers[some]][:, None] + np.arange(n)]

    def members(self) -> Iterator[np.ndarray]:
        """The rows of each group, in order; group by group."""
        order = np.argsort(self.of, kind="stable")
        ends = np.cumsum(np.bincount(self.of, minlength=len(self.first)))
        yield from np.split(order, ends[:-1]) if len(order) else ()


def parts_of(items: int, size: int = 1) -> Iterator[slice]:
    """Slices of so many items, each of `size` rows: what is computed of a part takes little memory."""
    step = max(1, _ROWS // max(size, 1))
    return (slice(start, start + step) for start in range(0, items, step))


def grouped(*keys: np.ndarray) -> Groups:
    """Rows with the same keys, which are whole numbers from 0."""
    found = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        # numbered again each time, so that no product is too large
        found *= int(key.max(initial=0)) + 1
        found += key
        found = pd.factorize(found)[0]
    of = found.astype(np.int32)
    del found
    return Groups(of, np.flatnonzero(np.diff(np.maximum.accumulate(of), prepend=-1)))


def rows_of(cells: Iterable[Mapping[str, Any]], of: np.ndarray) -> pd.DataFrame:
    """The coordinates of the cell of each row, as categories. of: the number of its cell."""
    table = pd.DataFrame([[cell[c] for c in COORDINATES] for cell in cells], columns=[*COORDINATES])
    texts = [name for name in COORDINATES if table[name].dtype.kind not in "biuf"]
    return table.astype(dict.fromkeys(texts, "category")).iloc[of].reset_index(drop=True)


def known_parts(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What is finite of each row of values [k, n]: the numbers of the rows that have c such values, and their places
    [j, c] in order; for each c."""
    finite = np.isfinite(values)
    counts = finite.sum(1)
    order = np.argsort(~finite, axis=1, kind="stable")
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        yield rows, order[rows, :count]


def means_of(values: np.ndarray) -> np.ndarray:
    """The mean [k] of what is a number in each row of values [k, n], added up one by one; NaN of nothing."""
    total, count = np.zeros((2, len(values)))
    for column in values.T:
        known = ~np.isnan(column)
        total += np.where(known, column, 0.0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def adjusted(p: np.ndarray, families: Groups) -> np.ndarray:
    """p values adjusted by Holm within their families."""
    found = np.full(len(p), np.nan)
    for _, rows in families.by_size():
        found[rows] = holm(p[rows])
    return found


def least_effects(n: np.ndarray, p: np.ndarray, families: Groups) -> np.ndarray:
    """`least_effect` of samples of the sizes n (NaN: no test) among the tests of their families, which have a p."""
    tests = np.bincount(families.of, weights=~np.isnan(p), minlength=len(families.first))[families.of]
    found = np.full(len(n), np.nan)
    for size, count in {*zip(n[~np.isnan(n)].tolist(), tests[~np.isnan(n)].tolist(), strict=True)}:
        found[(n == size) & (tests == count)] = least_effect(int(size), int(count))
    return found


def joined(notes: Sequence[Sequence[str]]) -> list[str | None]:
    """The notes of each row as one text, each text once in memory."""
    return [sys.intern("; ".join(each)) or None for each in notes]
