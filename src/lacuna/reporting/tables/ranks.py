"""ranks.csv: the order of the methods by each metric, and how far the seeds agree on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import kendall_w, ranks
from lacuna.registry import register
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.coding import codes_of, plain
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.groups import grouped, parts_of


@register("ranks", reads=("cells",), coded=True)
def table(
    cells: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str], better: Mapping[str, str | float]
) -> pd.DataFrame:
    """Mean rank of each method over the seeds by each metric, 1 the best, and Kendall's W: 1 if every seed gives the
    same order of methods, 0 if the orders have nothing in common. ``W_p`` is its p value under shuffled orders. A
    method that returned the model unchanged has the rank of the untouched model, and a note.
    """
    return ranks_table(Contest(cells, oracles, twins), better)


def ranks_table(contest: Contest, better: Mapping[str, str | float]) -> pd.DataFrame:
    """The methods' mean ranks by each metric and place, 1 the best, and Kendall's W: how far the seeds agree on them.

    better: see `Contest.scores`. A method that lacks a seed is not ranked; `note` says so.
    """
    rows, oracles, values = contest.scored(better)
    of = grouped(*(contest.codes[key][rows] for key in (*PLACE, "metric")), oracles)
    # of a place the seeds and the methods in their order: which shuffle meets which depends on it
    seeds, methods = (codes_of(contest.cells[column], sort=True)[rows] for column in ("seed", "unlearner"))
    tables = len(of.first)
    counts = np.bincount(of.of[grouped(of.of, seeds).first], minlength=tables)
    own = grouped(of.of, methods)
    table, found = of.of[own.first], np.bincount(own.of, minlength=len(own.first))
    complete = found == counts[table]
    ranked = np.bincount(table[complete], minlength=tables)
    w, p = np.full((2, tables), math.nan)
    mean_rank = np.full(len(own.first), math.nan)
    kept = np.flatnonzero(complete[own.of])
    kept = kept[np.lexsort((methods[kept], seeds[kept], of.of[kept]))]
    # where no method has all seeds, nothing is kept
    for m, n in {*zip(counts[ranked > 0].tolist(), ranked[ranked > 0].tolist(), strict=True)}:
        alike = (counts == m) & (ranked == n)
        every = kept[alike[of.of[kept]]].reshape(-1, m, n)
        for part in parts_of(len(every), m * n):
            some = every[part]
            numbers = of.of[some[:, 0, 0]]
            w[numbers], p[numbers] = kendall_w(values[some])
            mean_rank[own.of[some[:, 0]]] = ranks(values[some]).mean(1)
    did_nothing = contest.cells["unchanged"].to_numpy()[rows]
    unchanged = np.bincount(own.of, weights=did_nothing, minlength=len(own.first)).astype(int)
    order = np.lexsort((own.first, table))
    first = own.first[order]
    made = plain(contest.cells.iloc[rows[first]][[*PLACE, "metric", "unlearner"]]).reset_index(drop=True)
    made.insert(len(PLACE) + 1, "oracle", np.array(["", *contest.oracles], dtype=object)[oracles[first]])
    at = table[order]
    made = made.assign(mean_rank=mean_rank[order], methods=ranked[at], seeds=counts[at], W=w[at], W_p=p[at])
    notes = [
        _note(*row)
        for row in zip(
            w[at].tolist(),
            counts[at].tolist(),
            ranked[at].tolist(),
            complete[order].tolist(),
            found[order].tolist(),
            unchanged[order].tolist(),
            strict=True,
        )
    ]
    return made.assign(unchanged=unchanged[order], note=pd.Series(notes, made.index))


def _note(w: float, seeds: int, methods: int, ranked: bool, own: int, unchanged: int) -> str | None:
    """Why fields of a row are empty, and on how many of its own seeds the method did nothing."""
    alone = (
        "1 seed: no agreement to tell" if seeds < 2 else "1 method" if methods < 2 else "all methods tie in every seed"
    )
    notes = [alone] if math.isnan(w) else []
    if not ranked:
        notes.append("not ranked: it lacks a seed")
    if unchanged:
        notes.append(f"returned the model unchanged on {unchanged} of {own} seeds")
    return "; ".join(notes) or None
