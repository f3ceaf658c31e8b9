"""What unlearning costs."""

from __future__ import annotations

from lacuna.evaluation.cell import Cell
from lacuna.registry import register


@register("time_s", unit="s", low=0.0, high=None, better="lower", oracle=False, source="definition")
def seconds(cell: Cell) -> float | None:
    """Wall-clock seconds of the method alone: no import, no file, no validation pass."""
    return cell.seconds


@register("speedup", unit="×", low=0.0, high=None, better="higher", oracle=True, source="definition")
def speedup(cell: Cell, oracle: Cell) -> float | None:
    """The oracle's seconds divided by the method's; left out for a method that takes no time (`original`)."""
    if cell.seconds is None or oracle.seconds is None or cell.seconds < 1e-3:
        return None
    return oracle.seconds / cell.seconds
