"""ranks.csv: the order of the methods by each metric, and how far the seeds agree on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import kendall_w, ranks
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.contest import Contest


def ranks_table(contest: Contest, better: Mapping[str, str | float]) -> pd.DataFrame:
    """The methods' mean ranks by each metric and place, 1 the best, and Kendall's W: how far the seeds agree on them.

    better: see `Contest.scores`. A method that lacks a seed is not ranked; `note` says so.
    """
    columns = [
        *PLACE,
        "metric",
        "oracle",
        "unlearner",
        "mean_rank",
        "methods",
        "seeds",
        "W",
        "W_p",
        "unchanged",
        "note",
    ]
    table = []
    for key, rows in contest.scores(better).groupby([*PLACE, "metric", "oracle"], sort=False):
        scores = rows.pivot(index="seed", columns="unlearner", values="score")
        complete = scores.dropna(axis="columns")
        m, n = complete.shape
        w, p = kendall_w(complete.to_numpy())
        mean_ranks = pd.Series(np.mean([ranks(seed) for seed in complete.to_numpy()], axis=0), complete.columns)
        alone = "1 seed: no agreement to tell" if m < 2 else "1 method" if n < 2 else "all methods tie in every seed"
        for unlearner in rows["unlearner"].unique():
            row = dict(zip([*PLACE, "metric", "oracle"], key, strict=True))
            row |= {"unlearner": unlearner, "methods": n, "seeds": m, "W": w, "W_p": p}
            notes = [alone] if math.isnan(w) else []
            if unlearner in complete:
                row["mean_rank"] = mean_ranks[unlearner]
            else:
                notes.append("not ranked: it lacks a seed")
            own = rows[rows["unlearner"] == unlearner]
            row["unchanged"] = int(own["unchanged"].sum())
            if row["unchanged"]:
                notes.append(f"returned the model unchanged on {row['unchanged']} of {len(own)} seeds")
            table.append(row | {"note": "; ".join(notes) or None})
    return pd.DataFrame(table, columns=columns)
