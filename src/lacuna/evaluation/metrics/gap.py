"""Distance to an oracle in the accuracies that papers print."""

from __future__ import annotations

import math

from lacuna.evaluation.cell import Cell, Noted, note_of
from lacuna.evaluation.metrics.accuracy import retain_accuracy, test_accuracy, unlearning_accuracy
from lacuna.evaluation.metrics.membership import mia_confidence
from lacuna.evaluation.notes import DRAW_OF_MEMBERS
from lacuna.registry import register

GAP_METRICS = (unlearning_accuracy, retain_accuracy, test_accuracy, mia_confidence)
_TOW = {
    "unit": "1",
    "low": 0.0,
    "high": 1.0,
    "better": "higher",
    "oracle": True,
    "source": "Zhao et al., NeurIPS 2024 (RUM)",
}


@register("avg_gap", unit="points", low=0.0, high=100.0, better="lower", oracle=True, source="Fan et al., ICLR 2024")
def average_gap(cell: Cell, oracle: Cell) -> float:
    """Mean of |ΔUA|, |ΔRA|, |ΔTA|, |ΔMIA| to the oracle, in percentage points."""
    gaps = [abs(metric(cell) - metric(oracle)) for metric in GAP_METRICS]
    return _noted(sum(gaps) / len(gaps), cell, oracle)


@register("ToW", **_TOW)
def tug_of_war(cell: Cell, oracle: Cell) -> float:
    """Tug of war: (1 − |ΔUA|)(1 − |ΔRA|)(1 − |ΔTA|) to the oracle, accuracies as fractions; 1 for the oracle itself."""
    metrics = (unlearning_accuracy, retain_accuracy, test_accuracy)
    return math.prod(1 - abs(metric(cell) - metric(oracle)) / 100 for metric in metrics)


@register("ToW_MIA", **_TOW)
def tug_of_war_membership(cell: Cell, oracle: Cell) -> float:
    """Tug of war with membership: (1 − |ΔMIA|)(1 − |ΔRA|)(1 − |ΔTA|) to the oracle, as fractions."""
    metrics = (mia_confidence, retain_accuracy, test_accuracy)
    return _noted(math.prod(1 - abs(metric(cell) - metric(oracle)) / 100 for metric in metrics), cell, oracle)


def _noted(value: float, cell: Cell, oracle: Cell) -> Noted:
    """The value, with a note where the MIA on either side has one; its numbers stand there, not here."""
    whose = [who for who, of in (("its", cell), ("the oracle's", oracle)) if note_of(mia_confidence(of))]
    return Noted(value, f"{' and '.join(whose)} {DRAW_OF_MEMBERS}" if whose else "")
