"""Accuracies: what was forgotten, what was kept."""

from __future__ import annotations

from lacuna.evaluation.cell import Cell
from lacuna.registry import register

_PERCENT = {"unit": "%", "low": 0.0, "high": 100.0, "oracle": False}


@register("UA", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def unlearning_accuracy(cell: Cell) -> float:
    """Unlearning accuracy: 100 − accuracy on D_f."""
    return 100.0 - cell["forget"].accuracy


@register("RA", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def retain_accuracy(cell: Cell) -> float:
    """Retain accuracy: accuracy on D_r."""
    return cell["retain"].accuracy


@register("TA", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def test_accuracy(cell: Cell) -> float:
    """Test accuracy; under class forgetting, on the test set without the forgotten class."""
    return cell["test"].accuracy


@register("TA_forgotten", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def forgotten_test_accuracy(cell: Cell) -> float | None:
    """Accuracy on the test samples of the forgotten class; only where a scenario forgets a part of the label space."""
    return cell["test_forgotten"].accuracy if "test_forgotten" in cell.parts else None
