"""provenance.csv: the job behind each cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from lacuna.artifacts.provenance import FACTS
from lacuna.registry import register
from lacuna.reporting.columns import COORDINATES, PLACE
from lacuna.reporting.tables.configs import with_config


@register("provenance", reads=("metrics",))
def table(
    metrics: Iterable[Mapping[str, Any]], grid: Mapping[str, Mapping[str, Any]], log: Callable[[str], None]
) -> pd.DataFrame:
    """The job behind each cell: its configuration (``config_hash``, the same in the other tables), the commit, random
    stream, versions, device, threads, SLURM job and seconds of the job that made the model, the checksums of model and
    predictions, and the job's own file, which holds every option.
    """
    provenance = provenance_table(metrics, grid)
    for warning in inconsistent_provenance(provenance):
        log(f"warning: {warning}")
    return provenance


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
