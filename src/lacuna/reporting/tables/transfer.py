"""transfer.csv: linear probes, over the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lacuna.registry import register
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.summary import summary_table


@register("transfer", reads=("probes",))
def table(probes: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str]) -> pd.DataFrame:
    """What the features of each model are worth on another dataset: mean over seeds of the accuracy of a linear probe,
    and of the seconds of unlearning and probe, with what the summary of the cells says of its metrics: interval, gap to
    the probe on each oracle's features, paired by seed, test and noise floor.
    """
    return transfer_table(probes, oracles, twins)


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
