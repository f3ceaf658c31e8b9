"""cells.csv, one row per cell and metric; summary.csv, one row per method and metric over the seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lacuna.errors import LacunaError
from lacuna.evaluation.statistics import MIN_SEEDS, t_interval

COORDINATES = ("dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner")
GROUP = tuple(c for c in COORDINATES if c != "seed")
# columns that hold names, in any table
LABELS = (*GROUP, "metric", "note")


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of results/tables as it was written: labels are texts, an empty field is a missing value.

    "0.90" must not become 0.9, nor a label "NA" a missing value.
    """
    return pd.read_csv(path, dtype=dict.fromkeys(LABELS, str), keep_default_na=False, na_values=[""])


def cells_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate`: the coordinates of the cell, metric, value; in the given order."""
    rows = [
        (*(result["cell"][c] for c in COORDINATES), metric, value)
        for result in results
        for metric, value in result["metrics"].items()
    ]
    table = pd.DataFrame(rows, columns=[*COORDINATES, "metric", "value"])
    if not np.isfinite(table["value"]).all():
        bad = table[~np.isfinite(table["value"])].iloc[0]
        raise LacunaError(f"metric '{bad['metric']}' of {'/'.join(map(str, bad[list(COORDINATES)]))} is {bad['value']}")
    return table


def summary_table(cells: pd.DataFrame, oracles: Sequence[str]) -> pd.DataFrame:
    """Mean, 95 % t interval and n over seeds, and the gap to each oracle (value − oracle's, paired by seed).

    oracles: labels of reference methods. Metrics that already compare with an oracle have no gap columns filled;
    with fewer than 3 seeds the interval is empty and `note` says so.
    """
    columns = [*GROUP, "metric", "mean", "ci_low", "ci_high", "n"]
    columns += [f"gap_{oracle}{end}" for oracle in oracles for end in ("", "_low", "_high")] + ["note"]
    # one look-up of an oracle's value by everything but the method
    where = [*(c for c in COORDINATES if c != "unlearner"), "metric"]
    reference = {o: cells[cells["unlearner"] == o].set_index(where)["value"].to_dict() for o in oracles}
    rows = []
    for key, group in cells.groupby([*GROUP, "metric"], sort=False):
        mean, low, high = t_interval(group["value"].to_numpy())
        row: dict[str, Any] = dict(zip([*GROUP, "metric"], key, strict=True))
        row |= {"mean": mean, "ci_low": low, "ci_high": high, "n": len(group)}
        for oracle in oracles if "/" not in row["metric"] else ():
            places = group[where].itertuples(index=False, name=None)
            pairs = [
                (value, reference[oracle][place])
                for value, place in zip(group["value"], places, strict=True)
                if place in reference[oracle]
            ]
            if pairs:
                differences = np.array([value - other for value, other in pairs])
                row |= dict(
                    zip([f"gap_{oracle}{end}" for end in ("", "_low", "_high")], t_interval(differences), strict=True)
                )
        if len(group) < MIN_SEEDS:
            row["note"] = f"{len(group)} seed{'s' if len(group) > 1 else ''}: no interval"
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def roc_table(
    results: Iterable[Mapping[str, Any]], oracles: Sequence[str], twins: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Long form of the curves of population.json: the coordinates of the cell, role, attack, fpr, tpr; in given order.

    role: oracle, twin (another run of an oracle: twins maps its label to that oracle) or method.
    """
    roles = dict.fromkeys(oracles, "oracle") | dict.fromkeys(twins or (), "twin")
    rows = [
        (*(result["cell"][c] for c in COORDINATES), roles.get(result["cell"]["unlearner"], "method"), attack, fpr, tpr)
        for result in results
        for attack, told in result["attacks"].items()
        for fpr, tpr in zip(told["fpr"], told["tpr"], strict=True)
    ]
    return pd.DataFrame(rows, columns=[*COORDINATES, "role", "attack", "fpr", "tpr"])
