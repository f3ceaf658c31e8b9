"""What the masks share, and how far the weights are apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from lacuna.errors import LacunaError
from lacuna.evaluation.cell import Absent, Cell
from lacuna.registry import register

Masks = Mapping[str, np.ndarray]
# what a state holds beside parameters
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_ABOUT = {"unit": "1", "low": 0.0, "high": 1.0, "oracle": True, "by_layer": True}
_NO_WEIGHTS = Absent("the mask covers no tensor of two axes or more")
_SOURCE = "Xiao et al., 2025 (un-pruning)"


def overlap(a: Masks, b: Masks) -> tuple[int, int, int, int]:
    """|a∧b|, |a|, |b| and the size of two masks (bool arrays by tensor name).

    Tensors of one axis (the bias and batch norm of a removed filter) do not count.

    Raises LacunaError if the masks are not over the same tensors.
    """
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        raise LacunaError("mask metrics: the masks are not over the same tensors; allowed: masks of one architecture")
    weights = [k for k in a if a[k].ndim > 1]
    both, of_a, of_b = (sum(int(m[k].sum()) for k in weights) for m in ({k: a[k] & b[k] for k in weights}, a, b))
    return both, of_a, of_b, sum(a[k].size for k in weights)


def intersection_over_union(a: Masks, b: Masks) -> float:
    """|a∧b| / |a∨b| over the kept weights, in [0, 1]; 1 if both are empty."""
    both, of_a, of_b, _ = overlap(a, b)
    either = of_a + of_b - both
    return both / either if either else 1.0


def intersection_over_minimum(a: Masks, b: Masks) -> float:
    """|a∧b| / min(|a|, |b|) over the kept weights, in [0, 1]; 1 if both are empty, 0 if one is."""
    both, of_a, of_b, _ = overlap(a, b)
    return both / min(of_a, of_b) if of_a and of_b else float(of_a == of_b)


def hamming(a: Masks, b: Masks) -> float:
    """Share of the weights that one mask keeps and the other removes, in [0, 1]."""
    both, of_a, of_b, size = overlap(a, b)
    return (of_a + of_b - 2 * both) / size


def distance(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], mask: Masks) -> float:
    """‖m⊙(a − b)‖₂ over the parameters of two states, in float64; a tensor without a mask counts whole, a buffer never.

    Raises LacunaError if the states are not of one architecture.
    """
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        raise LacunaError("the weights to be compared are not of one architecture; allowed: the same names and shapes")
    total = 0.0
    for name in a:
        if name.rpartition(".")[2] not in _BUFFERS:
            difference = (a[name].astype(np.float64) - b[name]) * mask.get(name, True)
            total += float((difference**2).sum())
    return math.sqrt(total)


@register("mask_iou", **_ABOUT, better="higher", source=_SOURCE)
def mask_iou(cell: Cell, oracle: Cell) -> float | Absent:
    """Intersection over union of the kept weights of the cell's mask and the oracle's; 1 between dense models."""
    return _compared(intersection_over_union, cell, oracle)


@register("mask_iom", **_ABOUT, better="higher", source=_SOURCE)
def mask_iom(cell: Cell, oracle: Cell) -> float | Absent:
    """Intersection of the kept weights over those of the sparser mask; at equal sparsity IoU = IoM/(2 − IoM)."""
    return _compared(intersection_over_minimum, cell, oracle)


@register("mask_hamming", **_ABOUT, better="lower", source="Hamming, 1950")
def mask_hamming(cell: Cell, oracle: Cell) -> float | Absent:
    """Share of the prunable weights that one mask keeps and the other removes."""
    return _compared(hamming, cell, oracle)


def _compared(how: Callable[[Masks, Masks], float], cell: Cell, oracle: Cell) -> float | Absent:
    if cell.mask is None or oracle.mask is None:
        return Absent("the masks are not known")
    return how(cell.mask, oracle.mask) if any(m.ndim > 1 for m in cell.mask.values()) else _NO_WEIGHTS


@register(
    "parameter_distance",
    unit="1",
    low=0.0,
    high=None,
    better="lower",
    oracle=True,
    by_layer=True,
    needs=("weights",),
    source="Jia et al., NeurIPS 2023",
)
def parameter_distance(cell: Cell, oracle: Cell) -> float | Absent:
    """‖m⊙(θ_u − θ_o)‖₂ under the cell's own mask; biases, batch norm and classifier count whole, statistics do not."""
    if cell.mask is None:
        return Absent("the masks are not known")
    return distance(cell.extra["weights"], oracle.extra["weights"], cell.mask)


@register("sparsity", unit="1", low=0.0, high=1.0, better="none", oracle=False, by_layer=True, source="definition")
def realised_sparsity(cell: Cell) -> float | Absent:
    """Share of the prunable weights that the cell's mask removes."""
    if cell.mask is None:
        return Absent("the mask is not known")
    weights = [m for m in cell.mask.values() if m.ndim > 1]
    if not weights:
        return _NO_WEIGHTS
    return 1 - sum(int(m.sum()) for m in weights) / sum(m.size for m in weights)
