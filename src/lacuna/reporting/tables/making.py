"""A table from what it reads and what it is told."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Set
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


def listed_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What tables list of a result of a cell: without what it was made from, and with each text once in memory, which
    of many thousand cells is much less."""
    kept = {key: value for key, value in result.items() if key not in ("parameters", "inputs", "absent")}
    once: dict[str, Any] = _interned(kept)
    return once


def _interned(value: Any) -> Any:
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(key): _interned(inner) for key, inner in value.items()}
    return [_interned(inner) for inner in value] if isinstance(value, list) else value
