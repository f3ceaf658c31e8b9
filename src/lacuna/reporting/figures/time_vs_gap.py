"""What closeness to the oracle costs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style


@register("time_vs_gap", reads=("summary",))
def time_vs_gap(summary: pd.DataFrame, oracles: list[str]) -> Figure:
    """Average gap against the method's seconds; dense points are hollow, sparser ones larger; lower left is better."""
    summary = style.with_dense(summary)
    methods = [m for m in style.methods_of(summary) if m != "original"]
    looks = style.style_of(style.methods_of(summary))
    parts = style.panels(summary)
    figure, axes = style.grid_of_axes(len(oracles), len(parts), 3.6, 2.6)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        time = part[part["metric"] == "time_s"].set_index(["unlearner", "sparsity"])["mean"]
        for row, oracle in enumerate(oracles):
            ax = axes[row, column]
            gaps = part[part["metric"] == f"avg_gap/{oracle}"].set_index(["unlearner", "sparsity"])
            gap, floor = gaps["mean"], gaps[f"gap_{oracle}_floor"].max()
            for method in methods:
                points = [(s, time[method, s], gap[method, s]) for s in ticks if (method, s) in gap.index]
                look = looks[method]
                ax.plot([p[1] for p in points], [p[2] for p in points], color=look["color"], linewidth=0.8, alpha=0.6)
                for s, seconds, value in points:
                    ax.plot(
                        seconds,
                        value,
                        marker=look["marker"],
                        color=look["color"],
                        markerfacecolor="white" if float(s) == 0 else look["color"],
                        markersize=5 + 1.5 * ticks.index(s),
                        linestyle="none",
                        label=method if s == ticks[-1] else None,
                    )
            if (oracle, ticks[-1]) in time.index:
                ax.axvline(time[oracle, ticks[-1]], color="#555555", linestyle=":", label="time of the panel's oracle")
            if floor > 0:
                ax.axhspan(0, floor, color="#F0E0D8", zorder=0, label="below the noise floor")
            ax.set_xscale("log")
            style.plain_logs(ax.xaxis)
            if row == 0:
                ax.set_title(title, fontsize=9)
            if row == len(oracles) - 1:
                ax.set_xlabel("time of the method (s)")
            if column == 0:
                ax.set_ylabel(f"avg gap to {oracle}\n(percentage points)")
    sparsities = ", ".join(style.label_of(s) for s in style.sparsity_ticks(summary))
    setting = ", ".join(filter(None, [style.setting_of(summary), style.seeds_of(summary)]))
    heading = f"Time against gap — {setting}\nhollow to large: {sparsities}"
    return style.finish(figure, heading, axes)
