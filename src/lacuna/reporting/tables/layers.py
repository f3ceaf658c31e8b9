"""layers.csv: one row per cell, layer and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lacuna.registry import register
from lacuna.reporting.tables.groups import rows_of


@register("layers", reads=("metrics",))
def table(metrics: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Every cell of the grid, layer by layer: sparsity, what its mask shares with that of each oracle, and how far its
    weights are from it.
    """
    return layers_table(metrics)


def layers_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate_layers`: the coordinates of the cell, layer, metric, value.

    Layers in the order of the network, which a result has in `layer_order`; without it as they are given.
    """
    results = list(results)
    rows: list[tuple[str, str, float]] = []
    counts = []
    for result in results:
        place = {layer: position for position, layer in enumerate(result.get("layer_order", ()))}
        before = len(rows)
        for metric, values in result["layers"].items():
            layers = sorted(values, key=lambda n: place.get(n, len(place)))
            rows += [(layer, metric, values[layer]) for layer in layers]
        counts.append(len(rows) - before)
    table = rows_of((result["cell"] for result in results), np.repeat(np.arange(len(results)), counts))
    return table.assign(**{name: [row[i] for row in rows] for i, name in enumerate(("layer", "metric", "value"))})
