"""missing.csv: the cells that are not there, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import WILDCARDS
from lacuna.artifacts.files import place_of
from lacuna.artifacts.logs import last_line
from lacuna.registry import register


# behind the cells: a run that ends before them leaves the list that is true of them
@register("missing", reads=(), after=("cells",))
def table(missing: Iterable[Mapping[str, Any]], results: str | Path) -> pd.DataFrame:
    """The cells that the tables leave out, each with its first missing file and the end of that
    file's log. Empty unless the run allowed it (``--config missing=allow``).
    """
    return missing_table(missing, results)


def missing_table(cells: Iterable[Mapping[str, Any]], results: str | Path = "results") -> pd.DataFrame:
    """One row for each missing cell: its place in the grid, and why.

    cells: wildcard values, and `steps`: the files that the cell's metrics are made of, each with its log, in the order
    of their making, as files name one another (`artifacts.files.told_as`). results: the folder that they lie in. The
    reason is the first of them that does not exist, and how its log ends.
    """
    columns = [*WILDCARDS, "reason"]
    return pd.DataFrame([{**cell, "reason": _reason(cell["steps"], Path(results))} for cell in cells], columns=columns)


def _reason(steps: Iterable[tuple[str, str]], results: Path) -> str:
    for file, log in steps:
        if not _lying(file, results).exists():
            last = last_line(_lying(log, results))
            return f"{file} is missing; " + (f"its log ends: {last}" if last else "it was never run")
    return "it was finished after the tables were planned"


def _lying(told: str, results: Path) -> Path:
    place = place_of(told)
    return results / place if place else Path(told)
