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
    metrics = style.clustered(_means(table, chosen))
    parts = style.panels(table, palette.forgotten)
    side = max(1.6, _CELL * len(metrics))
    columns = max(1, min(len(parts), int(style.PAGE / (side + _NAMES))))
    figure, axes = style.grid_of_axes(-(-len(parts) // columns), columns, side + _NAMES, side + _NAMES + 0.3)
    unknown = False
    for place, ax in enumerate(axes.flat):
        if place >= len(parts):
            ax.set_axis_off()
            continue
        title, part = parts[place]
        ticks = style.sparsity_ticks(part)
        below, above = ticks[0], ticks[-1] if len(ticks) > 1 else None
        square = _both_halves(part, metrics, below, above)
        half = np.tri(len(metrics), k=-1, dtype=bool)
        empty = half.T if above is None else np.zeros_like(half)
        unknown |= bool(np.isnan(square[(half | half.T) & ~empty]).any())
        image = style.heat_map(ax, square, metrics, empty)
        sides = f"below: {style.sparsity_label(below)}" + (f", above: {style.sparsity_label(above)}" if above else "")
        style.entitle(ax, f"{title}\n{sides}")
    label = "Spearman's rank correlation"
    figure.colorbar(image, ax=axes, location="bottom", aspect=40, fraction=0.05, pad=0.02, shrink=0.6, label=label)
    told = [style.setting_of(table), f"{table['methods'].max()} methods", f"oracle {oracle}"]
    told += [f"{len(metrics)} of {len(there)} metrics"] if len(metrics) < len(there) else []
    told += ["light grey: one of the two has no order"] if unknown else []
    setting = ", ".join(filter(None, told))
    style.heading(figure, f"Do two metrics order the methods alike? — {setting}")
    return figure


def _means(table: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Correlations of the metrics, the mean over all places and sparsities; NaN where none is known."""
    square = pd.DataFrame(np.nan, index=metrics, columns=metrics)
    means = table.groupby(["a", "b"], sort=False)["spearman"].mean().reset_index()
    for a, b, rho in means.itertuples(index=False):
        square.loc[a, b] = square.loc[b, a] = rho
    return square


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
