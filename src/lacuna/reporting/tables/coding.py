"""Labels as numbers: a column of millions of rows with a byte or two for each."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from lacuna.reporting.columns import LABELS
from lacuna.reporting.tables.files import HOW, read_table, without_nul

# rows of a table that are read at a time
_ROWS = 200_000


def codes_of(column: pd.Series, sort: bool = False) -> np.ndarray:
    """Whole numbers for the labels of a column, from 0, in the order in which they appear, or sorted; of few bytes."""
    return small(pd.factorize(column, sort=sort)[0])


def small(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers in as few bytes as hold them."""
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    kinds = (np.dtype(f"int{bits}") for bits in (8, 16, 32, 64))
    return numbers.astype(next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max))


class Labels(dict[str, int]):
    """Labels with their numbers, which are given as they are asked for."""

    def __missing__(self, label: str) -> int:
        self[label] = number = len(self)
        return number

    def column(self, numbers: np.ndarray, sort: bool = False) -> Any:
        """A column of categories, in the order of their numbers, or sorted; -1 is a missing value."""
        labels: Any = [*self]
        if sort:
            labels.sort()
            place = {label: number for number, label in enumerate(labels)}
            numbers = small(np.array([*(place[label] for label in self), -1]))[numbers]
        return pd.Categorical.from_codes(numbers, labels)


def numbers_of(values: Iterable[float], size: int) -> np.ndarray:
    """So many numbers as a column: whole ones if all are."""
    whole = True

    def seen() -> Iterator[float]:
        nonlocal whole
        for value in values:
            whole = whole and isinstance(value, int)
            yield value

    found = np.fromiter(seen(), float, size)
    return found.astype(int) if whole else found


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its categories as texts."""
    coded = [name for name, column in table.items() if isinstance(column.dtype, pd.CategoricalDtype)]
    return table.assign(**{str(name): table[name].astype(table[name].cat.categories.dtype) for name in coded})


def read_coded(path: str | Path) -> pd.DataFrame:
    """A table as `read_table` reads it, but labels are categories, in the order of texts: of very many rows a fifth of
    the memory."""
    return read_table(path, _coded)


def _coded(file: BinaryIO) -> pd.DataFrame:
    # part by part: of a whole file pandas would take labels like "0.90" for numbers, if they were to be categories
    columns: dict[str, list[Any]] = {}
    labels: collections.defaultdict[str, Labels] = collections.defaultdict(Labels)
    for part in pd.read_csv(without_nul(file), chunksize=_ROWS, **HOW):
        for name, column in part.items():
            values: Any = column.to_numpy()
            if name in LABELS:
                codes, own = pd.factorize(column)
                numbers = [labels[str(name)][label] for label in own]
                # -1 is a missing value, here and there
                values = small(np.array([*numbers, -1], dtype=np.int32))[codes]
            elif values.dtype.kind == "i":
                values = small(values)
            columns.setdefault(str(name), []).append(values)
    table = {}
    for name in list(columns):
        whole = np.concatenate(columns.pop(name))
        table[name] = labels[name].column(whole, sort=True) if name in LABELS else whole
    return pd.DataFrame(table)
