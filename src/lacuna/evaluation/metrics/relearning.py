"""How fast a model learns D_f again: what it still knows shows in the time."""

from __future__ import annotations

from lacuna.evaluation.cell import Absent, Cell
from lacuna.registry import register

# A job of its own for every cell: computed only where the config asks for it.
_ABOUT = {"low": 0.0, "high": None, "needs": ("relearn",), "default": False}


def _epochs(cell: Cell, whose: str) -> float | Absent:
    relearning = cell.extra["relearn"]
    if relearning["epochs"] is not None:
        return float(relearning["epochs"])
    return Absent(
        f"{whose} is at {relearning['accuracy'][-1]:.2f} % on D_f after {len(relearning['accuracy']) - 1} epochs, "
        f"not yet at {relearning['target']:.2f} %"
    )


@register("relearn_epochs", **_ABOUT, unit="epochs", better="oracle", oracle=False, source="Golatkar et al., CVPR 2020")
def relearn_epochs(cell: Cell) -> float | Absent:
    """Relearn time: epochs of fine-tuning on D_f until its accuracy is back at (1 − margin) of the original model's.

    0 if it never was below. Settings in the config under `relearning`.
    """
    return _epochs(cell, "the model")


@register("AIN", **_ABOUT, unit="1", better="none", oracle=True, source="Chundawat et al., IEEE TIFS 2023")
def anamnesis_index(cell: Cell, oracle: Cell) -> float | Absent:
    """Anamnesis index: relearn time divided by the oracle's; 1 at the oracle, below 1 where knowledge is left."""
    own, its = _epochs(cell, "the model"), _epochs(oracle, "the oracle")
    if isinstance(own, Absent) or isinstance(its, Absent):
        return own if isinstance(own, Absent) else its
    return Absent("the oracle needs no epoch to relearn D_f") if its == 0 else own / its
