"""Every metric against sparsity."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style

METRICS = {
    "UA": "UA: error on D_f (%)",
    "RA": "RA: accuracy on D_r (%)",
    "TA": "TA: test accuracy (%)",
    "MIA": "MIA-efficacy (%)",
}
# points: differences below this are not stretched over a whole panel
_LEAST_SPAN = 5.0


@register("metric_vs_sparsity", reads=("summary", "cells"), one_of=("UA", "RA", "TA", "MIA"))
def metric_vs_sparsity(summary: pd.DataFrame, cells: pd.DataFrame, oracles: list[str]) -> Figure:
    """UA, RA, TA and MIA-efficacy against sparsity, a line per method; the oracles are the grey lines and bands."""
    looks = style.style_of(style.methods_of(summary))
    summary = summary[summary["metric"].isin(list(METRICS))].dropna(subset="mean")
    if summary.empty:
        return style.message("metric_vs_sparsity: no cell has a value of UA, RA, TA or MIA")
    summary = style.with_dense(summary)
    shown = [m for m in METRICS if m in set(summary["metric"])]
    parts = style.panels(summary)
    figure, axes = style.grid_of_axes(len(shown), len(parts), 3.6, 2.1)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        for row, metric in enumerate(shown):
            ax = axes[row, column]
            style.against_sparsity(ax, part[part["metric"] == metric], ticks, oracles, looks, cells)
            low, high = ax.get_ylim()
            room = max(0.0, _LEAST_SPAN - (high - low)) / 2
            # a t interval of percents may leave 0 to 100; the axis need not
            ax.set_ylim(max(low - room, -5), min(high + room, 105))
            if row == 0:
                ax.set_title(title, fontsize=9)
            if row == len(shown) - 1:
                ax.set_xlabel("sparsity (share of convolution weights removed)")
            if column == 0:
                ax.set_ylabel(METRICS[metric])
    heading = f"Metrics against sparsity — {style.subtitle(summary, style.setting_of(summary))}"
    return style.finish(figure, heading, axes)
