"""Metrics on stored predictions: pure NumPy, no torch, no model.

`evaluate(cell, oracles)` works on anybody's logits, whatever framework they come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lacuna.errors import LacunaError
from lacuna.evaluation.cell import Cell as Cell
from lacuna.registry import Registry

METRICS: Registry = Registry("lacuna.evaluation", "metric", __path__[0])


def evaluate(
    cell: Cell, oracles: Mapping[str, Cell] | None = None, metrics: Iterable[str] | None = None
) -> dict[str, float]:
    """Every metric of a cell, by name.

    oracles: the reference cells by label; a metric that compares with an oracle appears once for each, as
    `<metric>/<oracle label>`. metrics: names in METRICS, all of them by default. A metric whose data the cell
    lacks (the forgotten class's test accuracy under random forgetting, masks of a user's own model) is left out.

    Raises LacunaError for an unknown metric, an oracle of other samples, or a value that is not finite.
    """
    for label, oracle in (oracles or {}).items():
        cell.check_comparable(oracle, label)
    values: dict[str, float] = {}
    for name in METRICS if metrics is None else metrics:
        metric = METRICS[name]
        if not metric.about["oracle"]:
            values[name] = metric(cell)
            continue
        for label, oracle in (oracles or {}).items():
            values[f"{name}/{label}"] = metric(cell, oracle)
    values = {name: float(value) for name, value in values.items() if value is not None}
    for name, value in values.items():
        if not abs(value) < float("inf"):
            raise LacunaError(f"metric '{name}' is {value}; allowed: a finite number")
    return values
