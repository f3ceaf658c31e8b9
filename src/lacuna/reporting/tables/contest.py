"""Who is who among the cells of an experiment, and how far each is from its oracle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.groups import Groups, grouped, means_of


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
        further = {name: value for name, value in {"unchanged": 0, "note": None}.items() if name not in cells}
        self.cells = cells.assign(**further).reset_index(drop=True)
        if self.cells["unchanged"].dtype.kind != "i":  # some of several tables had none
            self.cells["unchanged"] = pd.to_numeric(self.cells["unchanged"]).fillna(0).astype(int)
        self.oracles, self.twins, self.original = tuple(oracles), dict(twins or {}), original
        # whole numbers for the labels of each column
        self.codes = {c: pd.factorize(self.cells[c])[0].astype(np.int32) for c in (*COORDINATES, "metric")}
        # beside every row the reference's value by everything but the method, looked up once
        at = self.groups(*(c for c in COORDINATES if c != "unlearner"), "metric")
        values = self.cells["value"].to_numpy()
        self._beside: dict[str, np.ndarray] = {}
        for label in (*self.oracles, *self.twins):
            own, rows = np.full(len(at.first), math.nan), np.flatnonzero(self.cells["unlearner"] == label)
            own[at.of[rows]] = values[rows]
            self._beside[label] = own[at.of]

    def groups(self, *columns: str, rows: np.ndarray | slice = slice(None)) -> Groups:
        """The rows of `cells`, or some of them, that have the same labels in these columns."""
        return grouped(*(self.codes[column][rows] for column in columns))

    def role(self, unlearner: str) -> str:
        """oracle, twin or method."""
        return "oracle" if unlearner in self.oracles else "twin" if unlearner in self.twins else "method"

    def compares_with(self, metric: str) -> str:
        """The oracle that the metric itself compares with (`avg_gap/retrain`), or nothing."""
        suffix = metric.rpartition("/")[2]
        return suffix if suffix in self.oracles else ""

    def beside(self, label: str) -> np.ndarray:
        """An oracle's or twin's value at the metric, place and seed of each row of `cells`; NaN where there is none."""
        return self._beside[label]

    def twin_distances(self, oracle: str) -> np.ndarray:
        """How far the twins of an oracle are from it, at the metric, place and seed of each row of `cells`: the mean
        over the twins; NaN without one."""
        twins = [np.abs(self._beside[twin] - self._beside[oracle]) for twin, of in self.twins.items() if of == oracle]
        return means_of(np.stack(twins, 1)) if twins else np.full(len(self.cells), math.nan)

    def columns(self) -> pd.DataFrame:
        """`cells` without what no comparison reads: of many cells notes and hashes are half of the memory."""
        return self.cells[[*COORDINATES, "metric", "value", "unchanged"]]

    def is_method(self) -> np.ndarray:
        """Of each row of `cells`, whether it is neither an oracle's nor a twin's."""
        return np.asarray(~self.cells["unlearner"].isin([*self.oracles, *self.twins]))

    def scores(self, better: Mapping[str, str | float]) -> pd.DataFrame:
        """The methods' rows with `oracle` and `score`: the smaller, the better.

        better: the direction of each metric. lower, higher: ± value. oracle: the distance |value − oracle's|, once for
        each oracle. A number: the distance from it. none: no judgement, left out; so are metrics that `better` lacks.
        """
        values, metrics = self.cells["value"].to_numpy(), self.codes["metric"]
        methods = self.is_method()
        parts = []
        for code, metric in enumerate(self.cells["metric"].iloc[self.groups("metric").first]):
            rows = np.flatnonzero(methods & (metrics == code))
            against = self.compares_with(metric)
            direction = better.get(metric.partition("/")[0], "none")
            if direction == "oracle":
                for oracle in [against] if against else self.oracles:
                    distance = np.abs(values[rows] - self._beside[oracle][rows])
                    known = ~np.isnan(distance)
                    parts.append((rows[known], oracle, distance[known]))
            elif not isinstance(direction, str):
                parts.append((rows, against, np.abs(values[rows] - direction)))
            elif direction != "none":
                parts.append((rows, against, values[rows] * (1 if direction == "lower" else -1)))
        if not parts:
            return self.columns().iloc[:0].assign(oracle="", score=0.0)
        rows = np.concatenate([rows for rows, _, _ in parts])
        order = np.argsort(rows, kind="stable")  # of `cells`: place by place, not metric by metric
        oracles = np.repeat(np.array([oracle for _, oracle, _ in parts], dtype=object), [len(r) for r, _, _ in parts])
        scores = np.concatenate([scores for _, _, scores in parts])
        return self.columns().iloc[rows[order]].assign(oracle=oracles[order], score=scores[order])


def mean_of(values: Iterable[float]) -> float:
    """The mean of what is a number; NaN of nothing."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def listed(values: Iterable[Any]) -> str:
    """a, b, c."""
    return ", ".join(map(str, values))
