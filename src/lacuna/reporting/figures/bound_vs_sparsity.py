"""Does the bound of gradient ascent fall with sparsity, and the error with it?"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette

ROWS = {
    "error_bound": "η² t ‖m⊙(θ_t − θ_0)‖₂ σ(m)",
    "error_bound_way": "‖m⊙(θ_t − θ_0)‖₂",
    "error_bound_sigma": "σ(m)",
}

_NEEDED = ("error_bound", "error_bound_way", "error_bound_sigma")


@register("bound_vs_sparsity", reads=("summary",), metrics=_NEEDED, unlearner="ga")
def bound_vs_sparsity(summary: pd.DataFrame, palette: Palette) -> Figure:
    """The bound on the error of gradient ascent (up to a constant), its two factors, and the measured distance."""
    summary = summary.dropna(subset="mean")
    bounded = palette.ordered(summary[summary["metric"] == "error_bound"]["unlearner"])
    if not bounded:
        return style.message("bound_vs_sparsity: no cell is unlearned by ga")
    summary = style.with_dense(summary[summary["unlearner"].isin(bounded)])
    rows = ROWS | {f"parameter_distance/{o}": f"measured\n‖m⊙(θ_ga − θ_{o})‖₂" for o in palette.oracles}
    shown = [m for m in rows if m in set(summary["metric"])]
    parts = style.panels(summary, palette.forgotten)
    figure, axes = style.grid_of_axes(len(shown), len(parts), 3.6, 1.9)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        for row, metric in enumerate(shown):
            ax = axes[row, column]
            for label in bounded:
                of = part[(part["metric"] == metric) & (part["unlearner"] == label)]
                of = of.sort_values("sparsity", key=lambda s: s.astype(float))
                x = [ticks.index(s) for s in of["sparsity"]]
                style.errorbar(ax, x, of, label=label, **style.line_of(palette.look(label)))
            style.sparsity_axis(ax, ticks)
            ax.margins(y=0.12)
            ax.set_ylim(bottom=0)
            if row == 0:
                style.entitle(ax, title)
            if row == len(shown) - 1:
                ax.set_xlabel("sparsity (share of convolution weights removed)")
            if column == 0:
                ax.set_ylabel(rows[metric], fontsize=7)
    heading = f"Bound on the error of gradient ascent\n{style.subtitle(summary, style.setting_of(summary))}"
    return style.finish(figure, heading, axes)
