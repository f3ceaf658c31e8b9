"""probes.csv: one row per cell, target and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from lacuna.registry import register
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.cells import cells_table


@register("probes", reads=("probe",), needs=("targets",))
def table(probe: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Every linear probe, in long form: the cell that it reads the features of, its target, metric, value."""
    return probes_table(probe)


def probes_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of probe files: the coordinates of the cell, target, metric, value; target by target.

    Raises LacunaError if there are none, or for a value that is not finite.
    """
    by_target: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_target.setdefault(result["cell"]["target"], []).append(result)
    parts = [cells_table(found).assign(target=target) for target, found in by_target.items()] or [cells_table([])]
    return pd.concat(parts, ignore_index=True)[[*COORDINATES, "target", "metric", "value"]]
