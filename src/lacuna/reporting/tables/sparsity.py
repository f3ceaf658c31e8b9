"""sparsity.csv: whether a method ends closer to its oracle on a sparse model than on the dense one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.artifacts.coordinates import DENSE
from lacuna.evaluation.statistics import MIN_SEEDS, paired_p, t_interval
from lacuna.registry import register
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.tables.coding import plain
from lacuna.reporting.tables.contest import Contest, in_order
from lacuna.reporting.tables.groups import Groups, adjusted, grouped, known_parts, least_effects, means_of
from lacuna.reporting.tables.verdicts import verdict_of

_TOLD = ["dense", "sparse", "change", "change_low", "change_high", "p_unadjusted", "p", "least_sd", "least"]
_TOLD += ["floor_dense", "floor_sparse", "floor_of_mean", "excess_p", "verdict", "n", "unchanged", "note"]


@register("sparsity", reads=("cells",), coded=True)
def table(
    cells: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str], judged: Mapping[str, str | float]
) -> pd.DataFrame:
    """Does a sparse model forget better? How far each method ends from its oracle on the dense model and on the sparse
    one, each compared with the oracle of its own sparsity, and the change, paired by seed: below 0 is closer.
    ``verdict`` is closer or farther where the seeds agree on it and the distance of the oracle's own second run does
    not change as much; else it is not shown: ``least`` is the smallest change that the first of these two tests shows
    with 80 % power; the second may ask for more. Look at the row of ``original`` first: where it comes closer by as
    much, there was less to forget.
    """
    return sparsity_table(Contest(cells, oracles, twins), judged)


def sparsity_table(contest: Contest, better: Mapping[str, str | float]) -> pd.DataFrame:
    """Does a sparse model forget better? How far each method ends from its oracle, on the dense model and on a sparse.

    better: the direction of each metric, as for `Contest.scores`. A row for each method, sparse place, metric and
    oracle that a distance is known of, the oracle being that of the same sparsity: |value − oracle's|, for a comparison
    (`avg_gap/retrain`) from what the oracle has with itself. dense, sparse: means over the `n` seeds with both. change:
    sparse − dense, paired by seed; below 0 is closer. p_unadjusted: of the paired t test that it is 0; p: adjusted by
    Holm over the methods of the place. least: the smallest change that this test shows with 80 % power at Holm's first
    step, least_sd in standard deviations over the seeds. floor_dense, floor_sparse: the twins' own distance on the same
    seeds. floor_of_mean: mean |change of the twins' distance| / √n. excess_p: adjusted, of the paired t test that the
    method's change is the twins'. verdict: closer or farther, if both tests say so (p < 0.05, same sign), else not
    shown. unchanged: seeds on which the method returned the sparse model. `note` says why a field is empty.
    """
    names = [*GROUP, "metric", "oracle"]
    rows, oracles, far = _distances(contest, better)
    is_dense = (contest.cells["pruner"] == DENSE).to_numpy()[rows]
    sparse, dense = (np.flatnonzero(some).astype(np.int32) for some in (~is_dense, is_dense))
    # beside each sparse row the dense one of the same method, metric, oracle and seed
    alike = (*(c for c in names if c not in ("pruner", "sparsity", "oracle")), "seed")
    at = grouped(*(contest.codes[name][rows] for name in alike), oracles)
    partner = np.full(len(at.first), -1, dtype=np.int32)
    partner[at.of[dense]] = dense
    partner = partner[at.of[sparse]]
    of = grouped(*(contest.codes[name][rows[sparse]] for name in names[:-1]), oracles[sparse])
    paired = np.flatnonzero(partner >= 0).astype(np.int32)
    kept = np.unique(of.of[paired])
    first = sparse[of.first[kept]]
    made = plain(contest.cells.iloc[rows[first]][[*GROUP, "metric"]]).reset_index(drop=True)
    made["oracle"] = [contest.oracles[code] for code in oracles[first]]
    number = np.full(len(of.first), -1)
    number[kept] = np.arange(len(kept))
    pairs = _Pairs(far, sparse[paired], partner[paired], number[of.of[paired]])
    made = made.assign(**pairs.compared(len(kept)))
    made["note"] = [
        "; ".join(_notes(dict(zip(_NOTED, row, strict=True)))) or None
        for row in zip(made["oracle"], *(made[name].tolist() for name in _NOTED[1:]), strict=True)
    ]
    return _judged(made)[[*names, *_TOLD]]


class _Pairs:
    """Sparse rows and the dense ones of the same seed, by method: what is told of each, before tests are adjusted."""

    def __init__(self, far: Mapping[str, np.ndarray], sparse: np.ndarray, dense: np.ndarray, of: np.ndarray):
        self.far, self.sparse, self.dense = far, sparse, dense
        self.of = Groups(of, np.zeros(int(of.max(initial=-1)) + 1, dtype=int))

    def compared(self, size: int) -> dict[str, np.ndarray]:
        names = (
            *("dense", "sparse", "change", "change_low", "change_high", "floor_dense", "floor_sparse", "floor_of_mean"),
            *("p_unadjusted", "excess_p", "excess", "spread", "n", "unchanged", "unchanged_dense", "twins"),
        )
        found = {name: np.full(size, math.nan) for name in names}
        for groups, rows in self.of.by_size():
            if rows.shape[1]:
                for name, values in self._of_size(rows).items():
                    found[name][groups] = values
        whole = ("n", "unchanged", "unchanged_dense", "twins")
        return {name: values.astype(int) if name in whole else values for name, values in found.items()}

    def _of_size(self, rows: np.ndarray) -> dict[str, Any]:
        """The same of the rows [k, n] of groups of one size."""
        n = rows.shape[1]
        dense, sparse = (
            {name: values[members[rows]] for name, values in self.far.items()} for members in (self.dense, self.sparse)
        )
        changes, of_twins = sparse["distance"] - dense["distance"], sparse["floor"] - dense["floor"]
        found: dict[str, Any] = {"dense": dense["distance"].mean(1), "sparse": sparse["distance"].mean(1), "n": n}
        found |= dict(zip(("change", "change_low", "change_high"), t_interval(changes), strict=True))
        found |= {"floor_dense": means_of(dense["floor"]), "floor_sparse": means_of(sparse["floor"])}
        found |= {"p_unadjusted": paired_p(changes), "floor_of_mean": means_of(np.abs(of_twins)) / math.sqrt(n)}
        found["spread"] = changes.std(1, ddof=1) if n >= MIN_SEEDS else math.nan
        found |= {"unchanged": sparse["unchanged"].sum(1), "unchanged_dense": dense["unchanged"].sum(1)}
        excess_p, mean, twins = np.full((3, len(rows)), math.nan)
        more = changes - of_twins
        for some, places in known_parts(of_twins):
            twins[some] = places.shape[1]
            if places.shape[1]:
                excess = more[some[:, None], places]
                excess_p[some], mean[some] = paired_p(excess), excess.mean(1)
        return found | {"excess_p": excess_p, "excess": mean, "twins": twins}


# what the notes of a row come from
_NOTED = ("oracle", "n", "p_unadjusted", "floor_of_mean", "excess_p", "twins", "unchanged", "unchanged_dense")


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    """Why fields of a row are empty, and on which seeds a method did nothing."""
    n, oracle = row["n"], row["oracle"]
    if n < MIN_SEEDS:
        some = f"{n} seed{'s' if n > 1 else ''}"
        yield f"{some} with both: no interval, no test, no verdict"
    elif math.isnan(row["p_unadjusted"]):
        yield "every seed has the same change: no test, no verdict"
    if math.isnan(row["floor_of_mean"]):
        yield f"no second {oracle}: no floor, no verdict"
    elif n >= MIN_SEEDS and math.isnan(row["excess_p"]) and not math.isnan(row["p_unadjusted"]):
        few = f"a second {oracle} on fewer than {MIN_SEEDS} of the seeds"
        same = "every seed has the twin's change and as much more"
        yield f"{few if row['twins'] < MIN_SEEDS else same}: no verdict"
    for state, unchanged in (("sparse", row["unchanged"]), ("dense", row["unchanged_dense"])):
        if unchanged:
            yield f"returned the {state} model unchanged on {unchanged} of {n} seeds"


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """The table with p-values adjusted within their families, the smallest changes that they show, and verdicts."""
    families = grouped(*(pd.factorize(table[column])[0] for column in (*PLACE, "metric", "oracle")))
    p, excess_p = (adjusted(table[name].to_numpy(float), families) for name in ("p_unadjusted", "excess_p"))
    tested = np.where(table["p_unadjusted"].notna(), table["n"], math.nan)
    least = least_effects(tested, table["p_unadjusted"].to_numpy(float), families)
    table = table.assign(p=p, excess_p=excess_p, least_sd=least, least=least * table["spread"])
    table["verdict"] = [
        verdict_of(change, math.nan if math.isnan(p + excess_p) else max(p, excess_p) if change * excess > 0 else 1.0)
        for change, p, excess, excess_p in table[["change", "p", "excess", "excess_p"]].to_numpy(float)
    ]
    return table


def _distances(
    contest: Contest, better: Mapping[str, str | float]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Of each distance of a method from an oracle: the row of `cells`, in their order; the number of the oracle; and
    the `distance`, its twins' in `floor`, and whether the method did nothing in `unchanged`."""
    values, metrics, methods = contest.cells["value"].to_numpy(), contest.codes["metric"], contest.is_method()
    parts: list[tuple[np.ndarray, int, np.ndarray]] = []
    for code, metric in enumerate(contest.cells["metric"].iloc[contest.groups("metric").first]):
        against, direction = contest.compares_with(metric), better.get(metric.partition("/")[0], "none")
        if direction == "none" or (not against and direction != "oracle"):
            continue
        rows = np.flatnonzero(methods & (metrics == code)).astype(np.int32)
        for number, oracle in enumerate(contest.oracles):
            if against in ("", oracle):
                distance = np.abs(values[rows] - contest.beside(oracle, rows))
                known = ~np.isnan(distance)
                parts.append((rows[known], number, distance[known]))
    rows, oracles, distances = in_order(parts)
    floor = np.full(len(rows), math.nan)
    for number, oracle in enumerate(contest.oracles):
        floor[oracles == number] = contest.twin_distances(oracle, rows[oracles == number])
    unchanged = contest.cells["unchanged"].to_numpy()[rows]
    return rows, oracles, {"distance": distances, "floor": floor, "unchanged": unchanged}
