"""What closeness to the oracle costs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import BAND_EDGE, FLOOR, FLOOR_BAND, Palette

# counted first: the seconds of one method on a shared machine differ more than those of two methods
COSTS = {"samples": "samples that the method read", "time_s": "time of the method (s of wall clock)"}

# methods of a panel that is half a page wide
_FEW = 12


@register("time_vs_gap", reads=("summary",), metrics=("avg_gap",), one_of=tuple(COSTS), methods=1, acting=1)
def time_vs_gap(summary: pd.DataFrame, palette: Palette) -> Figure:
    """Average gap against the samples that a method read, else its seconds; lower left is better.

    Points grow with sparsity. `original`, which costs nothing, is left out.
    """
    summary = style.with_dense(summary.dropna(subset="mean"))
    cost = next((metric for metric in COSTS if metric in set(summary["metric"])), None)
    gaps_there = summary["metric"].isin([f"avg_gap/{oracle}" for oracle in palette.oracles])
    methods = [m for m in palette.ordered(style.methods_of(summary[gaps_there])) if m not in palette.originals]
    if cost is None or not methods:
        return style.message("time_vs_gap: no method has both a gap to an oracle and a cost")
    parts = style.panels(summary[gaps_there | (summary["metric"] == cost)], palette.forgotten)
    sizes = {s: 4 + 2.0 * i for i, s in enumerate(style.sparsity_ticks(summary))}
    figure, axes = style.grid_of_axes(
        len(palette.oracles), len(parts), *((3.6, 2.4) if len(methods) <= _FEW else (6.8, 3.4))
    )
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        costs = part[part["metric"] == cost].set_index(["unlearner", "sparsity"])["mean"]
        for row, oracle in enumerate(palette.oracles):
            ax = axes[row, column]
            gaps = part[part["metric"] == f"avg_gap/{oracle}"].set_index(["unlearner", "sparsity"])
            floor = gaps[f"gap_{oracle}_floor"].min()
            drawn = []
            for method in methods:
                here = [(method, s) for s in ticks if (method, s) in gaps.index and (method, s) in costs.index]
                x, y, look = [costs[key] for key in here], [gaps["mean"][key] for key in here], palette.look(method)
                ax.plot(x, y, color=look.colour, linewidth=0.8, alpha=0.6)
                still = style.unchanged(gaps.loc[here])
                for i, (_, sparsity) in enumerate(here):
                    mark = style.mark_of(look) | {"markersize": sizes[sparsity]}
                    ax.plot(x[i], y[i], label=method, **mark)
                    if still[i]:
                        style.hollow(ax, x[i], y[i], **mark)
                drawn += x
            if (oracle, ticks[-1]) in costs.index:
                label = (
                    f"the panel's oracle, {style.sparsity_label(ticks[-1])}" if len(ticks) > 1 else "the panel's oracle"
                )
                ax.axvline(costs[oracle, ticks[-1]], color="#555555", linestyle=":", label=label)
            if floor > 0:
                band = {"facecolor": FLOOR_BAND, "edgecolor": FLOOR, "linewidth": BAND_EDGE}
                ax.axhspan(0, floor, zorder=0, label="within the noise floor", **band)
            if drawn and min(drawn) > 0:
                ax.set_xscale("log")
                style.plain_logs(ax.xaxis)
            elif any(drawn):  # a method that reads no sample has a place too
                ax.set_xscale("symlog", linthresh=min(value for value in drawn if value > 0))
            if len(sizes) > 1 and row == column == 0:
                _tell_sizes(ax, sizes)
            if row == 0:
                style.entitle(ax, title)
            if row == len(palette.oracles) - 1:
                ax.set_xlabel(COSTS[cost])
            if column == 0:
                ax.set_ylabel(f"avg gap to {oracle}\n(percentage points)")
    setting = ", ".join(filter(None, [style.setting_of(summary), style.seeds_of(summary)]))
    return style.finish(figure, f"{'Samples' if cost == 'samples' else 'Time'} against gap — {setting}", axes)


def _tell_sizes(ax: Axes, sizes: Mapping[str, float]) -> None:
    """A point of each sparsity's size for the legend alone."""
    for sparsity, size in sizes.items():
        label = f"size of a point: {style.sparsity_label(sparsity)}"
        ax.plot([], [], linestyle="none", marker="o", color="#777777", markersize=size, label=label)
