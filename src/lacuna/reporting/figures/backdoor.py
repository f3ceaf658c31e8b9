"""Does unlearning close a backdoor, and does sparsity help?"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette

METRICS = {"ASR": "ASR: triggered images\ncalled the target (%)", "SA": "SA: accuracy on\nclean test images (%)"}


@register("backdoor", reads=("backdoor",), metrics=("SA", "ASR"))
def backdoor(backdoor: pd.DataFrame, palette: Palette) -> Figure:
    """ASR and SA against sparsity: dotted black before unlearning, a line per method after it, the oracles in grey."""
    table = style.with_dense(backdoor.dropna(subset="after"))
    if table.empty:
        return style.message("backdoor: no cell has a value of ASR or SA")
    methods = palette.ordered(style.methods_of(table))
    parts = style.panels(table, palette.forgotten)
    figure, axes = style.grid_of_axes(len(METRICS), len(parts), 4.2, 2.6)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        for row, (metric, words) in enumerate(METRICS.items()):
            ax = axes[row, column]
            rows = part[part["metric"] == metric].sort_values("sparsity", key=lambda s: s.astype(float), kind="stable")
            # the same for every method, unless some lack a seed
            before = rows.drop_duplicates("sparsity").dropna(subset="before")
            x = [float(ticks.index(s)) for s in before["sparsity"]]
            ax.plot(x, before["before"], color="black", linestyle=":", linewidth=1.6, marker=".", label="before")
            after = rows.rename(columns={"after": "mean", "after_low": "ci_low", "after_high": "ci_high"})
            for oracle in palette.oracles:
                style.draw_oracle(ax, after[after["unlearner"] == oracle], ticks, palette)
            for j, method in enumerate(methods):
                of = after[after["unlearner"] == method]
                x = [ticks.index(s) + style.aside(j, len(methods)) for s in of["sparsity"]]
                style.errorbar(ax, x, of, label=method, **style.line_of(palette.look(method)))
            ax.set_ylim(-3, 103)
            style.sparsity_axis(ax, ticks)
            if row == 0:
                style.entitle(ax, title)
            else:
                ax.set_xlabel("sparsity (share of convolution weights removed)")
            if column == 0:
                ax.set_ylabel(words)
    heading = f"Backdoor before and after unlearning — {style.subtitle(table, style.setting_of(table))}"
    return style.finish(figure, heading, axes)
