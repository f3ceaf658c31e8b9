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


@register("metric_vs_sparsity", reads=("summary",))
def metric_vs_sparsity(summary: pd.DataFrame, oracles: list[str]) -> Figure:
    """UA, RA, TA and MIA-efficacy against sparsity, a line per method; the oracles are the grey lines and bands."""
    summary = style.with_dense(summary)
    shown = [m for m in METRICS if m in set(summary["metric"])]
    methods = style.methods_of(summary)
    looks = style.style_of(methods)
    parts = style.panels(summary)
    figure, axes = style.grid_of_axes(len(shown), len(parts), 3.6, 2.1)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        for row, metric in enumerate(shown):
            ax = axes[row, column]
            rows = part[part["metric"] == metric]
            for i, oracle in enumerate(oracles):
                of = rows[rows["unlearner"] == oracle].sort_values("sparsity", key=lambda s: s.astype(float))
                x = [float(ticks.index(s)) for s in of["sparsity"]]
                look = style.ORACLES[i % len(style.ORACLES)]
                ax.plot(x, of["mean"], label=f"{oracle} (oracle)", zorder=1.5, **look)
                ax.fill_between(x, of["ci_low"], of["ci_high"], color=look["color"], alpha=0.2, linewidth=0)
            for j, method in enumerate(methods):
                of = rows[rows["unlearner"] == method].sort_values("sparsity", key=lambda s: s.astype(float))
                # a small step aside, so that equal values do not hide each other
                x = [ticks.index(s) + 0.05 * (j - (len(methods) - 1) / 2) for s in of["sparsity"]]
                style.errorbar(ax, x, of, label=method, linewidth=1.2, markersize=4.5, **looks[method])
            # a t interval of percents may leave 0 to 100; the axis need not
            low, high = ax.get_ylim()
            ax.set_ylim(max(low, -5), min(high, 105))
            ax.set_xticks(range(len(ticks)), [style.label_of(s) for s in ticks])
            if row == 0:
                ax.set_title(title, fontsize=9)
            if row == len(shown) - 1:
                ax.set_xlabel("sparsity (share of convolution weights removed)")
            if column == 0:
                ax.set_ylabel(METRICS[metric])
    heading = f"Metrics against sparsity — {style.subtitle(summary, style.setting_of(summary))}"
    return style.finish(figure, heading, axes)
