"""An experiment's main tables, laid out for people: the one of an answer, and those of a paper."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import State
from lacuna.artifacts.files import read_json
from lacuna.errors import LacunaError, unknown
from lacuna.evaluation.statistics import MIN_SEEDS
from lacuna.reporting.answer import Answer
from lacuna.reporting.best import best_methods
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.judged import MEANS, Judged
from lacuna.reporting.published.compare import compare
from lacuna.reporting.sentences import draw_of_members
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.tables.record import told_of
from lacuna.reporting.typeset import Block, Field, Value, decimals_for, markdown, markdown_text
from lacuna.reporting.words import capital, joined, records

# where one table ends and the next begins
SETTING = ("dataset", "model", "recipe", "scenario")
_ARROWS = "↑: farther from that oracle than its second run, ↓: closer (p < 0.05, adjusted by Holm)."


def blocks_of(answer: Answer, wide: bool = False) -> list[Block]:
    """The main table of an answer, one block for each dataset, model, recipe and scenario.

    wide: heads say "gap to retrain", which a terminal has no room for.
    """
    numbers = [name for oracle in answer.oracles for name in (f"gap_{oracle}", f"change_{oracle}")]
    numbers = [name for name in (*numbers, *MEANS) if name in answer.rows and answer.rows[name].notna().any()]
    vary = answer.rows["seeds"].nunique() > 1
    gap = "gap to " if wide else ""
    heads = [re.sub("^gap_", gap, re.sub("^change_", f"Δ {gap}", name)) for name in numbers]
    decimals = {name: _decimals(answer.rows, name) for name in numbers}
    blocks = []
    for key, rows in answer.rows.groupby(list(SETTING), sort=False):
        fields: list[tuple[Field, ...]] = [
            (
                *_names(row),
                *(_field(row, name, decimals[name]) for name in numbers),
                *([str(row["seeds"])] if vary else []),
            )
            for row in records(rows)
        ]
        seeds = "" if vary else f", {_seeds(rows['seeds'])}"
        columns = ("state", "method", *heads, *(["seeds"] if vary else []))
        blocks.append(Block(f"{', '.join(map(str, key))}{seeds}", columns, tuple(fields), 2, _rules(rows)))
    return blocks


def _decimals(rows: pd.DataFrame, name: str) -> int:
    """Decimals of a column; a change is told as finely as the gap that changes."""
    return decimals_for(rows[re.sub("^change_", "gap_", name)])


def reading_of(answer: Answer, wide: bool = False) -> list[str]:
    """What the columns and marks of `blocks_of` mean."""
    values = [field for block in blocks_of(answer) for row in block.rows for field in row if isinstance(field, Value)]
    said = [f"{joined(answer.oracles)}: gap to that oracle"] if answer.oracles and not wide else []
    if any(value.signed and value.number for value in values):
        said.append("Δ: change of the gap from the dense to the sparse model")
    if any(value.below for value in values):
        said.append("†: on average no farther from the oracle than its second run")
    return [*said, *([_ARROWS] if any(value.verdict in ("farther", "closer") for value in values) else [])]


def answer_in_markdown(answer: Answer) -> str:
    """The whole answer as a page."""
    parts = [f"# {markdown_text(answer.name)}", f"**{markdown_text(answer.question)}**"]
    parts.append("\n".join(f"* {markdown_text(sentence)}" for sentence in answer.sentences))
    parts += [markdown(block).rstrip() for block in blocks_of(answer, wide=True)]
    parts.append("\n".join(f"* {markdown_text(note)}" for note in (*reading_of(answer, wide=True), *answer.notes)))
    return "\n\n".join(parts) + "\n"


def _names(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(State(row["pruner"], row["sparsity"])), row["unlearner"]


def _field(row: Mapping[str, Any], name: str, decimals: int) -> Value:
    """A number of the main table with the interval, floor and verdict that stand behind it."""
    half, floor, verdict = (row.get(f"{name}_{end}", math.nan) for end in ("half", "floor", "verdict"))
    below = name.startswith("gap_") and _is_below(row["role"], row["seeds"], row[name], floor)
    return Value(row[name], half, decimals, below=below, verdict=verdict, signed=name.startswith("change_"))


def _is_below(role: str, seeds: float, distance: float, floor: float) -> bool:
    """Whether a dagger is due: to methods only, and where the seeds have an interval."""
    return bool(role == "method" and seeds >= MIN_SEEDS and distance < floor)


def _rules(rows: pd.DataFrame) -> frozenset[int]:
    """Where another state begins."""
    states = [*zip(rows["pruner"], rows["sparsity"], strict=True)]
    return frozenset(i for i in range(1, len(states)) if states[i] != states[i - 1])


def _seeds(counts: Iterable[int]) -> str:
    counts = [*map(int, counts)]
    low, high = min(counts), max(counts)
    return f"{low} seed{'s' if high > 1 else ''}" if low == high else f"{low} to {high} seeds"


# ---- for a paper ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PaperTable:
    """A table with its caption, which says what bold, daggers and arrows mean, and a label that is its own."""

    block: Block
    caption: str
    label: str


def paper_tables(
    folder: str | Path,
    metrics: Sequence[str] = (),
    published: str | Path | None = None,
    only: Mapping[str, Collection[str]] | None = None,
) -> list[PaperTable]:
    """One table for each dataset, model, recipe and scenario of a folder of results/tables: methods × metrics.

    Each number is the mean over seeds ± half its 95 % t interval. metrics: names of summary.csv; `avg_gap` is one
    column for each oracle; by default `MEANS` and the average gaps, or without any of them what distances are told in
    (`Judged.measure`). A setting that has none of the metrics has no table. published: a CSV file whose numbers, mean ±
    deviation, stand behind ours. only: as for `answer_of`. Best in bold: `best_methods`, unless methods are left out.

    Raises LacunaError for a folder or file that cannot be used, and for metrics that the tables lack.
    """
    judged = Judged.read(folder, only or {})
    columns = _columns(judged, metrics)
    # the best of some methods would be taken for the best of all
    best = None if (only or {}).get("method") else _best(Path(folder), judged, columns)
    theirs = compare(folder, published) if published else None
    tables = []
    summary = judged.summary[judged.summary["metric"].isin(columns)]
    for key, rows in summary.groupby(list(SETTING), sort=False):
        layout = _Layout(judged, rows, columns, best, theirs)
        where = "-".join(map(str, key))
        tables.append(PaperTable(layout.block(), layout.caption(key), f"tab:{judged.name}-{where}"))
    return tables


def _columns(judged: Judged, metrics: Sequence[str]) -> list[str]:
    """The metrics asked for, by their names in summary.csv."""
    known = [*dict.fromkeys(judged.summary["metric"])]
    found = []
    usual = [m for m in (*MEANS, "avg_gap") if any(k.partition("/")[0] == m for k in known)]
    for name in metrics or usual or [*filter(None, map(judged.measure, judged.oracles))]:
        against = [each for each in (f"{name}/{oracle}" for oracle in judged.oracles) if each in known]
        if name not in known and not against:
            raise LacunaError(f"--metrics: no '{name}' in the tables of {judged.name}{unknown(name, known)}")
        found += [name] if name in known else against
    return [*dict.fromkeys(found)]


def _best(folder: Path, judged: Judged, columns: list[str]) -> dict[tuple[str, ...], frozenset[str]] | None:
    """`best_methods` by these metrics; None where the folder has not what it takes, or no metric has enough seeds."""
    files = [folder / name for name in ("cells.csv", "experiment.json")]
    if not all(file.is_file() for file in files) or judged.seeds < MIN_SEEDS:
        return None
    told, cells = told_of(read_json(files[1])), read_table(files[0])
    cells = cells[cells["metric"].isin(columns)].reset_index(drop=True)
    return best_methods(Contest(cells, told["oracles"], told["twins"], told["original"]), told["better"])


@dataclass(frozen=True)
class _Layout:
    """One table in the making. rows: of summary.csv, of one setting and the metrics of the columns."""

    judged: Judged
    rows: pd.DataFrame
    columns: list[str]
    best: dict[tuple[str, ...], frozenset[str]] | None
    theirs: pd.DataFrame | None

    def block(self) -> Block:
        of = {tuple(row[c] for c in (*GROUP, "metric")): row for row in records(self.rows)}
        cells = self.rows.drop_duplicates(list(GROUP))
        decimals = {m: decimals_for(self.rows[self.rows["metric"] == m]["mean"]) for m in self.columns}
        heads, fields = ["state", "method"], [list[Field](_names(row)) for row in records(cells)]
        keys = [tuple(row[c] for c in GROUP) for row in records(cells)]
        for metric in self.columns:
            heads.append(metric)
            for key, told in zip(keys, fields, strict=True):
                told.append(self._ours(of.get((*key, metric)), decimals[metric]))
            published = self._published(metric)
            if published:
                heads.append(f"{metric}, published")
                for key, told in zip(keys, fields, strict=True):
                    told.append(published.get(key, Value(math.nan)))
        if self.rows["n"].nunique() > 1:
            heads.append("seeds")
            least = self.rows.groupby(list(GROUP), sort=False)["n"].min().to_dict()
            for key, told in zip(keys, fields, strict=True):
                told.append(str(least[key]))
        return Block("", tuple(heads), tuple(map(tuple, fields)), 2, _rules(cells))

    def _ours(self, row: Mapping[str, Any] | None, decimals: int) -> Value:
        if row is None:
            return Value(math.nan)
        oracle = self._oracle(row["metric"])
        own = row["metric"].endswith(f"/{oracle}")
        distance, floor = row.get(f"gap_{oracle}_distance", math.nan), row.get(f"gap_{oracle}_floor", math.nan)
        where = (*(str(row[c]) for c in PLACE), row["metric"])
        bold = any(row["unlearner"] in (self.best or {}).get((*where, against), ()) for against in (oracle, ""))
        return Value(
            row["mean"],
            (row["ci_high"] - row["ci_low"]) / 2,
            decimals,
            bold=row["role"] == "method" and bold,
            below=_is_below(row["role"], row["n"], distance, floor),
            verdict=row.get(f"gap_{oracle}_verdict") if own else None,
        )

    def _oracle(self, metric: str) -> str:
        """The oracle that a column is read against: its own, or the first."""
        own = metric.partition("/")[2]
        return own if own in self.judged.oracles else next(iter(self.judged.oracles), "")

    def _published(self, metric: str) -> dict[tuple[str, ...], Value]:
        """The published numbers of a column, by our coordinates."""
        if self.theirs is None:
            return {}
        rows = self.theirs[self.theirs["published"].notna() & self.theirs["ours"].notna()]
        rows = rows[rows["metric"] == metric]
        here = set(self.rows[list(GROUP)].itertuples(index=False, name=None))
        found = {tuple(row[c] for c in GROUP): row for row in records(rows)}
        found = {key: row for key, row in found.items() if key in here}
        decimals = decimals_for(row["published"] for row in found.values())
        return {key: Value(row["published"], row["published_std"], decimals) for key, row in found.items()}

    def caption(self, key: Iterable[Any]) -> str:
        """What the table shows and what its marks mean, in sentences."""
        return " ".join(self._captioned(dict(zip(SETTING, map(str, key), strict=True))))

    def _captioned(self, where: Mapping[str, str]) -> Iterator[str]:
        seeds, high = _seeds(self.rows["n"]), int(self.rows["n"].max())
        kind = (
            f"mean ± half the 95 % t interval over {seeds}" if high >= MIN_SEEDS else f"mean over {seeds}, no interval"
        )
        setting = ", ".join(where[c] for c in ("dataset", "model", "recipe"))
        yield f"{self.judged.name}: forgetting {where['scenario']} ({setting}), {kind}."
        block = self.block()
        values = [field for row in block.rows for field in row if isinstance(field, Value)]
        if any(value.bold for value in values):
            oracle = next(iter(self.judged.oracles), "")
            yield "Bold: the best mean of a state; where neither high nor low is better, the smallest mean distance"
            yield f"per seed from {oracle}. Bold too: those that no paired t test over the seeds tells from it"
            yield "(p < 0.05, adjusted by Holm over all pairs of methods), and those as good as one of these."
        elif high >= MIN_SEEDS and self.best is not None:
            yield "No mean is bold: no test over the seeds tells a method from the best one."
        if any(value.below for value in values):
            oracle = next(iter(self.judged.oracles), "")
            yield f"†: on average no farther from {oracle}, or the oracle that the column names, than its second run."
        if any(value.verdict in ("farther", "closer") for value in values):
            yield _ARROWS
        for doubt in draw_of_members(self.rows):
            yield f"{capital(doubt)}."
        if self.theirs is not None:
            yield from self._of_published(where)

    def _of_published(self, where: Mapping[str, str]) -> Iterator[str]:
        theirs = self.theirs
        assert theirs is not None
        rows = theirs[theirs["metric"].isin(self.columns) & theirs["ours"].notna() & theirs["published"].notna()]
        for column, label in where.items():
            rows = rows[rows[column] == label]
        if rows.empty:
            yield "No published number is of this table."
            return
        yield f"Published: mean ± deviation as printed in {joined(dict.fromkeys(rows['source']))}."
        differs = [*dict.fromkeys(rows["differs"].dropna())]
        if differs:
            yield f"The published numbers are of another setting: {joined(differs)}."
