"""Tables and figures, from metrics alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lacuna.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

FIGURES: Registry[Callable[..., Figure]] = Registry("lacuna.reporting.figures", "figure", __path__[0] + "/figures")
