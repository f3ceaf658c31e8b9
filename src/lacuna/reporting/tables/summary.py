"""summary.csv: one row per method and metric, over the seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import MIN_SEEDS, holm, least_effect, paired_p, t_interval
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.tables.contest import Contest, listed, mean_of
from lacuna.reporting.tables.verdicts import doubts_of, verdict_of

# what stands after gap_<oracle>
_GAP = (
    *("", "_low", "_high", "_p_unadjusted", "_p", "_least_sd", "_least"),
    *("_distance", "_floor", "_floor_of_mean", "_excess_p", "_verdict"),
)


def summary_table(contest: Contest) -> pd.DataFrame:
    """Mean and interval over seeds, and for each oracle the gap to it, its interval, test and noise floor, a verdict.

    gap: value − oracle's, paired by seed. `_p_unadjusted`: of the paired t test that it is 0; `_p`: adjusted by Holm
    over the methods of the place. `_least`: the smallest gap that this test shows with 80 % power at Holm's first step,
    `_least_sd` in standard deviations over the seeds. `_distance`: mean |gap|. `_floor`: how far one run of the
    oracle's twins is from it; `_floor_of_mean`: by 1/√n less, as a mean of n signed gaps varies. `verdict_of`: farther
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
            verdict_of(*of_row) for of_row in summary[[f"{of}_excess", f"{of}_excess_p"]].to_numpy(float)
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
    return notes + [f"seed {listed(seeds)}: {note}" for note, seeds in by_note.items()]


def _excess(contest: Contest, oracle: str, rows: pd.DataFrame, comparison: bool) -> tuple[np.ndarray, float]:
    """How much farther a method is from an oracle than the oracle's twins are, seed by seed, and a p value.

    |value − oracle's| − mean |twin's − oracle's|: 0 on average if the method is one more run of the oracle. p: of its
    paired t test. A gap of one sign is another sign that it is none, and often a stronger one: where the method is
    farther on average, p is twice the smaller of this test's and the gap's (Bonferroni).
    """
    zero = contest.of(oracle, rows)
    gaps = rows["value"].to_numpy() - zero
    twins = [np.abs(contest.of(twin, rows) - zero) for twin, of in contest.twins.items() if of == oracle]
    twin = np.array([mean_of(seed) for seed in zip(*twins, strict=True)] if twins else [math.nan] * len(rows))
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
