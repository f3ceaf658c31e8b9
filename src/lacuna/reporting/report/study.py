"""What a page is made of: the tables of an experiment, and the experiment as it was resolved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.artifacts.forms import read_form
from lacuna.reporting.judged import unit_of
from lacuna.reporting.palette import Look, Palette
from lacuna.reporting.panels import PANEL, methods_of, sparsity_label
from lacuna.reporting.report.looks import states
from lacuna.reporting.tables.files import read_table


@dataclass(frozen=True)
class Study:
    """An experiment for its page.

    experiment: the content of experiment.json. tables: by name; one that the experiment does not have is empty.
    folder: of the tables. results: the root of the tree, where files of cells are looked for.
    """

    experiment: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    folder: Path
    results: Path
    _empty: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def read(cls, paths: Iterable[str | Path], results: str | Path) -> Study:
        """A study from the files of its tables, experiment.json among them. Raises DamagedFile."""
        files = {Path(path).stem: Path(path) for path in paths}
        record = files.pop("experiment")
        tables = {name: read_table(path) for name, path in files.items()}
        return cls(read_form(record, "experiment"), tables, record.parent, Path(results))

    def table(self, name: str) -> pd.DataFrame:
        """A table; without rows and columns where the experiment has none."""
        return self.tables.get(name, self._empty)

    @property
    def name(self) -> str:
        return str(self.experiment["name"])

    @property
    def grid(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return dict(self.experiment["grid"])

    @property
    def oracles(self) -> list[str]:
        return list(self.experiment["judging"]["oracles"])

    @cached_property
    def costs(self) -> list[str]:
        """The metrics of cost that the experiment measured."""
        there = set(self.summary["metric"])
        return [name for name in self.experiment["judging"]["costs"] if name in there]

    @cached_property
    def summary(self) -> pd.DataFrame:
        """summary.csv without twins and empty values."""
        table = self.tables["summary"]
        return table[table["role"] != "twin"].dropna(subset="mean").reset_index(drop=True)

    @cached_property
    def palette(self) -> Palette:
        """Order and looks of all labels."""
        return Palette.of(self.experiment)

    @cached_property
    def methods(self) -> list[str]:
        """Labels of the methods that have values, in the order of the palette."""
        return self.palette.ordered(methods_of(self.tables["summary"]))

    def looks(self, labels: Iterable[str]) -> dict[str, Look]:
        """The looks of labels, in the order of the palette."""
        return {label: self.palette.look(label) for label in self.palette.ordered(labels)}

    @cached_property
    def sparsities(self) -> list[str]:
        """All sparsities, dense first."""
        return sorted(self.summary["sparsity"].unique(), key=float)

    def states(self, sparsities: Iterable[str]) -> dict[str, Look]:
        """The labels of sparsities with their looks, dense first: a sparsity looks the same in all charts."""
        looks = states([sparsity_label(s) for s in self.sparsities])
        return {(label := sparsity_label(s)): looks[label] for s in sorted(set(sparsities), key=float)}

    def setting(self) -> str:
        """The coordinates that all rows share: "digits, resnet8, short"."""
        return ", ".join(self.summary[c].iloc[0] for c in PANEL[:3] if self.summary[c].nunique() == 1)

    def metrics(self, starting: Sequence[str]) -> list[str]:
        """The metrics of the summary whose names begin so, in the order of the table."""
        there = self.summary["metric"].unique()
        return [metric for metric in there if metric.startswith(tuple(starting))]


def named(metric: str) -> str:
    """A metric with its unit: "MIA (%)", "avg_gap to retrain (points)"."""
    name, _, oracle = metric.partition("/")
    unit = unit_of(metric)
    return f"{name}{f' to {oracle}' if oracle else ''}{f' ({unit})' if unit not in ('', name) else ''}"
