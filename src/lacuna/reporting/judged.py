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
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.reporting.columns import GROUP
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.tables.record import original_of

# the metrics of the main table, next to the gaps
MEANS = ("UA", "RA", "TA", "MIA")
# columns of an answer's filters
FILTERS = {"method": "unlearner", "scenario": "scenario"}
# coordinate → axis of the grid
_AXES = {"dataset": "datasets", "model": "models", "recipe": "recipes", "scenario": "scenarios", "pruner": "pruners"}
_OF_CHANGES = ("change", "change_low", "change_high", "p", "least", "floor_of_mean", "verdict")


@dataclass(frozen=True)
class Judged:
    """The tables over seeds of an experiment, and who is who in them.

    summary: without twins. changes: sparsity.csv. missing: missing.csv. grid: entries by label by axis, empty where the
    folder has no experiment.json.
    """

    name: str
    oracles: tuple[str, ...]
    summary: pd.DataFrame
    changes: pd.DataFrame
    missing: pd.DataFrame
    grid: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path, only: Mapping[str, Collection[str]]) -> Judged:
        """Raises LacunaError, see `answer_of`."""
        folder = Path(folder)
        if not (folder / "summary.csv").is_file():
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
        oracles = told.get("judging", {}).get("oracles") or _oracles_in(summary)
        grid = told.get("grid", {})
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
        return cls(told.get("name", folder.resolve().name), tuple(oracles), summary, changes, missing, grid)

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
        """The metric that the distance from an oracle is told in: `avg_gap/<oracle>`, else the first that has one."""
        far = self.summary[self.summary["role"] == "method"]
        far = far[far.get(f"gap_{oracle}_distance", pd.Series(index=far.index, dtype=float)).notna()]
        known = [*dict.fromkeys(far["metric"])]
        preferred = [name for name in (f"avg_gap/{oracle}", *MEANS) if name in known]
        return next(iter([*preferred, *known]), None)

    def levels(self, oracle: str) -> pd.DataFrame:
        """Rows of summary.csv of an oracle's measure, with gap, half, floor and verdict."""
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
        rows = self.changes[(self.changes["metric"] == self.measure(oracle)) & (self.changes["oracle"] == oracle)]
        return rows.assign(half=(rows["change_high"] - rows["change_low"]) / 2 if len(rows) else 0.0)

    def place(self, row: Mapping[str, Any]) -> str:
        """Where a row stands, by the coordinates that differ: "class/omp-0.90"."""
        return "/".join([*self.setting(row), str(State(row["pruner"], row["sparsity"]))])

    def setting(self, row: Mapping[str, Any]) -> list[str]:
        """The coordinates of a row that differ in the tables, but for its sparse state."""
        names = ("dataset", "model", "recipe", "scenario")
        return [row[name] for name in names if self.summary[name].nunique() > 1]


def _optional(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table, or an empty one of these columns where the folder has none or it has no row."""
    table = read_table(path) if path.is_file() else pd.DataFrame(columns=list(columns))
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


def unit_of(metric: str) -> str:
    """The unit of a distance in a metric: of percentages, points."""
    name = metric.partition("/")[0]
    known: Any = METRICS if name in METRICS else POPULATION_METRICS
    unit = known[name].about["unit"] if name in known else ""
    return "points" if unit == "%" else unit
