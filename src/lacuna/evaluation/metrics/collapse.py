"""Layers that pruning has emptied."""

from __future__ import annotations

from lacuna.evaluation.cell import Absent, Cell
from lacuna.registry import register


@register(
    "collapsed_layers",
    unit="1",
    low=0.0,
    high=None,
    better="lower",
    oracle=False,
    source="Tanaka et al., NeurIPS 2020 (layer collapse)",
)
def collapsed_layers(cell: Cell) -> float | Absent:
    """The number of layers of which the cell's mask leaves no weight."""
    if cell.mask is None:
        return Absent("the mask is not known")
    # the vectors in a mask of filters belong to batch norm and go with their convolution
    return float(sum(not kept.any() for kept in cell.mask.values() if kept.ndim > 1))
