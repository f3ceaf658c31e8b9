"""The tables over seeds of an experiment, read for its answer."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import DENSE, WILDCARDS, State
from lacuna.artifacts.files import read_json
from lacuna.errors import LacunaError, unknown
from lacuna.evaluation import METRICS
from lacuna.evaluation.notes import FEW_FORGOTTEN, ONE_CLASS
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.tables.record import original_of
from lacuna.reporting.tables.verdicts import doubts_in
from lacuna.reporting.typeset import decimals_for
from lacuna.reporting.words import records

# the metrics of the main table, next to the gaps
MEANS = ("UA", "RA", "TA", "MIA")
# columns of an answer's filters
FILTERS = {"method": "unlearner", "scenario": "scenario"}
# coordinate → axis of the grid
_AXES = {"dataset": "datasets", "model": "models", "recipe": "recipes", "scenario": "scenarios", "pruner": "pruners"}
# notes of cells that, of the untouched model, are about the experiment
_OF_EXPERIMENT = (ONE_CLASS, FEW_FORGOTTEN)
_OF_CHANGES = ("change", "change_low", "change_high", "p", "least", "floor_of_mean", "verdict")


@dataclass(frozen=True)
class Judged:
    """The tables over seeds of an experiment, and who is who in them.

    summary: without twins. changes: sparsity.csv. missing: missing.csv. grid: entries by label by axis, in the order of
    the experiment, and judging: as experiment.json has them; empty where the folder has none.
    """

    name: str
    oracles: tuple[str, ...]
    summary: pd.DataFrame
    changes: pd.DataFrame
    missing: pd.DataFrame
    grid: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    judging: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path, only: Mapping[str, Collection[str]]) -> Judged:
        """Raises LacunaError, see `answer_of`."""
        folder = Path(folder)
        if not (folder / "summary.csv").exists():
            raise LacunaError(f"{folder}: no summary.csv there; allowed: a folder of results/tables")
        summary, changes, missing = (
            _optional(folder / f"{name}.csv", columns)
            for name, columns in (
                ("summary", ()),
                ("sparsity", (*GROUP, "metric", "oracle", *_OF_CHANGES)),
                ("missing", (*WILDCARDS, "reason")),
            )
        )
        told = read_json(folder / "experiment.json") if (folder / "experiment.json").is_file() else {}
        if any(str(c).startswith("gap_") for c in summary) and not _oracles_in(summary):
            raise LacunaError(f"{folder}: its summary.csv is of an earlier version; run the experiment's command again")
        judging = told.get("judging", {})
        oracles = judging.get("oracles") or _oracles_in(summary)
        grid = _ordered(told.get("grid", {}), told.get("order", {}))
        for word, labels in only.items():
            column = FILTERS[word]
            if word == "method":
                labels = [*labels, *oracles, original_of(grid)]
            known = [*dict.fromkeys(summary[summary["role"] != "twin"][column])]
            for label in labels:
                if label not in known and label in only[word]:
                    raise LacunaError(f"--{word}: no '{label}' in {folder}{unknown(label, known)}")
            summary, changes = (table[table[column].isin(labels)] for table in (summary, changes))
            missing = missing[missing[column].isin(labels)]
        first = [original_of(grid), *oracles]
        summary, changes = (_in_order(table, grid, first) for table in (summary[summary["role"] != "twin"], changes))
        return cls(told.get("name", folder.resolve().name), tuple(oracles), summary, changes, missing, grid, judging)

    @cached_property
    def original(self) -> str:
        """The label of the untouched model."""
        return original_of(self.grid)

    @cached_property
    def methods(self) -> list[str]:
        """Labels of the methods that forget, in the order of the table."""
        rows = self.summary[self.summary["role"] == "method"]
        return [label for label in dict.fromkeys(rows["unlearner"]) if label != self.original]

    @property
    def sparse(self) -> bool:
        """Whether a model is sparse."""
        return bool((self.summary["pruner"] != DENSE).any())

    @cached_property
    def seeds(self) -> int:
        """Seeds of the rows that have most."""
        return int(self.summary["n"].max()) if len(self.summary) else 0

    def measure(self, oracle: str) -> str | None:
        """The metric that the distance from an oracle is told in: `avg_gap/<oracle>`, else the first that has one. A
        cost is no measure, nor is a metric that no direction makes better."""
        return self._measures[oracle]

    @cached_property
    def _measures(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        methods = self.summary[self.summary["role"] == "method"]
        for oracle in self.oracles:
            far = methods[methods.get(f"gap_{oracle}_distance", pd.Series(index=methods.index, dtype=float)).notna()]
            known = [name for name in dict.fromkeys(far["metric"]) if self.judges(name)]
            preferred = [name for name in (f"avg_gap/{oracle}", *MEANS) if name in known]
            found[oracle] = next(iter([*preferred, *known]), None)
        return found

    def judges(self, metric: str) -> bool:
        """Whether a metric tells better from worse forgetting."""
        name = metric.partition("/")[0]
        known = _entry_of(name)
        costs = self.judging.get("costs", [name] if known and known.__module__.endswith(".cost") else [])
        better = self.judging.get("better", {}).get(name, known.about["better"] if known else "none")
        return name not in costs and better != "none"

    def levels(self, oracle: str) -> pd.DataFrame:
        """Rows of summary.csv of an oracle's measure, with gap, half, floor and verdict."""
        return self._levels[oracle]

    @cached_property
    def _levels(self) -> dict[str, pd.DataFrame]:
        return {oracle: self._levels_of(oracle) for oracle in self.oracles}

    def _levels_of(self, oracle: str) -> pd.DataFrame:
        rows = self.summary[self.summary["metric"] == self.measure(oracle)]
        if rows.empty:
            return rows.assign(gap=0.0, half=0.0, floor=0.0, verdict="")
        of = f"gap_{oracle}"
        comparison = rows["metric"].iloc[0].endswith(f"/{oracle}")
        # of another metric the distance has no interval: that of its signed gap is another question
        half = (rows["ci_high"] - rows["ci_low"]) / 2 if comparison else float("nan")
        return rows.assign(
            gap=rows[f"{of}_distance"], half=half, floor=rows[f"{of}_floor"], verdict=rows[f"{of}_verdict"]
        )

    def changed(self, oracle: str) -> pd.DataFrame:
        """Rows of sparsity.csv of an oracle's measure, with half the interval of the change."""
        return self._changed[oracle]

    def decimals(self, oracle: str) -> int:
        """With how many the distances from an oracle are told."""
        return self._decimals[oracle]

    @cached_property
    def _decimals(self) -> dict[str, int]:
        return {oracle: decimals_for(self.levels(oracle)["gap"]) for oracle in self.oracles}

    @cached_property
    def _changed(self) -> dict[str, pd.DataFrame]:
        return {oracle: self._changed_of(oracle) for oracle in self.oracles}

    def _changed_of(self, oracle: str) -> pd.DataFrame:
        rows = self.changes[(self.changes["metric"] == self.measure(oracle)) & (self.changes["oracle"] == oracle)]
        return rows.assign(half=(rows["change_high"] - rows["change_low"]) / 2 if len(rows) else 0.0)

    def place(self, row: Mapping[str, Any]) -> str:
        """Where a row stands, by the coordinates that differ: "class/omp-0.90"."""
        return "/".join([*self.setting(row), str(State(row["pruner"], row["sparsity"]))])

    def setting(self, row: Mapping[str, Any]) -> list[str]:
        """The coordinates of a row that differ in the tables, but for its sparse state."""
        return [row[name] for name in self._differing]

    @cached_property
    def _differing(self) -> tuple[str, ...]:
        names = ("dataset", "model", "recipe", "scenario")
        return tuple(name for name in names if self.summary[name].nunique() > 1)

    @cached_property
    def doubts(self) -> dict[str, list[str]]:
        """What the tables' notes hold against each place, by its name."""
        found: dict[str, list[str]] = {}
        for _, noted in self.summary[self.summary["note"].notna()].groupby(list(PLACE), sort=False):
            said = [doubt for note in noted["note"] for doubt in doubts_in(note)]
            for note in noted[noted["unlearner"] == self.original]["note"]:
                parts = (part.partition(": ")[2] for part in note.split("; ") if part.startswith("seed "))
                said += [f"{self.original}: {part}" for part in parts if part.startswith(_OF_EXPERIMENT)]
            if said:
                found[self.place(records(noted.head(1))[0])] = [*dict.fromkeys(said)]
        return found


def _optional(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table, or an empty one of these columns where the folder has none or it has no row."""
    table = read_table(path) if path.exists() else pd.DataFrame(columns=list(columns))
    return table.reindex(columns=[*table, *(c for c in columns if c not in table)])


def _in_order(table: pd.DataFrame, grid: Mapping[str, Mapping[str, Any]], first: Sequence[str]) -> pd.DataFrame:
    """The rows in one order, whatever their order in the file: dense and `first`, then as the grid has them, then by
    alphabet."""
    keys = []
    for column in GROUP:
        axes = ("unlearners", "unprune") if column == "unlearner" else (_AXES.get(column, ""),)
        known = [DENSE, *first, *(label for axis in axes for label in grid.get(axis, ()))]
        order = [*known, *sorted(set(table[column]) - set(known))]
        keys.append(table[column].astype(float) if column == "sparsity" else table[column].map(order.index))
    keys += [table[column] for column in ("metric", "oracle") if column in table]
    places = pd.concat(keys, axis="columns", ignore_index=True) if len(table) else table
    return table.loc[places.sort_values([*places], kind="stable").index].reset_index(drop=True)


def _oracles_in(summary: pd.DataFrame) -> list[str]:
    """The oracles that the columns of a summary name."""
    found = (re.fullmatch(r"gap_(.+)_distance", str(column)) for column in summary)
    return [match[1] for match in found if match]


def _ordered(
    grid: Mapping[str, Mapping[str, Any]], order: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The grid in the order of the experiment's file, which a sorted JSON has not. order: labels by axis."""
    return {
        axis: {label: entries[label] for label in dict.fromkeys([*order.get(axis, ()), *entries]) if label in entries}
        for axis, entries in grid.items()
    }


def _entry_of(name: str) -> Any:
    """The metric of this name; None if no metric has it."""
    return next((registry[name] for registry in (METRICS, POPULATION_METRICS) if name in registry), None)


def unit_of(metric: str) -> str:
    """The unit of a metric of the tables, nothing for a plain number: "MIA" → "%"."""
    known = _entry_of(metric.partition("/")[0])
    unit = str(known.about.get("unit", "1")) if known else "1"
    return "" if unit == "1" else unit
