"""cells.csv: one row per cell and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.errors import LacunaError
from lacuna.registry import register
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.coding import Labels, numbers_of, plain
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
    return with_config(coded_cells([*metrics, *population]), grid)


def cells_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate`: the coordinates of the cell, metric, value; in the given order.

    unchanged: 1 where the method returned the original model bit for bit, else 0. note: what must be known of a value.
    Raises LacunaError if there are none, or for a value that is not finite.
    """
    return plain(coded_cells(results))


def coded_cells(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The same with labels as categories: of very many rows a fifth of the memory."""
    results = list(results)
    # what is known of a cell holds for its population too
    still = {_place(result) for result in results if result.get("unchanged")}
    of = np.repeat(np.arange(len(results), dtype=np.int32), [len(result["metrics"]) for result in results])
    if not len(of):
        raise LacunaError("no cell of the experiment is finished; with missing: allow at least one must be")
    table = rows_of((result["cell"] for result in results), of).assign(
        metric=_metrics(results, len(of)),
        value=numbers_of((value for result in results for value in result["metrics"].values()), len(of)),
        unchanged=np.array([int(_place(result) in still) for result in results], dtype=np.int8)[of],
        note=_notes(results, len(of)),
    )
    if not np.isfinite(table["value"]).all():
        bad = table[~np.isfinite(table["value"])].iloc[0]
        raise LacunaError(f"metric '{bad['metric']}' of {'/'.join(map(str, bad[list(COORDINATES)]))} is {bad['value']}")
    return table


def _metrics(results: Iterable[Mapping[str, Any]], size: int) -> Any:
    labels = Labels()
    numbers = (labels[name] for result in results for name in result["metrics"])
    return labels.column(np.fromiter(numbers, np.int32, size))


def _notes(results: Iterable[Mapping[str, Any]], size: int) -> Any:
    labels, numbers, first = Labels(), np.full(size, -1, dtype=np.int32), 0
    for result in results:
        if notes := result.get("notes"):
            for place, metric in enumerate(result["metrics"]):
                if metric in notes:
                    numbers[first + place] = labels[notes[metric]]
        first += len(result["metrics"])
    return labels.column(numbers)


def _place(result: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(result["cell"][c] for c in COORDINATES)
