"""disagreement.csv: how far two metrics agree on the order of the methods."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import correlation_of_ranks, ranks
from lacuna.registry import register
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.coding import plain
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.groups import grouped


@register("disagreement", reads=("cells",), coded=True)
def table(
    cells: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str], judged: Mapping[str, str | float]
) -> pd.DataFrame:
    """Spearman's correlation between the orders that two metrics put the methods in, for each state and oracle: 1 for
    the same order, -1 for the reverse. Where it is low, the choice of the metric decides which method wins.
    """
    return disagreement_table(Contest(cells, oracles, twins), judged)


def disagreement_table(contest: Contest, better: Mapping[str, str | float]) -> pd.DataFrame:
    """Spearman's correlation between the orders that two metrics put the methods in, for each place and oracle.

    Methods are ordered by their mean score over seeds (`Contest.scores`): 1 is the same order, −1 the reverse. Metrics
    that need no oracle stand with each.
    """
    columns = [*PLACE, "oracle", "metric_a", "metric_b", "spearman", "methods", "note"]
    rows, of_oracle, values = contest.scored(better)
    parts = []
    # one after the other: of all together the labels alone would take a gigabyte
    for members in grouped(*(contest.codes[c][rows] for c in PLACE)).members():
        cells = plain(contest.cells.iloc[rows[members]][[*PLACE, "metric", "unlearner"]])
        scores = cells.assign(oracle=of_oracle[members], score=values[members])
        key = cells.iloc[0][list(PLACE)]
        for number, oracle in enumerate(contest.oracles, 1):
            judged = scores[scores["oracle"].isin([number, 0])]
            orders = judged.groupby(["metric", "unlearner"], sort=False)["score"].mean().unstack("metric", sort=False)
            place: dict[str, Any] = dict(zip((*PLACE, "oracle"), (*key, oracle), strict=True))
            parts.append(_pairs(orders.to_numpy().T, [*map(str, orders)]).assign(**place))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _pairs(orders: np.ndarray, metrics: list[str]) -> pd.DataFrame:
    """A row for each two metrics. orders: mean scores [metrics, methods], NaN for a method that a metric lacks."""
    a, b = np.triu_indices(len(metrics), 1)
    rho, methods = np.full(len(a), math.nan), np.zeros(len(a), dtype=int)
    ties = [(False, False)] * len(a)
    known = ~np.isnan(orders)
    kinds = grouped(*known.T.astype(int)) if known.size else grouped(np.zeros(len(metrics), dtype=int))
    # metrics that lack the same methods are ranked once
    for i, j in itertools.product(range(len(kinds.first)), repeat=2):
        of = np.flatnonzero((kinds.of[a] == i) & (kinds.of[b] == j))
        if not len(of):
            continue
        both = known[kinds.first[i]] & known[kinds.first[j]]
        ranked = {kind: ranks(orders[kinds.of == kind][:, both]) for kind in {i, j}}
        place = {kind: np.cumsum(kinds.of == kind) - 1 for kind in {i, j}}
        first, second = ranked[i][place[i][a[of]]], ranked[j][place[j][b[of]]]
        rho[of], methods[of] = correlation_of_ranks(first, second), both.sum()
        for pair, x, y in zip(of[np.isnan(rho[of])], first[np.isnan(rho[of])], second[np.isnan(rho[of])], strict=True):
            ties[pair] = (len({*x.tolist()}) < 2, len({*y.tolist()}) < 2)
    found = pd.DataFrame({"metric_a": [metrics[i] for i in a], "metric_b": [metrics[i] for i in b], "spearman": rho})
    notes = [
        None if not math.isnan(value) else f"{n} methods: no order to compare" if n < 3 else _tied(names, tied)
        for value, n, names, tied in zip(
            rho.tolist(), methods.tolist(), zip(found["metric_a"], found["metric_b"], strict=True), ties, strict=True
        )
    ]
    return found.assign(methods=methods, note=pd.Series(notes, found.index))


def _tied(metrics: tuple[str, str], tied: tuple[bool, bool]) -> str:
    return f"{' and '.join(itertools.compress(metrics, tied))}: all methods tie"
