"""The tables of linear probes. probes.csv: one row per cell, target and metric. transfer.csv: over the seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lacuna.reporting.tables.base import COORDINATES, Contest, cells_table, summary_table


def probes_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of probe files: the coordinates of the cell, target, metric, value; target by target.

    Raises LacunaError if there are none, or for a value that is not finite.
    """
    by_target: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_target.setdefault(result["cell"]["target"], []).append(result)
    parts = [cells_table(found).assign(target=target) for target, found in by_target.items()] or [cells_table([])]
    return pd.concat(parts, ignore_index=True)[[*COORDINATES, "target", "metric", "value"]]


def transfer_table(
    probes: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """What `summary_table` says of cells, said of the probes on each target: mean, interval, gap to each oracle."""
    parts = []
    for target, rows in probes.groupby("target", sort=False):
        # whether a method returned the model is said of cells, not of probes
        summary = summary_table(Contest(rows.drop(columns="target"), oracles, twins)).drop(columns="unchanged")
        summary.insert(0, "target", target)
        parts.append(summary)
    return pd.concat(parts, ignore_index=True)
