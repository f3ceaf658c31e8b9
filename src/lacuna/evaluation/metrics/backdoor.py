"""Does the backdoor still open?

On a dataset with a `backdoor` alone (`docs/backdoor.md`); triggered are the stamped test images of every class but the
target.
"""

from __future__ import annotations

import numpy as np

from lacuna.evaluation.cell import Absent, Cell
from lacuna.registry import register

_ABOUT = {"unit": "%", "low": 0.0, "high": 100.0, "oracle": False, "needs": ("meta",)}
_NONE = Absent("the dataset has no backdoor")


@register("SA", **_ABOUT, better="higher", source="Jia et al., NeurIPS 2023")
def standard_accuracy(cell: Cell) -> float | Absent:
    """Standard accuracy: accuracy on all clean test images, those of a forgotten class included."""
    if not cell.extra["meta"].get("backdoor"):
        return _NONE
    clean = [cell[part] for part in ("test", "test_forgotten") if part in cell.parts]
    hits = np.concatenate([part.logits.argmax(1) == part.labels for part in clean])
    return 100.0 * float(hits.mean())


@register("ASR", **_ABOUT, better="lower", source="Jia et al., NeurIPS 2023")
def attack_success_rate(cell: Cell) -> float | Absent:
    """Attack success rate: share of the triggered test images of classes ≠ target that are classified as the target.

    A network that never saw the square is at the rate of its clean errors towards the target, not at 0.
    """
    backdoor = cell.extra["meta"].get("backdoor")
    if not backdoor:
        return _NONE
    asked = cell["triggered"]
    others = asked.labels != backdoor["target"]
    if not others.any():
        return Absent("every triggered image is of the target's own class")
    return 100.0 * float((asked.logits.argmax(1)[others] == backdoor["target"]).mean())
