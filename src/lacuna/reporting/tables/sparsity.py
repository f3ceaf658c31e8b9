"""sparsity.csv: whether a method ends closer to its oracle on a sparse model than on the dense one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lacuna.artifacts.coordinates import DENSE
from lacuna.evaluation.statistics import MIN_SEEDS, holm, least_effect, paired_p, t_interval
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.tables.contest import Contest, mean_of
from lacuna.reporting.tables.verdicts import verdict_of

_TOLD = ["dense", "sparse", "change", "change_low", "change_high", "p_unadjusted", "p", "least_sd", "least"]
_TOLD += ["floor_dense", "floor_sparse", "floor_of_mean", "excess_p", "verdict", "n", "unchanged", "note"]
# what the verdicts come from, in no file
_SPREAD = ["excess", "spread"]


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
    far = _distances(contest, better)
    at = [c for c in names if c not in ("pruner", "sparsity")]
    kept = ["distance", "floor", "unchanged"]
    dense = {
        key: rows.set_index("seed")[kept].add_suffix("_dense")
        for key, rows in far[far["pruner"] == DENSE].groupby(at, sort=False)
    }
    table = []
    for key, rows in far[far["pruner"] != DENSE].groupby(names, sort=False):
        place: dict[str, Any] = dict(zip(names, key, strict=True))
        beside = dense.get(tuple(place[c] for c in at))
        if beside is None:
            continue
        pairs = rows.set_index("seed")[kept].join(beside, how="inner")
        if not pairs.empty:
            table.append(place | _compared(pairs, place["oracle"]))
    return _judged(pd.DataFrame(table, columns=[*names, *_TOLD, *_SPREAD]))


def _compared(pairs: pd.DataFrame, oracle: str) -> dict[str, Any]:
    """One row: a method's distances over the seeds that have both models, before the tests are adjusted.

    pairs: `distance`, `floor` and `unchanged` by seed, of the sparse model, and of the dense one with `_dense` behind.
    """
    n = len(pairs)
    changes = (pairs["distance"] - pairs["distance_dense"]).to_numpy()
    of_twins = (pairs["floor"] - pairs["floor_dense"]).to_numpy()
    excess = (changes - of_twins)[np.isfinite(of_twins)]
    row: dict[str, Any] = {"dense": pairs["distance_dense"].mean(), "sparse": pairs["distance"].mean(), "n": n}
    row |= dict(zip(("change", "change_low", "change_high"), t_interval(changes), strict=True))
    row |= {"floor_dense": mean_of(pairs["floor_dense"]), "floor_sparse": mean_of(pairs["floor"])}
    row |= {"p_unadjusted": paired_p(changes), "floor_of_mean": mean_of(np.abs(of_twins)) / math.sqrt(n)}
    row |= {"excess_p": paired_p(excess), "excess": excess.mean() if len(excess) else math.nan}
    row["spread"] = float(changes.std(ddof=1)) if n >= MIN_SEEDS else math.nan
    row["unchanged"] = int(pairs["unchanged"].sum())
    return row | {"note": "; ".join(_notes(row, pairs, oracle, len(excess))) or None}


def _notes(row: Mapping[str, Any], pairs: pd.DataFrame, oracle: str, twins: int) -> Iterator[str]:
    """Why fields of a row are empty, and on which seeds a method did nothing. twins: the seeds with a second oracle."""
    n = len(pairs)
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
        yield f"{few if twins < MIN_SEEDS else same}: no verdict"
    for state, end in (("sparse", ""), ("dense", "_dense")):
        if pairs[f"unchanged{end}"].sum():
            yield f"returned the {state} model unchanged on {pairs[f'unchanged{end}'].sum()} of {n} seeds"


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """The table with p-values adjusted within their families, the smallest changes that they show, and verdicts."""
    families = table.groupby([*PLACE, "metric", "oracle"], sort=False)
    tests = families["p_unadjusted"].transform("count")
    table["p"] = families["p_unadjusted"].transform(lambda p: holm(p.to_numpy(float)))
    table["excess_p"] = families["excess_p"].transform(lambda p: holm(p.to_numpy(float)))
    known = table["p_unadjusted"].notna()
    table["least_sd"] = [*map(least_effect, table["n"].where(known, 0), tests)]
    table["least"] = table["least_sd"] * table["spread"]
    table["verdict"] = [
        verdict_of(change, math.nan if math.isnan(p + excess_p) else max(p, excess_p) if change * excess > 0 else 1.0)
        for change, p, excess, excess_p in table[["change", "p", "excess", "excess_p"]].to_numpy(float)
    ]
    return table.drop(columns=_SPREAD)


def _distances(contest: Contest, better: Mapping[str, str | float]) -> pd.DataFrame:
    """The methods' rows with `oracle`, their `distance` from it and its twins' in `floor`; in the order of `cells`."""
    methods = contest.cells[[contest.role(label) == "method" for label in contest.cells["unlearner"]]]
    parts = [methods.iloc[:0].assign(oracle="", distance=0.0, floor=0.0)]
    for metric, rows in methods.groupby("metric", sort=False):
        against, direction = contest.compares_with(str(metric)), better.get(str(metric).partition("/")[0], "none")
        if direction == "none" or (not against and direction != "oracle"):
            continue
        for oracle in [against] if against else contest.oracles:
            zero = contest.of(oracle, rows)
            twins = [np.abs(contest.of(twin, rows) - zero) for twin, of in contest.twins.items() if of == oracle]
            floor = [mean_of(seed) for seed in zip(*twins, strict=True)] if twins else math.nan
            parts.append(rows.assign(oracle=oracle, distance=np.abs(rows["value"] - zero), floor=floor))
    return pd.concat(parts).dropna(subset="distance").sort_index(kind="stable")
