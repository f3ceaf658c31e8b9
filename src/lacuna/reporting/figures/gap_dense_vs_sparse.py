"""Does a sparse model forget better? The average gap, dense beside sparse."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style

# light to dark with sparsity, from matplotlib's colour-blind safe viridis
_SHADES = ("#BDDF26", "#35B779", "#31688E", "#440154", "#2D1B38", "#000000")


@register("gap_dense_vs_sparse", reads=("summary",))
def gap_dense_vs_sparse(summary: pd.DataFrame, oracles: list[str]) -> Figure:
    """Average gap to each oracle, one group of bars per method, one bar per sparsity; lower is closer.

    A bar up to its noise floor is no further from the oracle than the oracle's own second run.
    """
    summary = style.with_dense(summary)
    parts = style.panels(summary)
    methods = style.methods_of(summary)
    figure, axes = style.grid_of_axes(len(oracles), len(parts), max(3.6, 0.75 * len(methods)), 2.4)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        width = 0.8 / len(ticks)
        for row, oracle in enumerate(oracles):
            ax = axes[row, column]
            gaps = part[part["metric"] == f"avg_gap/{oracle}"].set_index(["unlearner", "sparsity"])
            for i, sparsity in enumerate(ticks):
                here = [(m, sparsity) for m in methods if (m, sparsity) in gaps.index]
                rows = gaps.loc[here]
                x = np.array([methods.index(m) for m, _ in here]) + (i - (len(ticks) - 1) / 2) * width
                shade = _SHADES[min(i, len(_SHADES) - 1)]
                error = np.array([rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"]])
                ends = {} if np.isnan(error).all() else {"yerr": np.nan_to_num(error), "capsize": 2}
                bars = ax.bar(x, rows["mean"], width * 0.92, color=shade, label=style.label_of(sparsity), **ends)
                ax.bar_label(bars, fmt="%.1f", fontsize=6, padding=1)
                floor = rows[f"gap_{oracle}_floor"]
                if floor.notna().any():
                    label = "noise floor: the oracle's second run"
                    ax.hlines(floor, x - width / 2, x + width / 2, color="#D55E00", linewidth=1.6, label=label)
                    continue
                for other in oracles:
                    if other != oracle and (other, sparsity) in gaps.index:
                        label = "distance between the oracles, same sparsity"
                        ax.axhline(gaps.loc[(other, sparsity), "mean"], color=shade, linewidth=1, ls=":", label=label)
            style.name_ticks(ax, methods)
            ax.grid(axis="x", visible=False)
            if row == 0:
                ax.set_title(title, fontsize=9)
            if column == 0:
                ax.set_ylabel(f"avg gap to {oracle}\n(percentage points)")
    heading = f"Average gap to the oracles — {style.subtitle(summary, style.setting_of(summary))}"
    return style.finish(figure, heading, axes)
