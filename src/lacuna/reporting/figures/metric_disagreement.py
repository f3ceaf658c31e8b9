"""Does the metric decide which method wins?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style

# of these as many as have a place, before any other
METRICS = ("UA", "RA", "TA", "MIA", "avg_gap", "MIA_privacy", "MIA_entropy", "KL_forget", "ToW", "parameter_distance")
_MOST = 10


@register("metric_disagreement", reads=("disagreement",), judged=2, methods=3)
def metric_disagreement(disagreement: pd.DataFrame, oracles: list[str]) -> Figure:
    """Rank correlation between the orders that each two metrics put the methods in.

    At most ten metrics: all that order the methods, or of more those of `METRICS` first. A row for each oracle; below
    the diagonal of each map the least sparse state, above it the sparsest.
    """
    disagreement = disagreement.dropna(subset="spearman")
    if disagreement.empty:
        return style.message("Do two metrics order the methods alike? — no two metrics order three methods")
    table = style.with_dense(disagreement)
    table = table.assign(a=table["metric_a"].map(style.base_name), b=table["metric_b"].map(style.base_name))
    there = list(dict.fromkeys([*table["a"], *table["b"]]))
    first = [m for m in METRICS if m in there]
    chosen = [*first, *(m for m in there if m not in first)][:_MOST]
    metrics = [m for m in there if m in chosen]
    table = table[table["a"].isin(metrics) & table["b"].isin(metrics)]
    parts = style.panels(table)
    side = max(2.4, 0.36 * len(metrics))
    figure, axes = style.grid_of_axes(len(oracles), len(parts), side + 1.2, side + 0.6)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        below, above = ticks[0], ticks[-1] if len(ticks) > 1 else None
        for row, oracle in enumerate(oracles):
            ax = axes[row, column]
            found = part[part["oracle"] == oracle]
            image = style.heat_map(ax, _both_halves(found, metrics, below, above), metrics)
            if row == 0:
                sides = f"below: {style.sparsity_label(below)}" + (
                    f", above: {style.sparsity_label(above)}" if above else ""
                )
                ax.set_title(f"{title}\n{sides}", fontsize=9)
            if column == 0:
                ax.set_ylabel(f"against {oracle}")
    figure.colorbar(image, ax=axes, shrink=0.6, label="Spearman's rank correlation of the methods' orders")
    told = [style.setting_of(table), f"{table['methods'].max()} methods"]
    told += [f"{len(metrics)} of {len(there)} metrics"] if len(metrics) < len(there) else []
    told += ["grey: one of the two has no order"]
    setting = ", ".join(filter(None, told))
    style.heading(figure, f"Do two metrics order the methods alike? — {setting}")
    return figure


def _both_halves(found: pd.DataFrame, metrics: list[str], below: str, above: str | None) -> np.ndarray:
    """A square of correlations, one sparsity below the diagonal and another above; NaN where there is none."""
    square = np.full((len(metrics), len(metrics)), np.nan)
    for sparsity, a, b, rho in zip(*(found[c] for c in ("sparsity", "a", "b", "spearman")), strict=True):
        first, second = sorted((metrics.index(a), metrics.index(b)))
        if sparsity == below:
            square[second, first] = rho
        elif sparsity == above:
            square[first, second] = rho
    return square
