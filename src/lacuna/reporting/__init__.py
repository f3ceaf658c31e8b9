"""Tables and figures, from metrics alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lacuna.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from matplotlib.figure import Figure

TABLES: Registry[Callable[..., pd.DataFrame]] = Registry("lacuna.reporting.tables", "table", __path__[0] + "/tables")
FIGURES: Registry[Callable[..., Figure]] = Registry("lacuna.reporting.figures", "figure", __path__[0] + "/figures")
