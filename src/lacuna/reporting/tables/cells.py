"""cells.csv: one row per cell and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.errors import LacunaError
from lacuna.registry import register
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.configs import with_config
from lacuna.reporting.tables.groups import rows_of


@register("cells", reads=("metrics", "population"))
def table(
    metrics: Sequence[Mapping[str, Any]], population: Sequence[Mapping[str, Any]], grid: Mapping[str, Any]
) -> pd.DataFrame:
    """Every cell of the grid and every metric, in long form: dataset, model, recipe, seed, scenario, pruner, sparsity,
    unlearner, metric, value; ``unchanged`` is 1 where the method returned the original model bit for bit, ``note`` what
    must be known of a value. A metric written ``name/oracle`` compares the cell with that oracle.
    """
    return with_config(cells_table([*metrics, *population]), grid)


def cells_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate`: the coordinates of the cell, metric, value; in the given order.

    unchanged: 1 where the method returned the original model bit for bit, else 0. note: what must be known of a value.
    Raises LacunaError if there are none, or for a value that is not finite.
    """
    results = list(results)
    # what is known of a cell holds for its population too
    still = {_place(result) for result in results if result.get("unchanged")}
    metrics = [metric for result in results for metric in result["metrics"]]
    if not metrics:
        raise LacunaError("no cell of the experiment is finished; with missing: allow at least one must be")
    of = np.repeat(np.arange(len(results)), [len(result["metrics"]) for result in results])
    table = rows_of((result["cell"] for result in results), of).assign(
        metric=metrics,
        value=[value for result in results for value in result["metrics"].values()],
        unchanged=np.array([int(_place(result) in still) for result in results])[of],
        note=[
            notes.get(metric)
            for result in results
            for notes in [result.get("notes", {})]
            for metric in result["metrics"]
        ],
    )
    if not np.isfinite(table["value"]).all():
        bad = table[~np.isfinite(table["value"])].iloc[0]
        raise LacunaError(f"metric '{bad['metric']}' of {'/'.join(map(str, bad[list(COORDINATES)]))} is {bad['value']}")
    return table


def _place(result: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(result["cell"][c] for c in COORDINATES)
