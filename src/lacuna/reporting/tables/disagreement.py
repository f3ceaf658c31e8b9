"""disagreement.csv: how far two metrics agree on the order of the methods."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import pandas as pd

from lacuna.evaluation.statistics import ranks, spearman
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.contest import Contest


def disagreement_table(contest: Contest, better: Mapping[str, str | float]) -> pd.DataFrame:
    """Spearman's correlation between the orders that two metrics put the methods in, for each place and oracle.

    Methods are ordered by their mean score over seeds (`Contest.scores`): 1 is the same order, −1 the reverse. Metrics
    that need no oracle stand with each.
    """
    columns = [*PLACE, "oracle", "metric_a", "metric_b", "spearman", "methods", "note"]
    table = []
    for key, rows in contest.scores(better).groupby(list(PLACE), sort=False):
        for oracle in contest.oracles:
            judged = rows[rows["oracle"].isin([oracle, ""])]
            orders = judged.groupby(["metric", "unlearner"], sort=False)["score"].mean().unstack("metric", sort=False)
            for a, b in itertools.combinations(orders.columns, 2):
                both = orders[[a, b]].dropna()
                rho = spearman(both[a].to_numpy(), both[b].to_numpy())
                note = None
                if math.isnan(rho):
                    tied = " and ".join(m for m in (a, b) if len(set(ranks(both[m].to_numpy()))) < 2)
                    note = f"{len(both)} methods: no order to compare" if len(both) < 3 else f"{tied}: all methods tie"
                found = dict(zip(PLACE, key, strict=True)) | {"oracle": oracle, "metric_a": a, "metric_b": b}
                table.append(found | {"spearman": rho, "methods": len(both), "note": note})
    return pd.DataFrame(table, columns=columns)
