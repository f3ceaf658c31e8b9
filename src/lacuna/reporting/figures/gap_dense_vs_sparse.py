"""Does a sparse model forget better? The average gap, dense beside sparse."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style

# light to dark with sparsity, from matplotlib's colour-blind safe viridis
_SHADES = ("#BDDF26", "#35B779", "#31688E", "#440154", "#2D1B38", "#000000")
_FLOOR = "#D55E00"
_ARROWS = {"farther": "↑", "closer": "↓"}
_VERDICTS = "↑ farther from the oracle than its second run, ↓ closer (excess_p < 0.05)"
# inches: a bar with a label beside it that stands upright, and one with a label that lies
_UPRIGHT, _LYING = 0.13, 0.42


@register("gap_dense_vs_sparse", reads=("summary", "cells"), metrics=("avg_gap",), methods=1)
def gap_dense_vs_sparse(summary: pd.DataFrame, cells: pd.DataFrame, oracles: list[str]) -> Figure:
    """Average gap to each oracle, one group of bars per method, one bar per sparsity; lower is closer.

    A bar up to its noise floor is no further from the oracle than the oracle's own second run. Intervals end at 0, for
    no gap is negative. n on a bar: seeds that it has, where others have more.
    """
    metrics = [f"avg_gap/{oracle}" for oracle in oracles]
    summary = style.with_dense(summary[summary["metric"].isin(metrics)].dropna(subset="mean"))
    methods = style.methods_of(summary)
    if not methods:
        return style.message("gap_dense_vs_sparse: no method has a gap to an oracle")
    parts = style.panels(summary)
    most = max(len(style.sparsity_ticks(part)) for _, part in parts)
    shades = _shades(most)
    seeds = int(summary["n"].max())
    width = max(3.6, 0.75 * len(methods), _UPRIGHT * most * len(methods) / 0.8)
    # of what is left beside the axis of the first column
    lying = 0.8 * (width - 0.7) / (most * len(methods)) >= _LYING
    figure, axes = style.grid_of_axes(len(oracles), len(parts), width, 2.4)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        for row, oracle in enumerate(oracles):
            ax = axes[row, column]
            gaps = part[part["metric"] == f"avg_gap/{oracle}"]
            tops = [0.0]
            for i, sparsity in enumerate(ticks):
                of = gaps[gaps["sparsity"] == sparsity]
                rows = of[of["unlearner"].isin(methods)]
                bar = 0.8 / len(ticks)
                x = rows["unlearner"].map(methods.index).to_numpy(float) + (i - (len(ticks) - 1) / 2) * bar
                tops += _bars(ax, x, bar, rows, cells, shades[i], (seeds, oracle, lying))
                floor = rows[f"gap_{oracle}_floor"]
                if floor.notna().any():
                    label = f"noise floor of {oracle}: its second run"
                    ax.hlines(floor, x - bar / 2, x + bar / 2, color=_FLOOR, linewidth=1.6, label=label)
                    tops.append(float(floor.max()))
                    continue
                for other in oracles:
                    distance = of[of["unlearner"] == other]["mean"]
                    if other != oracle and len(distance):
                        label = f"distance between the oracles, {style.sparsity_label(sparsity)}"
                        ax.axhline(distance.iloc[0], color=shades[i], linewidth=1, ls=":", label=label)
                        tops.append(float(distance.iloc[0]))
            # the labels stand above the highest bar
            ax.set_ylim(0, (max(tops) or 1.0) * (1.25 if lying else 1.5))
            ax.set_xlim(-0.5, len(methods) - 0.5)
            style.name_ticks(ax, methods)
            ax.grid(axis="x", visible=False)
            if row == 0:
                ax.set_title(title, fontsize=9)
            if column == 0:
                ax.set_ylabel(f"avg gap to {oracle}\n(percentage points)")
    heading = f"Average gap to the oracles — {style.subtitle(summary, style.setting_of(summary))}"
    verdicts = [f"gap_{oracle}_verdict" for oracle in oracles]
    if summary[summary["role"] == "method"][verdicts].isin(list(_ARROWS)).any(axis=None):
        heading += f"\n{_VERDICTS}"
    return style.finish(figure, heading, axes)


def _bars(
    ax: Axes,
    x: np.ndarray,
    width: float,
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    shade: str,
    told: tuple[int, str, bool],
) -> list[float]:
    """One bar per row of one sparsity with its interval or single seeds, and its label; the upper ends of all.

    told: the most seeds that a row has, the oracle, and whether labels lie.
    """
    seeds, oracle, lying = told
    mean, low, high = (rows[c].to_numpy(float) for c in ("mean", "ci_low", "ci_high"))
    known = np.isfinite(low) & np.isfinite(high)
    bars = ax.bar(x, mean, width * 0.92, color=shade)
    if len(rows):  # a bar for the legend, whatever is hatched
        ax.bar([np.nan], [np.nan], color=shade, label=style.sparsity_label(rows["sparsity"].iloc[0]))
    if known.any():
        error = [mean[known] - np.maximum(low[known], 0), high[known] - mean[known]]
        ax.errorbar(x[known], mean[known], yerr=error, fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
    ends = np.where(known, high, mean)
    for position, values in style.few_seeds(rows, cells):
        style.dots(ax, np.full(len(values), x[position]), values, "#333333")
        ends[position] = max(ends[position], values.max())
    for bar, still in zip(bars, style.unchanged(rows), strict=True):
        if still:
            bar.set(facecolor="white", edgecolor=shade, hatch="////")
    if style.unchanged(rows).any():
        ax.bar([np.nan], [np.nan], color="white", edgecolor="#333333", hatch="////", label=style.UNCHANGED)
    verdicts = rows[f"gap_{oracle}_verdict"]
    for place, end, value, n, verdict in zip(x, ends, mean, rows["n"], verdicts, strict=True):
        text = f"{value:.1f}{_ARROWS.get(verdict, '')}"
        text += f"{chr(10) if lying else '  '}n = {n}" if n < seeds else ""
        above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
        above["rotation"] = 0 if lying else 90
        ax.annotate(text, (place, end), (0, 2), fontsize=6, **above)
    return list(ends)


def _shades(count: int) -> list[str]:
    """A colour for each of so many sparsities."""
    if count <= len(_SHADES):
        return list(_SHADES[:count])
    colours = mpl.colormaps["viridis_r"](np.linspace(0.05, 1, count))
    return [mpl.colors.to_hex(colour) for colour in colours]
