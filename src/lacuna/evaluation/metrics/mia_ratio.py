"""How far MIA-efficacy moves with what should not matter: the attack's balance of members, and the size of D_f."""

from __future__ import annotations

from lacuna.evaluation.cell import Cell
from lacuna.evaluation.metrics.membership import DRAWS, confidence, efficacy, mia_confidence
from lacuna.registry import register

_SOURCE = "Xiao et al., 2025 (un-pruning)"
_ABOUT = {
    "unit": "%",
    "low": 0.0,
    "high": 100.0,
    "better": "oracle",
    "oracle": False,
    "default": False,
    "source": _SOURCE,
}


@register("MIA_ratio_0.90", **_ABOUT)
def mia_ratio_90(cell: Cell) -> float:
    """MIA with 0.9 members for one non-member."""
    return efficacy(cell, confidence, 0.9, draws=DRAWS)


@register("MIA_ratio_0.95", **_ABOUT)
def mia_ratio_95(cell: Cell) -> float:
    """MIA with 0.95 members for one non-member."""
    return efficacy(cell, confidence, 0.95, draws=DRAWS)


@register("MIA_ratio_1.00", **_ABOUT)
def mia_ratio_100(cell: Cell) -> float:
    """MIA itself: one member for one non-member."""
    return mia_confidence(cell)


@register("MIA_ratio_1.05", **_ABOUT)
def mia_ratio_105(cell: Cell) -> float:
    """MIA with 1.05 members for one non-member."""
    return efficacy(cell, confidence, 1.05, draws=DRAWS)


@register("MIA_ratio_1.10", **_ABOUT)
def mia_ratio_110(cell: Cell) -> float:
    """MIA with 1.1 members for one non-member."""
    return efficacy(cell, confidence, 1.1, draws=DRAWS)


@register(
    "forget_size",
    unit="samples",
    low=1.0,
    high=None,
    better="none",
    oracle=False,
    default=False,
    source="definition",
)
def forget_size(cell: Cell) -> float:
    """|D_f|, the samples to be forgotten."""
    return float(len(cell["forget"].labels))
