"""The tables of an experiment; docs/tables.md says what each column means.

cells.csv: one row per cell and metric. layers.csv: one row per cell, layer and metric. summary.csv: one row per method
and metric, over the seeds. ranks.csv: the order of the methods by each metric, and how far the seeds agree on it.
disagreement.csv: how far two metrics agree on it. recipes.csv: how far two recipes do. sparsity.csv: whether a method
ends closer to its oracle on a sparse model than on the dense one. missing.csv: the cells that are not there, and why.
provenance.csv: the job behind each cell. roc.csv: curves of membership attacks with shadow models. backdoor.csv:
accuracy and attack success before and after each method.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lacuna.artifacts.files import atomic
from lacuna.artifacts.logs import last_line
from lacuna.artifacts.provenance import FACTS, config_hash
from lacuna.errors import DamagedFile, LacunaError
from lacuna.evaluation.statistics import (
    LEVEL,
    MIN_SEEDS,
    holm,
    kendall_tau,
    kendall_w,
    least_effect,
    paired_p,
    ranks,
    spearman,
    t_interval,
)

COORDINATES = ("dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner")
GROUP = tuple(c for c in COORDINATES if c != "seed")
# where methods compete: everything but method and seed
PLACE = tuple(c for c in GROUP if c != "unlearner")
# columns that hold names, in any table
LABELS = (
    *(*GROUP, "target", "role", "layer", "metric", "oracle", "metric_a", "metric_b", "recipe_a", "recipe_b"),
    *("attack", "reason", "verdict", "note"),
)
LABELS += ("config_hash", *(fact for fact in FACTS if fact not in ("random_stream", "threads", "seconds")))
# columns that a table is not read without; those that hold no names hold numbers
_REQUIRED = {
    "cells": (*COORDINATES, "metric", "value"),
    "layers": (*COORDINATES, "layer", "metric", "value"),
    "probes": (*COORDINATES, "target", "metric", "value"),
    "summary": (*GROUP, "role", "metric", "mean", "n"),
}
# what a spreadsheet takes for the beginning of a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# what recipes are compared by
_RANKED_BY = "avg_gap"
_DENSE = "dense"
# what stands after gap_<oracle>
_GAP = (
    *("", "_low", "_high", "_p_unadjusted", "_p", "_least_sd", "_least"),
    *("_distance", "_floor", "_floor_of_mean", "_excess_p", "_verdict"),
)
# the verdict where no test shows anything: of an effect that may be there
_NOT_SHOWN = "not shown"
# share of an oracle's UA from which on the original model never knew D_f
_NOTHING_TO_FORGET = 0.9


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of results/tables as it was written: labels are texts, an empty field is a missing value.

    "0.90" must not become 0.9, nor a label "NA" a missing value. Raises DamagedFile for what is no such table.
    """
    try:
        table = from_text(Path(path).read_bytes().decode())
        for column in _REQUIRED.get(Path(path).stem, ()):
            if column not in table:
                raise ValueError(f"it has no column '{column}'")
            if column not in LABELS and table[column].dtype.kind not in "iuf" and len(table):
                raise ValueError(f"a field of '{column}' is no number")
        return table
    except (OSError, ValueError) as error:
        raise DamagedFile(path, f"{path}: not a usable table ({' '.join(str(error).split())})") from None


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table for `read_table`, and for spreadsheets: a text that these would take for a formula gets a `'`."""

    with atomic(path) as temporary:
        temporary.write_text(as_text(table), encoding="utf-8", newline="")


def from_text(text: str) -> pd.DataFrame:
    """The table of a file's content. Raises ValueError for what is none."""
    if "\0" in text:
        raise ValueError("it holds a NUL")
    return pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(LABELS, str), keep_default_na=False, na_values=[""])


def as_text(table: pd.DataFrame) -> str:
    """The content of the file that `write_table` writes."""

    def plain(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA and not _is_number(value) else value

    table = table.copy()
    for name in [name for name, column in table.items() if column.dtype.kind not in "biuf"]:
        table[name] = table[name].map(plain)
    return table.to_csv(index=False)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def original_of(grid: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The label of the untouched model in a grid (see `provenance.config_hash`); of several the one that bears
    its name, else the first, for they are the same model. "original" if the grid has none."""
    labels = [label for label, entry in grid.get("unlearners", {}).items() if entry["method"] == "original"]
    return "original" if "original" in labels else min(labels, default="original")


def cells_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate`: the coordinates of the cell, metric, value; in the given order.

    unchanged: 1 where the method returned the original model bit for bit, else 0. note: what must be known of a value.
    Raises LacunaError if there are none, or for a value that is not finite.
    """
    results = list(results)
    # what is known of a cell holds for its population too
    still = {tuple(result["cell"][c] for c in COORDINATES) for result in results if result.get("unchanged")}
    rows = []
    for result in results:
        cell, notes = tuple(result["cell"][c] for c in COORDINATES), result.get("notes", {})
        rows += [(*cell, m, value, int(cell in still), notes.get(m)) for m, value in result["metrics"].items()]
    if not rows:
        raise LacunaError("no cell of the experiment is there; allowed with missing: allow are those of an earlier run")
    table = pd.DataFrame(rows, columns=[*COORDINATES, "metric", "value", "unchanged", "note"])
    if not np.isfinite(table["value"]).all():
        bad = table[~np.isfinite(table["value"])].iloc[0]
        raise LacunaError(f"metric '{bad['metric']}' of {'/'.join(map(str, bad[list(COORDINATES)]))} is {bad['value']}")
    return table


def layers_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate_layers`: the coordinates of the cell, layer, metric, value.

    Layers in the order of the network, which a result has in `layer_order`; without it as they are given.
    """
    rows = []
    for result in results:
        cell, order = tuple(result["cell"][c] for c in COORDINATES), result.get("layer_order", ())
        place = {layer: position for position, layer in enumerate(order)}
        for metric, values in result["layers"].items():
            rows += [
                (*cell, layer, metric, values[layer])
                for layer in sorted(values, key=lambda n: place.get(n, len(place)))
            ]
    return pd.DataFrame(rows, columns=[*COORDINATES, "layer", "metric", "value"])


class Contest:
    """The cells of an experiment with who is who: oracles, their twins, and the methods that are compared.

    cells: as `cells_table` gives them. oracles: labels of the reference methods. twins: the label of each further
    run of an oracle → that oracle; its distance from the oracle is the noise floor. original: the label of the
    untouched model.
    """

    def __init__(
        self,
        cells: pd.DataFrame,
        oracles: Sequence[str],
        twins: Mapping[str, str] | None = None,
        original: str = "original",
    ):
        known = {"unchanged": 0, "note": None} | dict(cells.items())
        self.cells = pd.DataFrame(known, index=cells.index)[[*cells, *(c for c in known if c not in cells)]]
        self.cells = self.cells.reset_index(drop=True)
        self.oracles, self.twins, self.original = tuple(oracles), dict(twins or {}), original
        # beside every row the reference's value by everything but the method, looked up once
        where = [*(c for c in COORDINATES if c != "unlearner"), "metric"]
        keys = list(self.cells[where].itertuples(index=False, name=None))
        self._beside = {}
        for label in (*self.oracles, *self.twins):
            values = cells[cells["unlearner"] == label].set_index(where)["value"].to_dict()
            self._beside[label] = np.array([values.get(key, math.nan) for key in keys])

    def role(self, unlearner: str) -> str:
        """oracle, twin or method."""
        return "oracle" if unlearner in self.oracles else "twin" if unlearner in self.twins else "method"

    def compares_with(self, metric: str) -> str:
        """The oracle that the metric itself compares with (`avg_gap/retrain`), or nothing."""
        suffix = metric.rpartition("/")[2]
        return suffix if suffix in self.oracles else ""

    def of(self, label: str, rows: pd.DataFrame) -> np.ndarray:
        """An oracle's or twin's value beside rows of `cells`: same metric, place and seed; NaN where there is none."""
        return self._beside[label][rows.index]

    def floor(self, oracle: str, rows: pd.DataFrame) -> float:
        """How far the twins of an oracle are from it, mean over twins and the oracle's rows (one metric and place).

        Of a metric that is a comparison the twins' own value; else mean |twin − oracle|. NaN without a twin.
        """
        twins = [twin for twin, of in self.twins.items() if of == oracle]
        values = np.array([self.of(twin, rows) for twin in twins]).reshape(-1, len(rows))
        if not self.compares_with(rows["metric"].iloc[0]):
            values = np.abs(values - rows["value"].to_numpy())
        return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan

    def scores(self, better: Mapping[str, str | float]) -> pd.DataFrame:
        """The methods' rows with `oracle` and `score`: the smaller, the better.

        better: the direction of each metric. lower, higher: ± value. oracle: the distance |value − oracle's|, once for
        each oracle. A number: the distance from it. none: no judgement, left out; so are metrics that `better` lacks.
        """
        methods = self.cells[~self.cells["unlearner"].isin([*self.oracles, *self.twins])]
        parts = []
        for metric, rows in methods.groupby("metric", sort=False):
            against = self.compares_with(str(metric))
            direction = better.get(str(metric).partition("/")[0], "none")
            if direction == "oracle":
                for oracle in [against] if against else self.oracles:
                    distance = np.abs(rows["value"] - self.of(oracle, rows))
                    parts.append(rows.assign(oracle=oracle, score=distance).dropna(subset="score"))
            elif not isinstance(direction, str):
                parts.append(rows.assign(oracle=against, score=np.abs(rows["value"] - direction)))
            elif direction != "none":
                parts.append(rows.assign(oracle=against, score=rows["value"] * (1 if direction == "lower" else -1)))
        # the order of `cells`: place by place, not metric by metric
        return pd.concat(parts).sort_index(kind="stable") if parts else methods.iloc[:0].assign(oracle="", score=0.0)


def summary_table(contest: Contest) -> pd.DataFrame:
    """Mean and interval over seeds, and for each oracle the gap to it, its interval, test and noise floor, a verdict.

    gap: value − oracle's, paired by seed. `_p_unadjusted`: of the paired t test that it is 0; `_p`: adjusted by Holm
    over the methods of the place. `_least`: the smallest gap that this test shows with 80 % power at Holm's first step,
    `_least_sd` in standard deviations over the seeds. `_distance`: mean |gap|. `_floor`: how far one run of the
    oracle's twins is from it; `_floor_of_mean`: by 1/√n less, as a mean of n signed gaps varies. `_verdict`: farther
    from or closer to the oracle than its own second run, see `_excess`; else not shown. A metric that already compares
    with an oracle has no gap; its distance is from what the oracle has with itself, its floor the twins' value.
    unchanged: seeds on which the method returned the model. `note` says why a field is empty, and what must be known
    of the values.
    """
    columns = [*GROUP, "role", "metric", "mean", "ci_low", "ci_high", "n"]
    columns += [f"gap_{oracle}{end}" for oracle in contest.oracles for end in _GAP] + ["unchanged", "note"]
    private = [f"gap_{oracle}{end}" for oracle in contest.oracles for end in ("_tested", "_spread", "_excess")]
    seeds = sorted(contest.cells["seed"].unique())
    floors = {
        (oracle, *key): contest.floor(oracle, rows)
        for oracle in contest.oracles
        for key, rows in contest.cells[contest.cells["unlearner"] == oracle].groupby([*PLACE, "metric"], sort=False)
    }
    doubts = doubts_of(contest)
    table = []
    for key, group in contest.cells.groupby([*GROUP, "metric"], sort=False):
        row: dict[str, Any] = dict(zip([*GROUP, "metric"], key, strict=True))
        row |= dict(zip(("mean", "ci_low", "ci_high"), t_interval(group["value"].to_numpy()), strict=True))
        row |= {"n": len(group), "role": contest.role(row["unlearner"]), "unchanged": int(group["unchanged"].sum())}
        notes = []
        if len(group) < len(seeds):
            notes.append(f"no value for seed {', '.join(str(s) for s in seeds if s not in set(group['seed']))}")
        if len(group) < MIN_SEEDS:
            notes.append(f"{len(group)} seed{'s' if len(group) > 1 else ''}: no interval, no test, no verdict")
        if row["role"] != "method":
            notes.append(f"{'an oracle' if row['role'] == 'oracle' else 'a twin'}: no test, no verdict")
        against = contest.compares_with(row["metric"])
        if against:
            notes.append(f"compares with {against}: no gap")
        for oracle in [against] if against else contest.oracles:
            floor = floors.get((oracle, *(row[c] for c in (*PLACE, "metric"))), math.nan)
            filled, said = _beside(contest, group, row, oracle, floor)
            row |= {f"gap_{oracle}{end}": value for end, value in filled.items()}
            notes += said
        notes += _known(group) + doubts.get(tuple(row[c] for c in (*PLACE, "metric")), [])
        row["note"] = "; ".join(notes) or None
        table.append(row)
    summary = pd.DataFrame(table, columns=[*columns, *private])
    for oracle in contest.oracles:
        of = f"gap_{oracle}"
        families = summary.groupby([*PLACE, "metric"], sort=False)
        summary[f"{of}_p"] = families[f"{of}_p_unadjusted"].transform(lambda p: holm(p.to_numpy(float)))
        summary[f"{of}_excess_p"] = families[f"{of}_excess_p"].transform(lambda p: holm(p.to_numpy(float)))
        tests = families[f"{of}_p_unadjusted"].transform("count")
        summary[f"{of}_least_sd"] = [*map(least_effect, summary[f"{of}_tested"], tests)]
        summary[f"{of}_least"] = summary[f"{of}_least_sd"] * summary[f"{of}_spread"]
        summary[f"{of}_verdict"] = [
            _verdict(*of_row) for of_row in summary[[f"{of}_excess", f"{of}_excess_p"]].to_numpy(float)
        ]
    return summary[columns]


def _known(rows: pd.DataFrame) -> list[str]:
    """What must be known of some seeds of a method's rows."""
    unchanged = int(rows["unchanged"].sum())
    notes = [f"returned the model unchanged on {unchanged} of {len(rows)} seeds"] if unchanged else []
    by_note: dict[str, list[Any]] = {}
    for seed, note in zip(rows["seed"], rows["note"], strict=True):
        if isinstance(note, str):
            by_note.setdefault(note, []).append(seed)
    return notes + [f"seed {_listed(seeds)}: {note}" for note, seeds in by_note.items()]


def _excess(contest: Contest, oracle: str, rows: pd.DataFrame, comparison: bool) -> tuple[np.ndarray, float]:
    """How much farther a method is from an oracle than the oracle's twins are, seed by seed, and a p value.

    |value − oracle's| − mean |twin's − oracle's|: 0 on average if the method is one more run of the oracle. p: of its
    paired t test. A gap of one sign is another sign that it is none, and often a stronger one: where the method is
    farther on average, p is twice the smaller of this test's and the gap's (Bonferroni).
    """
    zero = contest.of(oracle, rows)
    gaps = rows["value"].to_numpy() - zero
    twins = [np.abs(contest.of(twin, rows) - zero) for twin, of in contest.twins.items() if of == oracle]
    twin = np.array([_mean(seed) for seed in zip(*twins, strict=True)] if twins else [math.nan] * len(rows))
    there = np.isfinite(gaps + twin)
    excess, gaps = (np.abs(gaps) - twin)[there], gaps[there]
    if len(excess) < MIN_SEEDS:
        return excess, math.nan
    found = paired_p(excess)
    if comparison:
        return excess, found
    signed = paired_p(gaps) if excess.mean() > 0 else math.nan
    known = [p for p in (found, signed) if not math.isnan(p)]
    return excess, min(1.0, 2 * min(known)) if known else math.nan


def _verdict(excess: float, p: float) -> str | None:
    """closer, farther or not shown of a mean excess and its adjusted p value; None without a test."""
    if math.isnan(p):
        return None
    return _NOT_SHOWN if p >= LEVEL else "closer" if excess < 0 else "farther"


def _beside(
    contest: Contest, group: pd.DataFrame, row: Mapping[str, Any], oracle: str, floor: float
) -> tuple[dict[str, Any], list[str]]:
    """The columns of one row that stand under one oracle, and what is to be said of those that stay empty.

    Not yet adjusted over the methods; with `_tested`, the number of gaps, `_spread`, their deviation, and `_excess`.
    """
    reference, comparison = contest.of(oracle, group), contest.compares_with(row["metric"]) == oracle
    differences = group["value"].to_numpy() - reference
    differences = differences[np.isfinite(differences)]
    n = len(differences)
    if not n:
        return {}, [f"no {oracle} beside it: no gap, no floor, no verdict"]
    filled: dict[str, Any] = {"_distance": float(np.abs(differences).mean())}
    said = []
    if not comparison:
        filled |= dict(zip(("", "_low", "_high"), t_interval(differences), strict=True))
    if row["role"] == "method":
        if not comparison:
            filled["_p_unadjusted"] = paired_p(differences)
        if n < MIN_SEEDS <= len(group):
            said.append(f"{oracle} on fewer than {MIN_SEEDS} of the seeds: no interval of the gap, no test, no verdict")
        elif not comparison and n >= MIN_SEEDS:
            if math.isnan(filled["_p_unadjusted"]):
                said.append(f"every seed has the same gap to {oracle}: no test")
            else:
                filled |= {"_tested": n, "_spread": float(differences.std(ddof=1))}
    if row["unlearner"] == oracle:
        return filled, [*said, f"{oracle} itself: no floor"]
    if contest.twins.get(row["unlearner"]) == oracle:
        return filled, [*said, f"it is the floor of {oracle}"]
    if math.isnan(floor):
        return filled, [*said, f"no second {oracle}: no floor, no verdict"]
    filled["_floor"] = floor
    if not comparison:
        filled["_floor_of_mean"] = floor / math.sqrt(n)
    if row["role"] == "method" and n >= MIN_SEEDS:
        excess, p = _excess(contest, oracle, group, comparison)
        if math.isnan(p):
            few = f"a second {oracle} on fewer than {MIN_SEEDS} of the seeds"
            said.append(f"{few if len(excess) < MIN_SEEDS else 'every seed has the same distance'}: no verdict")
        else:
            filled |= {"_excess_p": p, "_excess": float(excess.mean())}
    return filled, said


def doubts_of(contest: Contest) -> dict[tuple[str, ...], list[str]]:
    """Where a scenario cannot tell methods apart: what is to be said, by place and metric.

    UA: the original model is wrong about D_f as often as an oracle (nine tenths of it or more), so there was nothing to
    forget. MIA: 0 for every model of the place, or 100 for every one.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    told = contest.cells[contest.cells["metric"].isin(["UA", "MIA"])]
    for key, rows in told.groupby([*PLACE, "metric"], sort=False):
        means = rows.groupby("unlearner", sort=False)["value"].mean()
        said = []
        if key[-1] == "MIA" and len(means) > 1 and (rows["value"].eq(0).all() or rows["value"].eq(100).all()):
            said.append(f"MIA is {rows['value'].iloc[0]:.0f} for every model here: it tells no method from another")
        for oracle in contest.oracles if key[-1] == "UA" and contest.original in means else ():
            own, theirs = means[contest.original], means.get(oracle, math.nan)
            if own >= _NOTHING_TO_FORGET * theirs:
                pair = f"{contest.original} has UA {own:.1f} and {oracle} {theirs:.1f}"
                said.append(f"{pair}: there was next to nothing to forget")
        if said:
            found[tuple(map(str, key))] = said
    return found


def still(contest: Contest) -> list[str]:
    """A sentence for each method and place where it returned the original model bit for bit, on some seeds or all."""
    runs = contest.cells.drop_duplicates([*GROUP, "seed"]).groupby(list(GROUP), sort=False)["unchanged"]
    counts = runs.agg(["sum", "size"])
    return [
        f"{'/'.join(map(str, key))}: returned the model unchanged on {unchanged} of {n} seeds"
        for key, unchanged, n in counts[counts["sum"] > 0].itertuples(name=None)
    ]


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


def recipes_table(contest: Contest) -> pd.DataFrame:
    """The methods' ranks by average gap under each two recipes, 1 the best, and Kendall's τ between the two orders.

    Ranked are the mean gaps over the seeds, for each place but the recipe and each oracle; a method without a gap under
    both recipes is left out. tau_across and tau_within: the mean τ of two single seeds, one of either recipe or two of
    one: if they are alike, the recipes differ no more than seeds do.
    """
    place = [c for c in PLACE if c != "recipe"]
    columns = [*place, "oracle", "recipe_a", "recipe_b", "unlearner", "rank_a", "rank_b"]
    columns += ["tau", "tau_across", "tau_within", "methods", "seeds", "note"]
    scores = contest.scores({_RANKED_BY: "lower"})
    table = []
    for (*key, oracle), rows in scores.groupby([*place, "oracle"], sort=False):
        by_recipe = {
            recipe: own.pivot(index="seed", columns="unlearner", values="score")
            for recipe, own in rows.groupby("recipe", sort=False)
        }
        for (a, of_a), (b, of_b) in itertools.combinations(by_recipe.items(), 2):
            both = [unlearner for unlearner in rows["unlearner"].unique() if unlearner in of_a and unlearner in of_b]
            means = [of[both].mean().to_numpy() for of in (of_a, of_b)]
            single = [[(seed, own.to_numpy()) for seed, own in of[both].dropna().iterrows()] for of in (of_a, of_b)]
            within = [kendall_tau(x, y) for of in single for (_, x), (_, y) in itertools.combinations(of, 2)]
            across = [kendall_tau(x, y) for (i, x), (j, y) in itertools.product(*single) if i != j]
            tau = kendall_tau(*means)
            found = dict(zip(place, key, strict=True)) | {"oracle": oracle, "recipe_a": a, "recipe_b": b}
            found |= {"tau": tau, "tau_across": _mean(across), "tau_within": _mean(within), "methods": len(both)}
            found["seeds"] = min(map(len, single))
            found["note"] = f"{len(both)} methods: no order to compare" if math.isnan(tau) else None
            for unlearner, *ranked in zip(both, *map(ranks, means), strict=True):
                table.append(found | {"unlearner": unlearner, "rank_a": ranked[0], "rank_b": ranked[1]})
    return pd.DataFrame(table, columns=columns)


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
    told = ["dense", "sparse", "change", "change_low", "change_high", "p_unadjusted", "p", "least_sd", "least"]
    told += ["floor_dense", "floor_sparse", "floor_of_mean", "excess_p", "verdict"]
    names = [*GROUP, "metric", "oracle"]
    far = _distances(contest, better)
    at = [c for c in names if c not in ("pruner", "sparsity")]
    kept = ["distance", "floor", "unchanged"]
    dense = {
        key: rows.set_index("seed")[kept].add_suffix("_dense")
        for key, rows in far[far["pruner"] == _DENSE].groupby(at, sort=False)
    }
    table = []
    for key, rows in far[far["pruner"] != _DENSE].groupby(names, sort=False):
        row: dict[str, Any] = dict(zip(names, key, strict=True))
        beside = dense.get(tuple(row[c] for c in at))
        if beside is None:
            continue
        pairs = rows.set_index("seed")[kept].join(beside, how="inner")
        if pairs.empty:
            continue
        n = len(pairs)
        changes = (pairs["distance"] - pairs["distance_dense"]).to_numpy()
        of_twins = (pairs["floor"] - pairs["floor_dense"]).to_numpy()
        row |= {"dense": pairs["distance_dense"].mean(), "sparse": pairs["distance"].mean(), "n": n}
        row |= dict(zip(("change", "change_low", "change_high"), t_interval(changes), strict=True))
        row |= {"floor_dense": _mean(pairs["floor_dense"]), "floor_sparse": _mean(pairs["floor"])}
        row |= {"p_unadjusted": paired_p(changes), "floor_of_mean": _mean(np.abs(of_twins)) / math.sqrt(n)}
        excess = (changes - of_twins)[np.isfinite(of_twins)]
        row |= {"excess_p": paired_p(excess), "excess": excess.mean() if len(excess) else math.nan}
        row["spread"] = float(changes.std(ddof=1)) if n >= MIN_SEEDS else math.nan
        row["unchanged"] = int(pairs["unchanged"].sum())
        notes = []
        if n < MIN_SEEDS:
            some = f"{n} seed{'s' if n > 1 else ''}"
            notes.append(f"{some} with both: no interval, no test, no verdict")
        elif math.isnan(row["p_unadjusted"]):
            notes.append("every seed has the same change: no test, no verdict")
        if math.isnan(row["floor_of_mean"]):
            notes.append(f"no second {row['oracle']}: no floor, no verdict")
        elif n >= MIN_SEEDS and math.isnan(row["excess_p"]) and not math.isnan(row["p_unadjusted"]):
            few = f"a second {row['oracle']} on fewer than {MIN_SEEDS} of the seeds"
            same = "every seed has the twin's change and as much more"
            notes.append(f"{few if len(excess) < MIN_SEEDS else same}: no verdict")
        for state, end in (("sparse", ""), ("dense", "_dense")):
            if pairs[f"unchanged{end}"].sum():
                notes.append(f"returned the {state} model unchanged on {pairs[f'unchanged{end}'].sum()} of {n} seeds")
        table.append(row | {"note": "; ".join(notes) or None})
    extra = ["excess", "spread"]
    found = pd.DataFrame(table, columns=[*names, *told, "n", "unchanged", "note", *extra])
    families = found.groupby([*PLACE, "metric", "oracle"], sort=False)
    tests = families["p_unadjusted"].transform("count")
    found["p"] = families["p_unadjusted"].transform(lambda p: holm(p.to_numpy(float)))
    found["excess_p"] = families["excess_p"].transform(lambda p: holm(p.to_numpy(float)))
    known = found["p_unadjusted"].notna()
    found["least_sd"] = [*map(least_effect, found["n"].where(known, 0), tests)]
    found["least"] = found["least_sd"] * found["spread"]
    found["verdict"] = [
        _verdict(change, math.nan if math.isnan(p + excess_p) else max(p, excess_p) if change * excess > 0 else 1.0)
        for change, p, excess, excess_p in found[["change", "p", "excess", "excess_p"]].to_numpy(float)
    ]
    return found.drop(columns=extra)


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
            floor = [_mean(seed) for seed in zip(*twins, strict=True)] if twins else math.nan
            parts.append(rows.assign(oracle=oracle, distance=np.abs(rows["value"] - zero), floor=floor))
    return pd.concat(parts).dropna(subset="distance").sort_index(kind="stable")


def _mean(values: Iterable[float]) -> float:
    """The mean of what is a number; NaN of nothing."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def missing_table(cells: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each cell that is not there: its place in the grid, and why.

    cells: wildcard values, and `steps`: the files that the cell's metrics are made of, each with its log, in the order
    of their making. The reason is the first of them that does not exist, and how its log ends.
    """
    columns = ["dataset", "model", "recipe", "seed", "scenario", "state", "unlearner", "reason"]
    return pd.DataFrame([{**cell, "reason": _reason(cell["steps"])} for cell in cells], columns=columns)


def _reason(steps: Iterable[tuple[str, str]]) -> str:
    for file, log in steps:
        if not Path(file).exists():
            last = last_line(log)
            return f"{file} is not there; " + (f"its log ends: {last}" if last else "it was not tried")
    return "it was made after the tables were planned"


def with_config(table: pd.DataFrame, grid: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A table of cells, or of cells over seeds, with `config_hash` behind the coordinates.

    grid: see `lacuna.artifacts.provenance.config_hash`.
    """
    names = list(table[list(GROUP)].itertuples(index=False, name=None))
    hashes = {name: config_hash(grid, dict(zip(GROUP, name, strict=True))) for name in dict.fromkeys(names)}
    table = table.copy()
    table.insert(list(table).index("unlearner") + 1, "config_hash", [hashes[name] for name in names])
    return table


def provenance_table(results: Iterable[Mapping[str, Any]], grid: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each result of `evaluate`: the cell, its configuration, the job that made its model, and its file."""
    rows = [
        (*(r["cell"][c] for c in COORDINATES), *(r["origin"][f] for f in FACTS), r["evaluated_at_commit"], r["job"])
        for r in results
    ]
    return with_config(pd.DataFrame(rows, columns=[*COORDINATES, *FACTS, "evaluated_at_commit", "job"]), grid)


def mixtures(provenance: pd.DataFrame) -> list[str]:
    """A sentence for each fact that should be one wherever cells are compared or averaged, and is not."""
    said = []
    for fact in ("commit", "device", "torch"):
        counts = provenance.groupby(list(PLACE), sort=False)[fact].nunique()
        mixed = counts[counts > 1]
        if len(mixed):
            where = "/".join(mixed.index[0])
            said.append(f"{fact} differs within {len(mixed)} of {len(counts)} places (provenance.csv); one is {where}")
    return said


def roc_table(
    results: Iterable[Mapping[str, Any]], oracles: Sequence[str], twins: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Long form of the curves of population.json: the coordinates of the cell, role, attack, fpr, tpr; in given order.

    role: oracle, twin (another run of an oracle: twins maps its label to that oracle) or method.
    """
    roles = dict.fromkeys(oracles, "oracle") | dict.fromkeys(twins or (), "twin")
    rows = [
        (*(result["cell"][c] for c in COORDINATES), roles.get(result["cell"]["unlearner"], "method"), attack, fpr, tpr)
        for result in results
        for attack, told in result["attacks"].items()
        for fpr, tpr in zip(told["fpr"], told["tpr"], strict=True)
    ]
    return pd.DataFrame(rows, columns=[*COORDINATES, "role", "attack", "fpr", "tpr"])


def backdoor_table(contest: Contest, original: str | None, metrics: Sequence[str] = ("SA", "ASR")) -> pd.DataFrame:
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
        notes = [] if known.all() else [f"no {original or 'original'} beside seed {_listed(group['seed'][~known])}"]
        if not known.any():
            told = {"after": after}
        for what, values in told.items():
            row |= dict(zip((what, f"{what}_low", f"{what}_high"), t_interval(values), strict=True))
        row |= {"n": len(told["after"]), "role": contest.role(row["unlearner"])}
        if row["n"] < MIN_SEEDS:
            notes.append(f"{row['n']} seed{'s' if row['n'] > 1 else ''}: no interval")
        table.append(row | {"note": "; ".join(notes) or None})
    return pd.DataFrame(table, columns=[*GROUP, "role", "metric", *spans, "n", "note"])


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
