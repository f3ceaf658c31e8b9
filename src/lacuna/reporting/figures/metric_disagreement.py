"""Does the metric decide which method wins?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette

# of these as many as have a place, before any other
METRICS = ("UA", "RA", "TA", "MIA", "avg_gap", "MIA_privacy", "MIA_entropy", "KL_forget", "ToW", "parameter_distance")
_MOST = 32
# inches: a metric, whose number has 6 points; the names and the title
_CELL, _NAMES = 0.19, 1.15


@register("metric_disagreement", reads=("disagreement",), judged=2, methods=3)
def metric_disagreement(disagreement: pd.DataFrame, palette: Palette) -> Figure:
    """Rank correlation between the orders that each two metrics put the methods in; a map for each place.

    Metrics that agree stand together. Below the diagonal the least sparse state, above it the sparsest. Against the
    first oracle where a metric compares with one; at most 32 metrics: all, or of more those of `METRICS` first.
    """
    oracle = next(iter(palette.oracles), "")
    disagreement = disagreement[disagreement["oracle"] == oracle].dropna(subset="spearman")
    if disagreement.empty:
        return style.message("Do two metrics order the methods alike? — no two metrics order three methods")
    table = style.with_dense(disagreement)
    table = table.assign(a=table["metric_a"].map(style.base_name), b=table["metric_b"].map(style.base_name))
    there = list(dict.fromkeys([*table["a"], *table["b"]]))
    first = [m for m in METRICS if m in there]
    chosen = [*first, *(m for m in there if m not in first)][:_MOST]
    table = table[table["a"].isin(chosen) & table["b"].isin(chosen)]
    metrics = clustered(_means(table, chosen), chosen)
    parts = style.panels(table, palette.forgotten)
    side = max(1.6, _CELL * len(metrics))
    columns = max(1, min(len(parts), int(style.PAGE / (side + _NAMES))))
    figure, axes = style.grid_of_axes(-(-len(parts) // columns), columns, side + _NAMES, side + _NAMES + 0.3)
    for place, ax in enumerate(axes.flat):
        if place >= len(parts):
            ax.set_axis_off()
            continue
        title, part = parts[place]
        ticks = style.sparsity_ticks(part)
        below, above = ticks[0], ticks[-1] if len(ticks) > 1 else None
        image = style.heat_map(ax, _both_halves(part, metrics, below, above), metrics)
        sides = f"below: {style.sparsity_label(below)}" + (f", above: {style.sparsity_label(above)}" if above else "")
        style.entitle(ax, f"{title}\n{sides}")
    label = "Spearman's rank correlation"
    figure.colorbar(image, ax=axes, location="bottom", aspect=40, fraction=0.05, pad=0.02, shrink=0.6, label=label)
    told = [style.setting_of(table), f"{table['methods'].max()} methods", f"oracle {oracle}"]
    told += [f"{len(metrics)} of {len(there)} metrics"] if len(metrics) < len(there) else []
    told += ["grey: one of the two has no order"]
    setting = ", ".join(filter(None, told))
    style.heading(figure, f"Do two metrics order the methods alike? — {setting}")
    return figure


def _means(table: pd.DataFrame, metrics: list[str]) -> np.ndarray:
    """Correlations [n, n], the mean over all places and sparsities; 0 where there is none."""
    square = np.eye(len(metrics))
    means = table.groupby(["a", "b"], sort=False)["spearman"].mean().reset_index()
    for a, b, rho in means.itertuples(index=False):
        i, j = metrics.index(a), metrics.index(b)
        square[i, j] = square[j, i] = rho
    return square


def clustered(correlations: np.ndarray, names: list[str]) -> list[str]:
    """The names in an order in which those that correlate are neighbours.

    The two groups that correlate most, on average over their pairs, become one, until one is left; a group is turned
    round where that brings its nearest ends together. correlations: [n, n], symmetric.
    """
    groups = [[i] for i in range(len(names))]
    while len(groups) > 1:
        pairs = [(a, b) for b in range(len(groups)) for a in range(b)]
        a, b = max(pairs, key=lambda pair: correlations[np.ix_(groups[pair[0]], groups[pair[1]])].mean())
        first, second = groups[a], groups.pop(b)
        turned = [(x, y) for x in (first, first[::-1]) for y in (second, second[::-1])]
        x, y = max(turned, key=lambda ends: correlations[ends[0][-1], ends[1][0]])
        groups[a] = x + y
    return [names[i] for i in groups[0]]


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
