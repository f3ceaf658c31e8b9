"""What the masks share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lacuna.errors import LacunaError
from lacuna.evaluation.cell import Cell
from lacuna.registry import register


def intersection_over_union(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> float:
    """|a∧b| / |a∨b| over the kept weights of two masks (bool arrays by tensor name), in [0, 1]; 1 if both are empty.

    Tensors of one axis (the bias and batch norm of a removed filter) do not count.

    Raises LacunaError if the masks are not over the same tensors.
    """
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        raise LacunaError("mask_iou: the masks are not over the same tensors")
    weights = [k for k in a if a[k].ndim > 1]
    both = sum(int((a[k] & b[k]).sum()) for k in weights)
    either = sum(int((a[k] | b[k]).sum()) for k in weights)
    return both / either if either else 1.0


@register(
    "mask_iou", unit="1", low=0.0, high=1.0, better="higher", oracle=True, source="Xiao et al., 2025 (un-pruning)"
)
def mask_iou(cell: Cell, oracle: Cell) -> float | None:
    """Intersection over union of the kept weights of the cell's mask and the oracle's; 1 between dense models."""
    if cell.mask is None or oracle.mask is None:
        return None
    return intersection_over_union(cell.mask, oracle.mask)


@register("sparsity", unit="1", low=0.0, high=1.0, better="none", oracle=False, source="definition")
def realised_sparsity(cell: Cell) -> float | None:
    """Share of the prunable weights that the cell's mask removes."""
    if cell.mask is None:
        return None
    weights = [m for m in cell.mask.values() if m.ndim > 1]
    return 1 - sum(int(m.sum()) for m in weights) / sum(m.size for m in weights)
