"""layers.csv: one row per cell, layer and metric."""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lacuna.registry import register
from lacuna.reporting.tables.coding import Labels, numbers_of, plain
from lacuna.reporting.tables.groups import rows_of


@register("layers", reads=("metrics",))
def table(metrics: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Every cell of the grid, layer by layer: sparsity, what its mask shares with that of each oracle, and how far its
    weights are from it.
    """
    return coded_layers(metrics)


def layers_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Long form of the results of `evaluate_layers`: the coordinates of the cell, layer, metric, value.

    Layers in the order of the network, which a result has in `layer_order`; without it as they are given.
    """
    return plain(coded_layers(results))


def coded_layers(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The same with labels as categories: of very many rows a fifth of the memory."""
    results = list(results)
    counts = [sum(map(len, result["layers"].values())) for result in results]
    of, size = np.repeat(np.arange(len(results), dtype=np.int32), counts), sum(counts)
    layers, metrics = Labels(), Labels()
    numbers = array.array("i"), array.array("i")

    def values() -> Iterator[float]:
        for result in results:
            place = {layer: position for position, layer in enumerate(result.get("layer_order", ()))}
            for metric, by_layer in result["layers"].items():
                number = metrics[metric]
                for layer in sorted(by_layer, key=lambda n: place.get(n, len(place))):
                    numbers[0].append(layers[layer])
                    numbers[1].append(number)
                    yield by_layer[layer]

    value = numbers_of(values(), size)
    told: dict[str, Any] = {
        "layer": layers.column(np.array(numbers[0])),
        "metric": metrics.column(np.array(numbers[1])),
        "value": value,
    }
    return rows_of((result["cell"] for result in results), of).assign(**told)
