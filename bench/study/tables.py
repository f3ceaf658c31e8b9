"""The tables of a study that follow from its cells: over seeds, and the answers to the questions of its pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.study.places import ROOT
from lacuna.artifacts.coordinates import DENSE, TRAINING, State
from lacuna.evaluation.statistics import holm, paired_p, t_interval
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.published.compare import Published, read_published
from lacuna.reporting.tables.configs import with_config_of
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.record import told_of
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table
from lacuna.reporting.tables.verdicts import verdict_of

# what a page has of a cell, the first that there is
SHOWN = (("SA", "ASR"), ("UA", "RA", "TA", "MIA"))
# the published table that says what sparsity changes
CLAIMS = ROOT / "published/jia2023_table3.csv"


def followed(
    cells: pd.DataFrame, provenance: pd.DataFrame, whole: Mapping[str, Any], needed: int
) -> dict[str, pd.DataFrame]:
    """The tables over seeds, of all cells together. whole: their definition; needed: seeds that a claim asks for."""
    told = told_of(next(iter(whole["places"].values())))
    contest = Contest(cells, told["oracles"], told["twins"], told["original"])
    changes = sparsity_table(contest, told["judged"])
    tables = {
        "summary": with_config_of(summary_table(contest), cells),
        "sparsity": changes,
        "moves": moves_table(cells, told["oracles"]),
        "leak": leak_table(cells, told["oracles"], told["twins"]),
        "claims": claims_table(changes, grid_of(whole), read_published(CLAIMS), needed),
        "overlap": overlap_table(cells, told["oracles"], told["twins"]),
        "cost": cost_table(provenance),
    }
    return {table: shorter(rows.reset_index(drop=True)) for table, rows in tables.items()}


def grid_of(whole: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Scenarios and methods of all places, by label."""
    axes = ("scenarios", "unlearners")
    return {
        axis: {label: entry for place in whole["places"].values() for label, entry in place["grid"][axis].items()}
        for axis in axes
    }


def shown_of(cells: pd.DataFrame) -> tuple[str, ...]:
    """The metrics that a page has of a cell."""
    return next(metrics for metrics in SHOWN if set(metrics) <= set(cells["metric"]))


def shorter(table: pd.DataFrame) -> pd.DataFrame:
    """The table with six digits of every number."""
    numbers = [column for column in table if table[column].dtype.kind == "f"]
    return table.assign(**{c: table[c].map(lambda value: float(f"{value:.6g}")) for c in numbers})


def moves_table(cells: pd.DataFrame, oracles: Sequence[str]) -> pd.DataFrame:
    """What moves from dense to sparse, the method or its oracle: of each accuracy both changes, paired by seed.

    method, of_oracle: mean of sparse − dense over the `n` seeds that have all four, each with its 95 % t interval.
    """
    names = ["dataset", "model", "recipe", "scenario", "pruner", "sparsity", "unlearner", "metric"]
    accuracies = cells[cells["metric"].isin(shown_of(cells))]
    by_seed = accuracies.pivot(index="seed", columns=names, values="value")
    none = pd.Series(np.nan, by_seed.index)
    rows = []
    for *where, pruner, sparsity, label, metric in by_seed:
        for oracle in oracles if pruner != DENSE and label not in oracles else ():
            change = {
                who: by_seed[(*where, pruner, sparsity, who, metric)]
                - by_seed.get((*where, *State(), who, metric), none)
                for who in (label, oracle)
                if (*where, pruner, sparsity, who, metric) in by_seed
            }
            paired = pd.DataFrame(change).dropna()
            if len(change) == 2 and len(paired):
                spans = [number for who in (label, oracle) for number in t_interval(paired[who].to_numpy())]
                rows.append((*where, pruner, sparsity, label, metric, oracle, *spans, len(paired)))
    told = [f"{who}{end}" for who in ("method", "of_oracle") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*names, "oracle", *told, "n"])


def leak_table(cells: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str]) -> pd.DataFrame:
    """How far the first oracle, whose mask saw D_f, is from the last one, which finds its own: as if it were a method.

    The columns of summary.csv for this one row of each place and metric; so `gap_<exact>_verdict` compares the distance
    with that of the exact oracle's own second run. One question asked at each sparse place: `gap_<exact>_excess_p` is
    adjusted by Holm over these, metric by metric, and the verdict with it; a dense network has no mask that could leak.
    Empty without two oracles.
    """
    kept, exact = oracles[0], oracles[-1]
    runs = [label for label, of in twins.items() if of == exact]
    some = cells[cells["unlearner"].isin([kept, exact, *runs])]
    # a distance from the first oracle is its own
    some = some[~some["metric"].str.endswith(f"/{kept}")]
    table = summary_table(Contest(some, [exact], dict.fromkeys(runs, exact)))
    table = table[(table["unlearner"] == kept) & (kept != exact)]
    gap = f"gap_{exact}"
    if f"{gap}_verdict" in table and len(table):
        sparse = table["sparsity"] != State().sparsity
        p = table[f"{gap}_excess_p"]
        p = p.where(~sparse, p[sparse].groupby(table["metric"]).transform(lambda p: holm(p.to_numpy())))
        excess = table[f"{gap}_distance"] - table[f"{gap}_floor"]
        verdicts = [verdict_of(e, each) for e, each in zip(excess, p, strict=True)]
        table = table.assign(**{f"{gap}_excess_p": p, f"{gap}_verdict": verdicts})
    return table


def claims_table(
    changes: pd.DataFrame, grid: Mapping[str, Mapping[str, Any]], published: Sequence[Published], needed: int
) -> pd.DataFrame:
    """Each published change of a gap from dense to sparse next to ours, and a word for it (`word_of`).

    changes: sparsity.csv. grid: scenarios and methods by label, so that rows meet by what they are. floor: how much the
    oracle's second run alone moves a mean over these seeds.
    """
    # gaps alone: of an accuracy we have the change of its distance from an oracle, and they that of the accuracy
    by_place = {
        (p.told["scenario"], p.told["method"], p.metric, f"{float(p.told['sparsity']):.2f}"): p
        for p in published
        if "/" in p.metric
    }
    rows = []
    for row in changes.to_dict("records"):
        for (_, _, metric, sparsity), claim in by_place.items():
            dense = by_place.get((claim.told["scenario"], claim.told["method"], metric, "0.00"))
            ours = [("scenario", grid["scenarios"][row["scenario"]])]
            ours.append(("method", grid["unlearners"].get(row["unlearner"], {"method": ""})))
            meets = not any(claim.wanted[axis].unlike("", entry) for axis, entry in ours)
            if dense is None or (metric, sparsity) != (row["metric"], row["sparsity"]) or not meets:
                continue
            change = round(claim.mean - dense.mean, 4)
            word = f"no verdict: {row['n']} of {needed} seeds" if row["n"] < needed else word_of(change, row)
            told = [row[c] for c in ("change", "change_low", "change_high", "floor_of_mean", "p", "verdict", "n")]
            rows.append((*(row[c] for c in GROUP), metric, dense.mean, claim.mean, change, *told, word))
    names = ["published_dense", "published_sparse", "published_change"]
    names += ["change", "change_low", "change_high", "floor_of_mean", "p", "verdict", "n", "word"]
    return pd.DataFrame(rows, columns=[*GROUP, "metric", *names])


def word_of(published: float, ours: Mapping[str, Any]) -> str:
    """confirmed, refuted or open: what our change says of a published one.

    Not open only where the whole 95 % interval lies on one side of 0 and farther from it than the floor of the mean,
    and where the verdict of sparsity.csv, which is adjusted over the methods of the place, is closer or farther too.
    Then confirmed on the side of the published change, refuted on the other.
    """
    near = ours["change_low"] if ours["change"] > 0 else -ours["change_high"]
    # of NaN nothing is greater
    beyond = near > 0 and near > ours["floor_of_mean"]
    word = "confirmed" if ours["change"] * published > 0 else "refuted"
    if not beyond:
        return "open"
    return word if ours["verdict"] in ("closer", "farther") else f"open (by its interval alone {word})"


def cost_table(provenance: pd.DataFrame) -> pd.DataFrame:
    """CPU hours of each seed: of its cells, and once of each network that they begin from.

    jobs: how many these are; measured: of how many the CPU time is known.
    """
    if "cpu_seconds" not in provenance:
        provenance = provenance.assign(cpu_seconds=math.nan, network_cpu_seconds=math.nan)
    original = provenance["unlearner"] == "original"
    networks = provenance[original].drop_duplicates([*TRAINING, "pruner", "sparsity"])
    jobs = [
        provenance[["seed", "cpu_seconds"]],
        networks[["seed", "network_cpu_seconds"]].set_axis(["seed", "cpu_seconds"], axis=1),
    ]
    by_seed = pd.concat(jobs).groupby("seed")["cpu_seconds"]
    made = pd.DataFrame({"jobs": by_seed.size(), "measured": by_seed.count(), "cpu_hours": by_seed.sum() / 3600})
    return made.reset_index()


def overlap_table(cells: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str]) -> pd.DataFrame:
    """Does un-pruning bring a mask nearer to that of exact retraining than the fixed mask is? Overlaps with it (IoU).

    A row for each un-pruning: its overlap, that of the method that it goes around, change = the difference, paired by
    seed, with its 95 % t interval and the p value of its test, adjusted by Holm over the un-prunings of the place.
    twin: the overlap of the exact oracle's own second run. verdict: closer or farther where p < 0.05, else not shown;
    the same mask where no overlap differs, as with nothing grown.
    """
    exact = oracles[-1]
    rows = cells[cells["metric"] == f"mask_iou/{exact}"]
    by_seed = rows.pivot(index="seed", columns=list(GROUP), values="value")
    second = [label for label, of in twins.items() if of == exact]
    made = []
    for *place, label in by_seed:
        base = label.split(".")[1] if label.startswith("unprune.") else ""
        pair = by_seed[[(*place, label), (*place, base)]].dropna() if (*place, base) in by_seed else by_seed[:0]
        if pair.empty:
            continue
        change = (pair[(*place, label)] - pair[(*place, base)]).to_numpy()
        of_twins = [by_seed[(*place, run)].loc[pair.index].mean() for run in second if (*place, run) in by_seed]
        twin = float(np.mean(of_twins)) if of_twins else math.nan
        told = (*t_interval(change), float(paired_p(change)), not change.any(), twin, len(change))
        made.append((*place, label, base, *pair.mean(), *told))
    names = ["base", "overlap", "of_base", "change", "change_low", "change_high", "p_unadjusted", "same", "twin", "n"]
    table = pd.DataFrame(made, columns=[*GROUP, *names])
    table["p"] = table.groupby(list(PLACE))["p_unadjusted"].transform(lambda p: holm(p.to_numpy()))
    # more overlap is closer
    table["verdict"] = [
        "the same mask" if row.same else verdict_of(-row.change, row.p) for row in table.itertuples(index=False)
    ]
    return table.drop(columns="same")
