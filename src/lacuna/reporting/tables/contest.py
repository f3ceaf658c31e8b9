"""Who is who among the cells of an experiment, and how far each is from its oracle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.reporting.columns import COORDINATES


def original_of(grid: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The label of the untouched model in a grid (see `provenance.config_hash`); of several the one that bears
    its name, else the first, for they are the same model. "original" if the grid has none."""
    labels = [label for label, entry in grid.get("unlearners", {}).items() if entry["method"] == "original"]
    return "original" if "original" in labels else min(labels, default="original")


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


def mean_of(values: Iterable[float]) -> float:
    """The mean of what is a number; NaN of nothing."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
