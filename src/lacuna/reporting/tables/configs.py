"""The column that names the configuration of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lacuna.artifacts.provenance import config_hash
from lacuna.reporting.columns import GROUP
from lacuna.reporting.tables.coding import Labels, codes_of, plain
from lacuna.reporting.tables.groups import grouped


def with_config(table: pd.DataFrame, grid: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A table of cells, or of cells over seeds, with `config_hash` behind the coordinates.

    grid: see `lacuna.artifacts.provenance.config_hash`.
    """
    of = grouped(*(codes_of(table[column]) for column in GROUP))
    names = table.iloc[of.first][list(GROUP)].itertuples(index=False, name=None)
    hashes = Labels()
    numbers = [hashes[config_hash(grid, dict(zip(GROUP, name, strict=True)))] for name in names]
    column: Any = hashes.column(np.array(numbers, dtype=np.int32)[of.of])
    if not any(isinstance(kind, pd.CategoricalDtype) for kind in table.dtypes):
        column = np.asarray(column, dtype="O")
    table = table.copy(deep=False)
    table.insert(list(table).index("unlearner") + 1, "config_hash", column)
    return table


def with_config_of(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """A table of cells over seeds, with the `config_hash` that cells.csv has of them."""
    first = grouped(*(codes_of(cells[column]) for column in GROUP)).first
    of = plain(cells.iloc[first][[*GROUP, "config_hash"]]).set_index(list(GROUP))["config_hash"]
    table = table.copy(deep=False)
    hashes = of.reindex(pd.MultiIndex.from_frame(table[list(GROUP)]))
    table.insert(list(table).index("unlearner") + 1, "config_hash", hashes.to_numpy())
    return table
