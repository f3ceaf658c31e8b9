"""A table from what it reads and what it is told."""

from __future__ import annotations

import array
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import pandas as pd

from lacuna.reporting import TABLES


def made(name: str, known: Mapping[str, Any]) -> pd.DataFrame:
    """The table of that name: its function takes of `known` those that it has parameters for.

    known: the tables and the content of the files that it reads, what `told_of` gives, `missing` (see `missing_table`),
    `results`, the folder that its files lie in, and `log`, which is called with each line for the job's log.
    """
    return TABLES[name](**{parameter: known[parameter] for parameter in parameters_of(name)})


def parameters_of(name: str) -> Set[str]:
    """What the table's function has parameters for."""
    return inspect.signature(TABLES[name]).parameters.keys()


class Record(Mapping[str, Any]):
    """A mapping of few bytes: its keys are those of all records alike, and numbers stand in an array."""

    __slots__ = ("_at", "_values")

    def __init__(self, at: Mapping[str, int], values: Sequence[Any]):
        """at: the place of the value of each key, in their order."""
        self._at, self._values = at, values

    def __getitem__(self, key: str) -> Any:
        return self._values[self._at[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)


class Listing:
    """What tables list of the results of cells: without what each was made from, and with each text, and each list of
    keys, once in memory, which of many thousand cells is a tenth."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, ...], dict[str, int]] = {}
        self._texts: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def of(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """What they list of one."""
        return self._record({key: of for key, of in result.items() if key not in ("parameters", "inputs", "absent")})

    def _record(self, value: Mapping[str, Any]) -> Record:
        keys = tuple(map(sys.intern, value))
        at = self._keys.setdefault(keys, {})
        if not at:
            at.update((key, place) for place, key in enumerate(keys))
        values = [*map(self._once, value.values())]
        numbers = len(values) > 1 and all(type(each) is float for each in values)
        return Record(at, array.array("d", values) if numbers else tuple(values))

    def _once(self, value: Any) -> Any:
        if isinstance(value, str):
            return sys.intern(value)
        if isinstance(value, dict):
            return self._record(value)
        if isinstance(value, list):
            items = tuple(map(self._once, value))
            return self._texts.setdefault(items, items) if all(isinstance(each, str) for each in items) else items
        return value
