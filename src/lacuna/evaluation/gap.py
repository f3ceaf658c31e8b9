"""Distance to an oracle in the accuracies that papers print."""

from __future__ import annotations

from lacuna.evaluation.accuracy import retain_accuracy, test_accuracy, unlearning_accuracy
from lacuna.evaluation.cell import Cell
from lacuna.evaluation.membership import mia_confidence
from lacuna.registry import register

GAP_METRICS = (unlearning_accuracy, retain_accuracy, test_accuracy, mia_confidence)


@register("avg_gap", unit="points", low=0.0, high=100.0, better="lower", oracle=True, source="Fan et al., ICLR 2024")
def average_gap(cell: Cell, oracle: Cell) -> float:
    """Mean of |ΔUA|, |ΔRA|, |ΔTA|, |ΔMIA| to the oracle, in percentage points."""
    return sum(abs(metric(cell) - metric(oracle)) for metric in GAP_METRICS) / len(GAP_METRICS)
