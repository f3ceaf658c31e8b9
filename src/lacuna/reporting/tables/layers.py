"""layers.csv: one row per cell, layer and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from lacuna.reporting.columns import COORDINATES


def layers_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate_layers`: the coordinates of the cell, layer, metric, value.

    Layers in the order of the network, which a result has in `layer_order`; without it as they are given.
    """
    rows = []
    for result in results:
        cell, order = tuple(result["cell"][c] for c in COORDINATES), result.get("layer_order", ())
        place = {layer: position for position, layer in enumerate(order)}
        for metric, values in result["layers"].items():
            rows += [
                (*cell, layer, metric, values[layer])
                for layer in sorted(values, key=lambda n: place.get(n, len(place)))
            ]
    return pd.DataFrame(rows, columns=[*COORDINATES, "layer", "metric", "value"])
