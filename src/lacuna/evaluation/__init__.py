"""Metrics on stored predictions: pure NumPy, no torch, no model.

`evaluate(cell, oracles)` works on anybody's logits, whatever framework they come from.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from lacuna.errors import LacunaError, one_line
from lacuna.evaluation.cell import Absent as Absent
from lacuna.evaluation.cell import Cell as Cell
from lacuna.evaluation.cell import note_of
from lacuna.registry import Registry

if TYPE_CHECKING:
    from lacuna.evaluation.metric import Metric

METRICS: Registry[Metric[Cell]] = Registry("lacuna.evaluation.metrics", "metric", __path__[0] + "/metrics")


Of = TypeVar("Of")

# why there is no value without what a metric needs beside predictions
_LACKING = {
    "job": "what the run cost is not known; lacuna.predict takes it from the result of lacuna.unlearn",
    "weights": "the weights are not known; lacuna.predict takes them from the model",
    "random_init": "the predictions of a network that learnt nothing are not known; Cell.of takes them as "
    "extra={'random_init': ...}",
    "meta": "the facts of the dataset are not known; Cell.of takes them as extra={'meta': ...}",
    "relearn": "nobody relearned the forget set; the pipeline does, for metrics that are asked for",
    "curvature": "the curvature is not known; the pipeline measures it, for metrics that are asked for",
}


class Values(dict[str, float]):
    """Values by metric. `absent` says of every other metric that was asked for why it has none, `notes` of some values
    what has to be known of them."""

    def __init__(self) -> None:
        super().__init__()
        self.absent: dict[str, str] = {}
        self.notes: dict[str, str] = {}

    def enter(self, name: str, metric: Metric[Of], *of: Of) -> None:
        """Add what a metric says of a cell, or of a pool, and an oracle's.

        Raises LacunaError for what is no finite number, RuntimeError with the metric's name for whatever it raises.
        """
        try:
            value = metric(*of)
        except LacunaError:
            raise
        except Exception as error:
            raise RuntimeError(f"metric '{name}' fails: {one_line(error)}") from error
        if isinstance(value, Absent):
            self.absent[name] = str(value)
            return
        try:
            number = float(value) if hasattr(value, "__float__") else None
        except (TypeError, ValueError, OverflowError):  # several numbers, or one beyond all floats
            number = None
        if number is None:
            raise LacunaError(
                f"metric '{name}' is {reprlib.repr(value)}; allowed: a finite number, or Absent with the reason"
            )
        if not math.isfinite(number):
            raise LacunaError(f"metric '{name}' is {number}; allowed: a finite number")
        self[name] = number
        if note_of(value):
            self.notes[name] = note_of(value)


def evaluate(
    cell: Cell, oracles: Cell | Mapping[str, Cell] | None = None, metrics: str | Iterable[str] | None = None
) -> Values:
    """Every metric of a cell, by name.

    oracles: the reference cells by label, or one alone, which is then called `oracle`; a metric that compares with
    an oracle appears once for each, as `<metric>/<oracle label>`. metrics: names in METRICS, one against a single
    oracle as `<metric>/<oracle label>`; by default all but those that are marked as on request. A metric whose data the
    cell lacks (an oracle, the forgotten class's test accuracy under random forgetting, the masks of a user's own model)
    is left out, and `.absent` of the result says why; `.notes` has the values that are not to be read alone.

    Raises LacunaError for an unknown metric or oracle, an oracle of other samples, or a value that is not finite.

    >>> import numpy as np
    >>> from lacuna import Cell, evaluate
    >>> y = np.array([0, 1])
    >>> sure, torn = 5 * np.eye(2), np.zeros((2, 2))
    >>> cell = Cell.of(retain=(sure, y), forget=(torn, y), test=(sure, y))
    >>> evaluate(cell, metrics=["UA", "RA"])
    {'UA': 50.0, 'RA': 100.0}
    >>> evaluate(cell, {"retrain": cell}, metrics=["UA", "ToW"])
    {'UA': 50.0, 'ToW/retrain': 1.0}
    """
    named = {"oracle": oracles} if isinstance(oracles, Cell) else oracles or {}
    if not isinstance(named, Mapping) or not all(isinstance(each, Cell) for each in (cell, *named.values())):
        raise LacunaError("evaluate: it takes a lacuna.Cell, and oracles as another one or as Cells by label")
    for label, oracle in named.items():
        cell.check_comparable(oracle, label)
    values = Values()
    for name in default_metrics() if metrics is None else [metrics] if isinstance(metrics, str) else metrics:
        name, _, only = name.partition("/")
        metric = METRICS[name]
        about = metric.about
        if only and (not about["oracle"] or only not in named):
            allowed = ", ".join(f"{name}/{label}" for label in named) if about["oracle"] and named else name
            raise LacunaError(f"unknown metric '{name}/{only}'; allowed: {allowed}")
        if about["oracle"] and not named:
            values.absent[name] = "it compares with an oracle and none was given; evaluate(cell, oracle) takes one"
        chosen = {only: named[only]} if only else named
        asked = {f"{name}/{label}": (oracle,) for label, oracle in chosen.items()} if about["oracle"] else {name: ()}
        for full, others in asked.items():
            lacking = [n for n in about.get("needs", ()) if any(n not in c.extra for c in (cell, *others))]
            if lacking:
                values.absent[full] = _LACKING.get(lacking[0], f"'{lacking[0]}' is not known")
            else:
                values.enter(full, metric, cell, *others)
    return values


def evaluate_layers(
    cell: Cell, oracles: Mapping[str, Cell] | None = None, metrics: Iterable[str] | None = None
) -> dict[str, dict[str, float]]:
    """Values by layer (a tensor of the mask) of the metrics that a layer has too: those of `evaluate` on it alone."""
    chosen = [n for n in (default_metrics() if metrics is None else metrics) if METRICS[n].about.get("by_layer")]
    values: dict[str, dict[str, float]] = {}
    for layer in cell.mask or ():
        known = {label: oracle.only(layer) for label, oracle in (oracles or {}).items()}
        for name, value in evaluate(cell.only(layer), known, chosen).items():
            values.setdefault(name, {})[layer] = value
    return values


def default_metrics() -> list[str]:
    """The metrics that are computed when none are named: all but those on request."""
    return [name for name, metric in METRICS.items() if metric.about.get("default", True)]
