"""backdoor.csv: accuracy and attack success before and after each method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import MIN_SEEDS, t_interval
from lacuna.registry import register
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.tables.contest import Contest, listed

# what became of a backdoor
_METRICS = ("SA", "ASR")


@register("backdoor", reads=("cells",), needs=("backdoor",), one_of=_METRICS)
def table(cells: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str], original: str) -> pd.DataFrame:
    """Accuracy on clean test images (SA) and attack success (ASR, share of the stamped test images of other classes
    that are called the target), before unlearning, after it, and the change, means over seeds. The ASR of an oracle is
    what clean errors alone give: a method cannot be better, only look so.
    """
    return backdoor_table(Contest(cells, oracles, twins), original)


def backdoor_table(contest: Contest, original: str | None, metrics: Sequence[str] = _METRICS) -> pd.DataFrame:
    """What a backdoor does before and after each method: means and intervals over seeds, and the change.

    original: the label of the untouched model, None without one. A row for every other unlearner, place and metric; all
    three means are over the `n` seeds that have both values. Where there is no `original` only `after` is filled.
    """
    spans = [f"{what}{end}" for what in ("before", "after", "change") for end in ("", "_low", "_high")]
    cells = contest.cells[contest.cells["metric"].isin(metrics)]
    beside = [*PLACE, "seed", "metric"]
    untouched = cells[cells["unlearner"] == original].set_index(beside)["value"].to_dict()
    table = []
    for key, group in cells[cells["unlearner"] != original].groupby([*GROUP, "metric"], sort=False):
        row: dict[str, Any] = dict(zip([*GROUP, "metric"], key, strict=True))
        before = np.array(
            [untouched.get(place, math.nan) for place in group[beside].itertuples(index=False, name=None)]
        )
        after, known = group["value"].to_numpy(), np.isfinite(before)
        told = {"before": before[known], "after": after[known], "change": (after - before)[known]}
        notes = [] if known.all() else [f"no {original or 'original'} beside seed {listed(group['seed'][~known])}"]
        if not known.any():
            told = {"after": after}
        for what, values in told.items():
            row |= dict(zip((what, f"{what}_low", f"{what}_high"), t_interval(values), strict=True))
        row |= {"n": len(told["after"]), "role": contest.role(row["unlearner"])}
        if row["n"] < MIN_SEEDS:
            notes.append(f"{row['n']} seed{'s' if row['n'] > 1 else ''}: no interval")
        table.append(row | {"note": "; ".join(notes) or None})
    return pd.DataFrame(table, columns=[*GROUP, "role", "metric", *spans, "n", "note"])
