"""Accuracies: what was forgotten, what was kept."""

from __future__ import annotations

import numpy as np

from lacuna.evaluation.cell import Absent, Cell, Noted
from lacuna.evaluation.notes import FEW_FORGOTTEN, ONE_CLASS
from lacuna.registry import register

# a D_f with fewer samples: each of them is 5 points of UA or more
FEW_SAMPLES = 20
_PERCENT = {"unit": "%", "low": 0.0, "high": 100.0, "oracle": False}


@register("UA", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def unlearning_accuracy(cell: Cell) -> float:
    """Unlearning accuracy: 100 − accuracy on D_f."""
    n = len(cell["forget"].labels)
    note = f"{FEW_FORGOTTEN}{n} sample{'s' if n > 1 else ''}: one is {100 / n:.3g} points"
    return Noted(100.0 - cell["forget"].accuracy, note if n < FEW_SAMPLES else "")


@register("RA", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def retain_accuracy(cell: Cell) -> float:
    """Retain accuracy: accuracy on D_r."""
    return cell["retain"].accuracy


@register("TA", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def test_accuracy(cell: Cell) -> float:
    """Test accuracy; under class forgetting, on the test set without the forgotten class."""
    part = cell["test"]
    # an answer that is always the same is as often right as its class is there
    chance = 100.0 * float(np.bincount(part.labels).max()) / len(part.labels)
    note = f"{ONE_CLASS} ({chance:.0f} %)"
    return Noted(part.accuracy, note if part.accuracy <= chance < 100.0 else "")


@register("TA_forgotten", **_PERCENT, better="oracle", source="Jia et al., NeurIPS 2023")
def forgotten_test_accuracy(cell: Cell) -> float | Absent:
    """Accuracy on the test samples of the forgotten class; only where a scenario forgets a part of the label space."""
    if "test_forgotten" not in cell.parts:
        return Absent("the predictions do not hold what it is computed from")
    return cell["test_forgotten"].accuracy
