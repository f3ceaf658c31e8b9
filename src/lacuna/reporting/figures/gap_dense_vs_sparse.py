"""Does a sparse model forget better? The average gap, dense beside sparse."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import FLOOR, Palette, shades

_ARROWS = {"farther": "↑", "closer": "↓"}
_VERDICTS = "↑ farther from the oracle than its second run, ↓ closer (p < 0.05, adjusted over the methods)"
# inches: a bar, which has room for a label of 6 points behind it; the space between two methods
_BAR, _SPACE = 0.105, 0.07


class _Row(NamedTuple):
    """What a panel's bars share: cells.csv, the most seeds of a row, the oracle, the height of a bar in methods."""

    cells: pd.DataFrame
    seeds: int
    oracle: str
    bar: float


@register("gap_dense_vs_sparse", reads=("summary", "cells"), metrics=("avg_gap",), methods=1)
def gap_dense_vs_sparse(summary: pd.DataFrame, cells: pd.DataFrame, palette: Palette) -> Figure:
    """Average gap to each oracle, one group of bars per method, one bar per sparsity; lower is closer.

    A bar up to its noise floor is no further from the oracle than the oracle's own second run. Intervals end at 0, for
    no gap is negative. n behind a bar: seeds that it has, where others have more.
    """
    oracles = palette.oracles
    metrics = [f"avg_gap/{oracle}" for oracle in oracles]
    summary = style.with_dense(summary[summary["metric"].isin(metrics)].dropna(subset="mean"))
    methods = palette.ordered(style.methods_of(summary))
    if not methods:
        return style.message("gap_dense_vs_sparse: no method has a gap to an oracle")
    parts = [(*part, oracle) for part in style.panels(summary, palette.forgotten) for oracle in oracles]
    most = max(len(style.sparsity_ticks(part)) for _, part, _ in parts)
    columns = min(2, len(parts))
    pitch = most * _BAR + _SPACE
    height = pitch * len(methods) + 0.75
    figure, axes = style.grid_of_axes(-(-len(parts) // columns), columns, 3.6 if columns > 1 else 5.0, height)
    # of which the names of the methods leave this much to a panel
    room = (figure.get_figwidth() - 0.07 * max(map(len, methods)) - 0.3) / columns - 0.35
    for place, ax in enumerate(axes.flat):
        if place >= len(parts):
            ax.set_axis_off()
            continue
        title, part, oracle = parts[place]
        gaps = part[part["metric"] == f"avg_gap/{oracle}"]
        row = _Row(cells, int(summary["n"].max()), oracle, _BAR / pitch)
        tops = _panel(ax, gaps, style.sparsity_ticks(part), methods, oracles, row)
        # the labels stand behind the longest bar
        letters = max((len(text.get_text()) for text in ax.texts), default=1)
        share = min(0.6, (0.055 * letters + 0.08) / room)
        ax.set_xlim(0, (max(tops) or 1.0) / (1 - share))
        # what lies outside is no panel's
        ax.set_ylim(len(methods) - 0.5, -0.5)
        ax.set_yticks(range(len(methods)), methods if place % columns == 0 else [""] * len(methods))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        style.entitle(ax, title)
        ax.set_xlabel(f"avg gap to {oracle} (percentage points)")
    heading = f"Average gap to the oracles — {style.subtitle(summary, style.setting_of(summary))}"
    verdicts = [f"gap_{oracle}_verdict" for oracle in oracles]
    if summary[summary["role"] == "method"][verdicts].isin(list(_ARROWS)).any(axis=None):
        heading += f"\n{_VERDICTS}"
    return style.finish(figure, heading, axes)


def _panel(
    ax: Axes, gaps: pd.DataFrame, ticks: list[str], methods: list[str], oracles: tuple[str, ...], row: _Row
) -> list[float]:
    """The bars, floors and distances of one oracle and place; how far each reaches."""
    tops = [0.0]
    for i, (sparsity, shade) in enumerate(zip(ticks, shades(len(ticks)), strict=True)):
        of = gaps[gaps["sparsity"] == sparsity]
        rows = of[of["unlearner"].isin(methods)]
        y = rows["unlearner"].map(methods.index).to_numpy(float) + (i - (len(ticks) - 1) / 2) * row.bar
        tops += _bars(ax, y, rows, shade, row)
        floor = rows[f"gap_{row.oracle}_floor"]
        if floor.notna().any():
            label = f"noise floor of {row.oracle}: its second run"
            ax.vlines(floor, y - row.bar / 2, y + row.bar / 2, color=FLOOR, linewidth=1.6)
            # upright in the legend too
            ax.plot([], [], color=FLOOR, linestyle="none", marker="|", markersize=8, markeredgewidth=1.6, label=label)
            tops.append(float(floor.max()))
            continue
        for other in oracles:
            distance = of[of["unlearner"] == other]["mean"]
            if other != row.oracle and len(distance):
                label = f"distance between the oracles, {style.sparsity_label(sparsity)}"
                ax.axvline(distance.iloc[0], color=shade, linewidth=1, ls=":", zorder=0.5, label=label)
                tops.append(float(distance.iloc[0]))
    return tops


def _bars(ax: Axes, y: np.ndarray, rows: pd.DataFrame, shade: str, row: _Row) -> list[float]:
    """One bar per row of one sparsity with its interval or single seeds, and its label; the outer ends of all."""
    mean, low, high = (rows[c].to_numpy(float) for c in ("mean", "ci_low", "ci_high"))
    known = np.isfinite(low) & np.isfinite(high)
    bars = ax.barh(y, mean, row.bar * 0.92, color=shade)
    if len(rows):  # a bar for the legend, whatever is hatched
        ax.barh([np.nan], [np.nan], color=shade, label=style.sparsity_label(rows["sparsity"].iloc[0]))
    if known.any():
        error = [mean[known] - np.maximum(low[known], 0), high[known] - mean[known]]
        # with a white edge, to be seen on dark bars
        for colour, width in (("white", 2.1), ("#333333", 0.9)):
            ax.errorbar(mean[known], y[known], xerr=error, fmt="none", ecolor=colour, elinewidth=width, capthick=width)
    ends = np.where(known, high, mean)
    for position, values in style.few_seeds(rows, row.cells):
        style.dots(ax, values, np.full(len(values), y[position]), "#333333")
        ends[position] = max(ends[position], values.max())
    for bar, still in zip(bars, style.unchanged(rows), strict=True):
        if still:
            bar.set(facecolor="white", edgecolor=shade, hatch="//////")
    if style.unchanged(rows).any():
        ax.barh([np.nan], [np.nan], color="white", edgecolor="#333333", hatch="//////", label=style.UNCHANGED)
    verdicts = rows[f"gap_{row.oracle}_verdict"]
    for place, end, value, n, verdict in zip(y, ends, mean, rows["n"], verdicts, strict=True):
        text = f"{value:.1f}{_ARROWS.get(verdict, '')}" + (f"  n = {n}" if n < row.seeds else "")
        ax.annotate(
            text,
            (end, place),
            (2.5, 0),
            textcoords="offset points",
            fontsize=6,
            ha="left",
            va="center_baseline",
            # so that no dotted line crosses it
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    return list(ends)
