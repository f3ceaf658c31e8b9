"""Rows that belong together, as arrays: what a table tells of each is computed for all of one size at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import holm, least_effect
from lacuna.reporting.columns import COORDINATES


class Groups(NamedTuple):
    """Rows by group. of: the group of each row, numbered as they first appear; first: the first row of each group."""

    of: np.ndarray
    first: np.ndarray

    def by_size(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The numbers [k] of the groups of one size n, and their rows [k, n] in order; for each size."""
        sizes = np.bincount(self.of, minlength=len(self.first))
        order = np.argsort(self.of, kind="stable")
        starts = np.cumsum(sizes) - sizes
        for n in np.unique(sizes):
            numbers = np.flatnonzero(sizes == n)
            yield numbers, order[starts[numbers][:, None] + np.arange(n)]


def grouped(*keys: np.ndarray) -> Groups:
    """Rows with the same keys, which are whole numbers from 0."""
    found = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        # numbered again each time, so that no product is too large
        found = pd.factorize(found * (int(key.max(initial=0)) + 1) + key)[0]
    first = np.zeros(int(found.max(initial=-1)) + 1, dtype=np.int64)
    first[found[::-1]] = np.arange(len(found))[::-1]
    return Groups(found, first)


def rows_of(cells: Iterable[Mapping[str, Any]], of: np.ndarray) -> pd.DataFrame:
    """The coordinates of the cell of each row. of: the number of its cell."""
    table = pd.DataFrame([[cell[c] for c in COORDINATES] for cell in cells], columns=[*COORDINATES])
    return table.iloc[of].reset_index(drop=True)


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
    """The notes of each row as one text."""
    return ["; ".join(each) or None for each in notes]
