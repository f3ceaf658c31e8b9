"""cells.csv: one row per cell and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lacuna.errors import LacunaError
from lacuna.reporting.columns import COORDINATES


def cells_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate`: the coordinates of the cell, metric, value; in the given order.

    unchanged: 1 where the method returned the original model bit for bit, else 0. note: what must be known of a value.
    Raises LacunaError if there are none, or for a value that is not finite.
    """
    results = list(results)
    # what is known of a cell holds for its population too
    still = {tuple(result["cell"][c] for c in COORDINATES) for result in results if result.get("unchanged")}
    rows = []
    for result in results:
        cell, notes = tuple(result["cell"][c] for c in COORDINATES), result.get("notes", {})
        rows += [(*cell, m, value, int(cell in still), notes.get(m)) for m, value in result["metrics"].items()]
    if not rows:
        raise LacunaError("no cell of the experiment is finished; with missing: allow at least one must be")
    table = pd.DataFrame(rows, columns=[*COORDINATES, "metric", "value", "unchanged", "note"])
    if not np.isfinite(table["value"]).all():
        bad = table[~np.isfinite(table["value"])].iloc[0]
        raise LacunaError(f"metric '{bad['metric']}' of {'/'.join(map(str, bad[list(COORDINATES)]))} is {bad['value']}")
    return table
