"""What the pages of a study show of its tables, as Markdown between two comments that name study and part.

`<!-- by_place: memorising/answer -->` … `<!-- end of by_place: memorising/answer -->`: any page of docs/results may
show any part of any study, so that a page on a question has the tables of the study that answers it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from bench.study.places import Values
from bench.study.seeds import UNIT, units_of
from bench.study.tables import shown_of
from lacuna.artifacts.coordinates import State
from lacuna.commands.findings import splice
from lacuna.experiment.overlay import SUFFIX
from lacuna.reporting.columns import PLACE

# of the further metrics, those that have a table of their own
FURTHER = ("mask_iou/retrain_exact", "MIA_ratio_0.95", "MIA_ratio_1.00", "MIA_ratio_1.05", "MIA_sensitivity")
MARK = re.compile(r"<!-- by_place: (\w+)/(\w+) -->")


class Study(NamedTuple):
    """What a page is told of a study. needed: seeds that a verdict asks for; expected: see `seeds_told`.

    searches: values.json of a study that has its own.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    needed: int
    expected: Mapping[tuple[str, str], int]
    searches: Values = MappingProxyType({})


def filled(pages: Path, study: Study, figures: Mapping[str, str]) -> dict[Path, str]:
    """The text of each page with a part of this study, its parts written anew.

    figures: by name, the Markdown of a picture; nothing where it is not drawn, and its place stays empty. Ends the
    process with one sentence where a part is not known, or where the study's own page has no place for its tables.
    """
    texts = {}
    for file in sorted(pages.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        parts = [part for name, part in MARK.findall(text) if name == study.name]
        for part in parts:
            if part not in (*PARTS, *figures):
                known = ", ".join((*PARTS, *figures))
                sys.exit(f"by_place.py: {file}: part '{part}' of {study.name} is not known; allowed: {known}")
            lines = PARTS[part](study) if part in PARTS else [figures[part]]
            lines = ["", *lines, ""] if lines and lines[-1] else ["", *lines]
            text = splice(text, f"by_place: {study.name}/{part}", lines if any(lines) else [])
        if parts:
            texts[file] = text
        elif file.stem == study.name:
            place = f"<!-- by_place: {study.name}/tables -->"
            sys.exit(f"by_place.py: {file}: no part of {study.name} has a place there; allowed: one after {place}")
    return texts


# ---- what is finished, and what it answers --------------------------------------------------------------------------


def state(study: Study) -> list[str]:
    """Which seeds are finished, whether a verdict may be read, and what it took."""
    cells, cost = study.tables["cells"], study.tables["cost"]
    made = seeds_made(cells, study.tables["missing"], study.expected)
    whole = set.intersection(*made.values())
    known = [
        f"{scenario} at {sparsity}"
        for (scenario, sparsity), seeds in made.items()
        # a change is one from the dense network, where the study has it
        if sparsity != State().sparsity and len(seeds & made.get((scenario, State().sparsity), seeds)) >= study.needed
    ]
    rest = f"; {', '.join(known)} have {study.needed}, so there are verdicts there alone" if known else ""
    rest = "" if len(whole) >= study.needed else rest or ", so nothing is concluded yet"
    verb = "is" if len(whole) == 1 else "are"
    first = f"**{len(whole)} of {study.needed} seeds of {study.name} {verb} finished{rest}.**"
    told = seeds_told(cells, study.tables["missing"], study.expected)
    return [f"{first} {told} {hours(cost)}".rstrip()]


def hours(cost: pd.DataFrame) -> str:
    """The CPU hours of a study in a sentence; nothing where none was measured."""
    measured, jobs = cost["measured"].sum(), cost["jobs"].sum()
    some = f" of {measured} of {jobs} jobs" if measured < jobs else ""
    total = cost["cpu_hours"].sum()
    return f"CPU time{some}: {total:.1f} hours for networks, oracles and methods, without metrics." if measured else ""


def values(study: Study) -> list[str]:
    """How many values were tried, and how long it took."""
    every = [trial for of in study.searches.values() for search in of.values() for trial in search["trials"]]
    if not every:
        return []
    spent = sum(trial["seconds"] for trial in every) / 3600
    return [f"{len(every)} values were tried at {len(study.searches)} places, in {spent:.1f} hours by the clock."]


def seeds_made(
    cells: pd.DataFrame, missing: pd.DataFrame, expected: Mapping[tuple[str, str], int]
) -> dict[tuple[str, str], set[int]]:
    """By scenario and sparsity, the seeds that have every cell there.

    One that has no value because its method diverged is a finding, and counts.
    """
    failed = missing[missing["reason"].str.contains(": diverged ", regex=False)]
    made = Counter(
        (unit[PLACE.index("scenario")], unit[PLACE.index("sparsity")], int(unit[-1]))
        for rows in (cells.drop_duplicates([*UNIT, "unlearner"]), failed)
        for unit in units_of(rows)
    )
    return {
        place: {seed for *where, seed in made if tuple(where) == place and made[*where, seed] >= number}
        for place, number in expected.items()
    }


def seeds_told(cells: pd.DataFrame, missing: pd.DataFrame, expected: Mapping[tuple[str, str], int]) -> str:
    """Which seeds are finished, in one paragraph. expected: the cells of a seed at each scenario and sparsity."""
    failed = missing[missing["reason"].str.contains(": diverged ", regex=False)]
    there = cells.drop_duplicates([*UNIT, "unlearner"]).groupby("seed").size()
    whole, done = sum(expected.values()), sorted(set.intersection(*seeds_made(cells, missing, expected).values()))
    told = [f"Seeds: {', '.join(map(str, done)) or 'none'} ({whole} cells each)."]
    told += [
        f"Seed {seed} is **unfinished**: {there[seed]} of {whole} cells, which count in the means that they belong to."
        for seed in there.index
        if seed not in done
    ]
    told += [f"{len(failed)} cells have no value because the method diverged (missing.csv)."] if len(failed) else []
    return " ".join(told)


def answer(study: Study) -> list[str]:
    """At each place the methods that sparsity brings closer to an oracle, farther from it, or not shown to do either.

    `original`, which forgets nothing, has a column of its own: what it does, sparsity does to the two networks alone.
    """
    changes = study.tables["sparsity"]
    changes = changes[changes["metric"].str.startswith("avg_gap/")]
    if (few := int(changes["n"].max() if len(changes) else 0)) < study.needed:
        return [f"No verdict: {few} of {study.needed} seeds."]
    rows = []
    for (oracle, recipe, scenario, sparsity), of in changes.groupby(
        ["oracle", "recipe", "scenario", "sparsity"], sort=False
    ):
        known = of[of["n"] >= study.needed]
        by_verdict = {verdict: known[known["verdict"] == verdict] for verdict in ("closer", "farther", "not shown")}
        fields = [
            ", ".join(
                f"`{name_of(row.unlearner)}`" + (f" {signed(row.change)}" if verdict != "not shown" else "")
                for row in those.sort_values("change").itertuples()
                if row.unlearner != "original"
            )
            for verdict, those in by_verdict.items()
        ]
        rest = of[(of["n"] < study.needed) | of["verdict"].isna()]
        fields.append(", ".join(f"`{name_of(row.unlearner)}` ({row.n} seeds)" for row in rest.itertuples()))
        itself = known.loc[known["unlearner"] == "original", ["verdict", "change"]].itertuples(index=False)
        where = scenario if changes["recipe"].nunique() == 1 else f"{scenario}, {recipe}"
        fields.append("".join(f"{verdict} {signed(change)}" for verdict, change in itself))
        rows.append([f"{where}, {sparsity}, `{oracle}`", *fields])
    heads = ["forgotten, sparsity, oracle", "closer", "farther", "not shown", "no verdict", "`original`"]
    return markdown(heads, rows)


def claims(study: Study) -> list[str]:
    """Each published change next to ours."""
    heads = ["method, forgotten", "published: dense → sparse", "published change"]
    heads += ["our change", "95 % interval", "floor", "verdict", "answer"]
    rows = []
    for row in study.tables["claims"].itertuples():
        word, _, rest = row.word.partition(" (")
        rows.append(
            [
                f"`{name_of(row.unlearner)}`, {row.scenario}, {row.sparsity}",
                f"{row.published_dense:.2f} → {row.published_sparse:.2f}",
                signed(row.published_change, 2),
                signed(row.change),
                interval(row.change_low, row.change_high),
                _floor(row.floor_of_mean),
                _verdict(row.n, row.verdict, study.needed) if row.n >= study.needed else "",
                f"**{word}**" + (f" ({rest}" if rest else ""),
            ]
        )
    return markdown(heads, rows) if rows else []


def moves(study: Study) -> list[str]:
    """How far each oracle itself moves from dense to each sparsity."""
    table = study.tables["moves"]
    table = table[table["unlearner"] == "original"]
    if table.empty:
        return []
    metrics, rows = shown_of(study.tables["cells"]), []
    for (scenario, sparsity, oracle), of in table.groupby(["scenario", "sparsity", "oracle"], sort=False):
        by_metric = of.set_index("metric")
        fields = []
        for metric in metrics:
            mean, low, high = by_metric.loc[metric, ["of_oracle", "of_oracle_low", "of_oracle_high"]]
            fields.append(f"{signed(mean)} {interval(low, high)}".rstrip())
        rows.append([f"`{oracle}`, {scenario}, {sparsity}", *fields])
    return markdown(["", *metrics], rows)


def leak(study: Study) -> list[str]:
    """The first oracle measured against the last: gap, floor and verdict, and the differences of UA and MIA."""
    table = study.tables["leak"]
    if table.empty:
        return []
    gap = next(c for c in table if c.endswith("_verdict")).removesuffix("_verdict")
    rows = []
    for (scenario, sparsity), of in table.groupby(["scenario", "sparsity"], sort=False):
        by_metric = of.set_index("metric")
        mean = by_metric.loc[f"avg_gap/{gap.removeprefix('gap_')}"]
        verdict = _verdict(mean["n"], mean[f"{gap}_verdict"], study.needed)
        fields = [with_half(mean), _floor(mean[f"{gap}_floor"]), verdict]
        for metric in ("UA", "MIA"):
            change, low, high = by_metric.loc[metric, [gap, f"{gap}_low", f"{gap}_high"]]
            fields.append(f"{signed(change)} {interval(low, high)}".rstrip())
        rows.append([f"{scenario}, {'dense' if sparsity == '0.00' else sparsity}", *fields])
    return markdown(["", "average gap", "of the second run", "verdict", "UA", "MIA"], rows)


def overlap(study: Study) -> list[str]:
    """The overlap of each un-pruned mask with that of exact retraining, next to the fixed one."""
    rows = [
        [
            f"`{name_of(row.unlearner)}`, {row.scenario}",
            f"{row.overlap:.3f}",
            f"{row.of_base:.3f}",
            f"{signed(row.change, 3)} {interval(row.change_low, row.change_high, 3)}".rstrip(),
            _floor(row.twin, 3),
            _verdict(row.n, row.verdict, study.needed),
        ]
        for row in study.tables["overlap"].itertuples()
    ]
    heads = ["", "un-pruned", "fixed mask", "difference", "second exact retraining", "verdict"]
    return markdown(heads, rows) if rows else []


def further(study: Study) -> list[str]:
    """Means of the metrics of `FURTHER` that a study has."""
    summary, texts = study.tables["summary"], []
    metrics = [metric for metric in FURTHER if metric in set(summary["metric"])]
    for scenario, of in summary.groupby("scenario", sort=False) if metrics else ():
        means = of.set_index(["unlearner", "sparsity", "metric"])
        rows = [
            [
                f"`{name_of(label)}`, {'dense' if sparsity == '0.00' else sparsity}",
                *(mean_of(means, (label, sparsity, metric), 3 if "iou" in metric else 1) for metric in metrics),
            ]
            for label, sparsity in dict.fromkeys(zip(of["unlearner"], of["sparsity"], strict=True))
        ]
        texts += [f"### {scenario}: further metrics", "", *markdown(["", *metrics], rows)]
    return texts


def _verdict(n: int, verdict: Any, needed: int) -> str:
    """The verdict of a table where there are the seeds for it, else why it has none."""
    if n < needed:
        return f"no verdict: {n} of {needed} seeds"
    return verdict if isinstance(verdict, str) else "no verdict"


def _floor(value: float, decimals: int = 1) -> str:
    """Two digits where it is small, so that none reads 0."""
    return "" if pd.isna(value) else f"{value:.{decimals if value >= 1 else max(decimals, 2)}f}"


# ---- tables of every cell -------------------------------------------------------------------------------------------


def tables(study: Study) -> list[str]:
    return page_tables(study.tables["summary"], study.tables["sparsity"], study.needed).rstrip("\n").split("\n")


def page_tables(summary: pd.DataFrame, sparsity: pd.DataFrame, needed: int) -> str:
    """Markdown: of each scenario the accuracies, the average gap to each oracle, and what sparsity changes of it.

    Of several recipes one after the other. needed: seeds from which on a change has its verdict.
    """
    oracles = [column.removesuffix("_floor").removeprefix("gap_") for column in summary if column.endswith("_floor")]
    metrics, texts = shown_of(summary), []
    for (scenario, recipe), rows in summary.groupby(["scenario", "recipe"], sort=False):
        states = list(dict.fromkeys(rows["sparsity"]))
        values = rows.set_index(["unlearner", "sparsity", "metric"])
        heads = ["dense" if state == "0.00" else state for state in states]
        labels = list(dict.fromkeys(rows["unlearner"]))
        where = scenario if summary["recipe"].nunique() == 1 else f"{scenario}, {recipe}"
        texts += [f"### {where}: {' / '.join(metrics)}", ""]
        texts += markdown(
            ["", *heads],
            [[f"`{name_of(label)}`", *(_means(values, label, state, metrics) for state in states)] for label in labels],
        )
        for oracle in oracles:
            metric = f"avg_gap/{oracle}"
            of = (sparsity["scenario"] == scenario) & (sparsity["recipe"] == recipe) & (sparsity["metric"] == metric)
            changes = sparsity[of].set_index(["unlearner", "sparsity"])
            there = [label for label in labels if label != oracle and (label, states[0], metric) in values.index]
            if not there:
                continue
            texts += [f"### {where}: average gap to `{oracle}`", ""]
            texts += markdown(
                ["", *heads, *(f"{head} − dense" for head in heads[1:])],
                [
                    [
                        f"`{name_of(label)}`",
                        *(mean_of(values, (label, state, metric)) for state in states),
                        *(_change(changes, (label, state), needed) for state in states[1:]),
                    ]
                    for label in there
                ],
            )
    return "\n".join(texts)


def name_of(label: str) -> str:
    """The label that the method was searched under; that of an un-pruning without the fine-tuning that all share."""
    short = re.sub(r"\.finetune_[a-z_]+_\d+(?:\.\d+)?(?=\.|$)", "", label)
    return ".".join(part.removesuffix(SUFFIX) for part in short.split("."))


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _means(values: pd.DataFrame, label: str, state: str, metrics: Sequence[str]) -> str:
    keys = [(label, state, metric) for metric in metrics]
    return " / ".join(f"{values.loc[key, 'mean']:.1f}" if key in values.index else "" for key in keys).strip(" /")


def mean_of(values: pd.DataFrame, key: tuple[str, str, str], decimals: int = 1) -> str:
    """Mean ± half of the interval, if the seeds give one."""
    if key not in values.index:
        return ""
    return with_half(values.loc[key], decimals)


def _change(changes: pd.DataFrame, key: tuple[str, str], needed: int) -> str:
    if key not in changes.index:
        return ""
    row = changes.loc[key]
    verdict = row["verdict"] if row["verdict"] in ("closer", "farther") and row["n"] >= needed else ""
    span = interval(row["change_low"], row["change_high"])
    return " ".join(filter(None, (signed(row["change"]), span, verdict)))


def with_half(row: pd.Series, decimals: int = 1) -> str:
    half = "" if pd.isna(row["ci_high"]) else f" ± {row['ci_high'] - row['mean']:.{decimals}f}"
    return f"{row['mean']:.{decimals}f}{half}"


def signed(value: float, decimals: int = 1) -> str:
    # no sign of what is 0 as far as it is shown
    value = round(value, decimals)
    return f"{value:+.{decimals}f}".replace("-", "−") if value else f"{0:.{decimals}f}"


def interval(low: float, high: float, decimals: int = 1) -> str:
    """Nothing where there is none."""
    return "" if pd.isna(low) else f"[{signed(low, decimals)}, {signed(high, decimals)}]"


PARTS: dict[str, Callable[[Study], list[str]]] = {
    each.__name__: each for each in (state, values, answer, claims, moves, leak, overlap, further, tables)
}
# tables of questions that not every study asks
ASKED = ("leak", "claims", "overlap")
