"""Who is who among the cells of an experiment, and how far each is from its oracle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.coding import codes_of, plain
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
        self.codes = {c: codes_of(self.cells[c]) for c in (*COORDINATES, "metric")}
        # the references' values by everything but the method, looked up once, and where they stand for each row
        at = self.groups(*(c for c in COORDINATES if c != "unlearner"), "metric")
        self._at = at.of
        values = self.cells["value"].to_numpy()
        self._own: dict[str, np.ndarray] = {}
        self._floors: dict[str, np.ndarray] = {}
        for label in (*self.oracles, *self.twins):
            own, rows = np.full(len(at.first), math.nan), np.flatnonzero(self.cells["unlearner"] == label)
            own[self._at[rows]] = values[rows]
            self._own[label] = own

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

    def beside(self, label: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """An oracle's or twin's value at the metric, place and seed of each row of `cells`, or of some of them; NaN
        where there is none."""
        beside: np.ndarray = self._own[label][self._at[rows]]
        return beside

    def twin_distances(self, oracle: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """How far the twins of an oracle are from it, at the metric, place and seed of each row of `cells`, or of some
        of them: the mean over the twins; NaN without one."""
        if oracle not in self._floors:
            own = self._own[oracle]
            twins = [np.abs(self._own[twin] - own) for twin, of in self.twins.items() if of == oracle]
            self._floors[oracle] = means_of(np.stack(twins, 1)) if twins else np.full(len(own), math.nan)
        distances: np.ndarray = self._floors[oracle][self._at[rows]]
        return distances

    def is_method(self) -> np.ndarray:
        """Of each row of `cells`, whether it is neither an oracle's nor a twin's."""
        return np.asarray(~self.cells["unlearner"].isin([*self.oracles, *self.twins]))

    def scores(self, better: Mapping[str, str | float]) -> pd.DataFrame:
        """The methods' rows with `oracle` and `score`: the smaller, the better. better: as of `scored`."""
        rows, oracles, scores = self.scored(better)
        # without what no comparison reads: of many cells notes and hashes are half of the memory
        found = plain(self.cells[[*COORDINATES, "metric", "value", "unchanged"]].iloc[rows])
        return found.assign(oracle=np.array(["", *self.oracles], dtype=object)[oracles], score=scores)

    def scored(self, better: Mapping[str, str | float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each score of a method, the smaller the better: the row of `cells`, in their order; the oracle that it is
        about as its place in `oracles` from 1, 0 for none; and the score.

        better: the direction of each metric. lower, higher: ± value. oracle: the distance |value − oracle's|, once for
        each oracle. A number: the distance from it. none: no judgement, left out; so are metrics that `better` lacks.
        """
        values, metrics = self.cells["value"].to_numpy(), self.codes["metric"]
        methods = self.is_method()
        place = {oracle: number for number, oracle in enumerate(("", *self.oracles))}
        parts: list[tuple[np.ndarray, int, np.ndarray]] = []
        for code, metric in enumerate(self.cells["metric"].iloc[self.groups("metric").first]):
            rows = np.flatnonzero(methods & (metrics == code)).astype(np.int32)
            against = self.compares_with(metric)
            direction = better.get(metric.partition("/")[0], "none")
            if direction == "oracle":
                for oracle in [against] if against else self.oracles:
                    distance = np.abs(values[rows] - self.beside(oracle, rows))
                    known = ~np.isnan(distance)
                    parts.append((rows[known], place[oracle], distance[known]))
            elif not isinstance(direction, str):
                parts.append((rows, place[against], np.abs(values[rows] - direction)))
            elif direction != "none":
                parts.append((rows, place[against], values[rows] * (1 if direction == "lower" else -1)))
        return in_order(parts)


def in_order(parts: Sequence[tuple[np.ndarray, int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, a number and a value for each, in the order of the rows: place by place, not metric by metric. parts: rows,
    the number of all of them, their values."""
    rows = np.concatenate([np.zeros(0, dtype=np.int32), *(rows for rows, _, _ in parts)])
    order = np.argsort(rows, kind="stable")
    numbers = np.repeat(np.array([n for _, n, _ in parts], dtype=np.int8), [len(rows) for rows, _, _ in parts])
    values = np.concatenate([np.zeros(0), *(values for _, _, values in parts)])
    return rows[order], numbers[order], values[order]


def mean_of(values: Iterable[float]) -> float:
    """The mean of what is a number; NaN of nothing."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def listed(values: Iterable[Any]) -> str:
    """a, b, c."""
    return ", ".join(map(str, values))
