"""provenance.csv: the job behind each cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from lacuna.artifacts.provenance import FACTS, config_hash
from lacuna.reporting.columns import COORDINATES, GROUP, PLACE


def with_config(table: pd.DataFrame, grid: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A table of cells, or of cells over seeds, with `config_hash` behind the coordinates.

    grid: see `lacuna.artifacts.provenance.config_hash`.
    """
    names = list(table[list(GROUP)].itertuples(index=False, name=None))
    hashes = {name: config_hash(grid, dict(zip(GROUP, name, strict=True))) for name in dict.fromkeys(names)}
    table = table.copy()
    table.insert(list(table).index("unlearner") + 1, "config_hash", [hashes[name] for name in names])
    return table


def provenance_table(results: Iterable[Mapping[str, Any]], grid: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each result of `evaluate`: the cell, its configuration, the job that made its model, and its file."""
    rows = [
        (*(r["cell"][c] for c in COORDINATES), *(r["origin"][f] for f in FACTS), r["evaluated_at_commit"], r["job"])
        for r in results
    ]
    return with_config(pd.DataFrame(rows, columns=[*COORDINATES, *FACTS, "evaluated_at_commit", "job"]), grid)


def inconsistent_provenance(provenance: pd.DataFrame) -> list[str]:
    """A sentence for each fact that should be one wherever cells are compared or averaged, and is not."""
    said = []
    for fact in ("commit", "device", "torch"):
        counts = provenance.groupby(list(PLACE), sort=False)[fact].nunique()
        mixed = counts[counts > 1]
        if len(mixed):
            where = "/".join(mixed.index[0])
            said.append(f"{fact} differs within {len(mixed)} of {len(counts)} places (provenance.csv); one is {where}")
    return said
