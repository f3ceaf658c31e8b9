"""Every metric against sparsity."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lacuna.evaluation import METRICS
from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette

SHOWN = {
    "UA": "UA: error on D_f (%)",
    "RA": "RA: accuracy on D_r (%)",
    "TA": "TA: test accuracy (%)",
    "MIA": "MIA-efficacy (%)",
}
# more rows than this are no figure; then those of `SHOWN` alone
_MOST = 8
# methods of a panel: more lines are a tangle, and become panels next to each other
_LINES = 12
# points: differences below this are not stretched over a whole panel
_LEAST_SPAN = 5.0


@register("metric_vs_sparsity", reads=("summary", "cells"), one_of=("UA", "RA", "TA", "MIA"))
def metric_vs_sparsity(summary: pd.DataFrame, cells: pd.DataFrame, palette: Palette) -> Figure:
    """Metrics against sparsity, a line per method; the oracles are the grey lines and bands.

    UA, RA, TA and MIA-efficacy, and what else the experiment measures of a model's predictions, if all are at most
    eight metrics.
    """
    summary = summary[summary["metric"].map(_of_predictions)].dropna(subset="mean")
    there = list(dict.fromkeys(summary["metric"]))
    shown = [m for m in SHOWN if m in there]
    if not shown:
        return style.message("metric_vs_sparsity: no cell has a value of UA, RA, TA or MIA")
    if len(there) <= _MOST:
        shown += [m for m in there if m not in shown]
    summary = style.with_dense(summary[summary["metric"].isin(shown)])
    groups = _groups(palette.ordered(style.methods_of(summary)))
    parts = style.panels(summary, palette.forgotten)
    # places are columns, unless the groups of methods are
    blocks = [parts] if len(groups) == 1 else [[part] * len(groups) for part in parts]
    columns = len(blocks[0])
    figure, axes = style.grid_of_axes(len(shown) * len(blocks), columns, 3.6, 1.9)
    for row, (block, metric) in enumerate(itertools.product(blocks, shown)):
        for column, (title, part) in enumerate(block):
            ax, ticks = axes[row, column], style.sparsity_ticks(part)
            rows = part[part["metric"] == metric]
            if len(groups) > 1:
                rows = rows[rows["unlearner"].isin([*groups[column], *palette.oracles])]
            if rows.empty:  # no model of this place has a value
                ax.set_axis_off()
                continue
            style.against_sparsity(ax, rows, ticks, palette, cells)
            if row % len(shown) == 0:
                style.entitle(ax, title)
            if row == len(axes) - 1:
                ax.set_xlabel("sparsity (share of convolution weights removed)" if columns < 3 else "sparsity")
            if column == 0:
                ax.set_ylabel(SHOWN.get(metric, f"{metric} ({_unit(metric)})"))
        _scale([ax for ax in axes[row] if ax.axison], metric, len(groups) > 1)
    heading = f"Metrics against sparsity — {style.subtitle(summary, style.setting_of(summary))}"
    return style.finish(figure, heading, axes)


def _groups(methods: list[str]) -> list[list[str]]:
    """The methods in groups of about one size that a panel has room for."""
    count = -(-len(methods) // _LINES)
    return [list(map(str, group)) for group in np.array_split(methods, count)] if count > 1 else [methods]


def _scale(row: list[Axes], metric: str, alike: bool) -> None:
    """Set the y axes of a row of panels: percents without a stretch of small differences; alike if of one place."""
    if alike and row:
        limits = [ax.get_ylim() for ax in row]
        for ax in row:
            ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    for ax in row if metric in SHOWN else ():
        low, high = ax.get_ylim()
        room = max(0.0, _LEAST_SPAN - (high - low)) / 2
        # a t interval of percents may leave 0 to 100; the axis need not
        ax.set_ylim(max(low - room, -5), min(high + room, 105))


def _of_predictions(metric: str) -> bool:
    """Whether a metric is one of the model alone, and no cost."""
    return metric in METRICS and not METRICS[metric].about["oracle"] and "cost" not in METRICS[metric].__module__


def _unit(metric: str) -> str:
    return str(METRICS[metric].about["unit"])
