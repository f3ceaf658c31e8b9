"""How far MIA-efficacy moves with what should not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette

RATIOS = {f"MIA_ratio_{ratio}": float(ratio) for ratio in ("0.90", "0.95", "1.00", "1.05", "1.10")}


@register("mia_sensitivity", reads=("summary",), metrics=(*RATIOS, "forget_size"))
def mia_sensitivity(summary: pd.DataFrame, palette: Palette) -> Figure:
    """MIA-efficacy against the attack's members for one non-member, and against |D_f|, a column per sparsity.

    Above: the scenario whose |D_f| is in the middle. Below: every scenario, at equal sizes of members and non-members.
    """
    summary = summary.dropna(subset="mean")
    if not {*RATIOS, "forget_size"} <= set(summary["metric"]):
        return style.message("mia_sensitivity: no attack was made at other ratios")
    summary = style.with_dense(summary)
    # the oracles first: they lie below
    there = [label for label in palette.ordered(summary["unlearner"]) if label not in palette.twins]
    methods = sorted(there, key=lambda label: label not in palette.oracles)
    ticks = style.sparsity_ticks(summary)
    sizes = summary[summary["metric"] == "forget_size"].groupby("scenario")["mean"].mean().sort_values()
    middle, reference = sizes.index[len(sizes) // 2], sizes.iloc[len(sizes) // 2]
    figure, axes = style.grid_of_axes(2, len(ticks), 3.6, 2.4)
    for column, sparsity in enumerate(ticks):
        part = summary[summary["sparsity"] == sparsity]
        for method in methods:
            of = part[part["unlearner"] == method]
            at_middle = of[(of["scenario"] == middle) & of["metric"].isin(list(RATIOS))]
            look = style.line_of(palette.look(method))
            _line(axes[0, column], at_middle["metric"].map(RATIOS) - 1, at_middle, method, look)
            equal = of[of["metric"] == "MIA_ratio_1.00"]
            _line(axes[1, column], equal["scenario"].map(sizes) / reference - 1, equal, method, look)
        style.entitle(axes[0, column], f"{style.sparsity_label(sparsity)}, {middle}")
        axes[0, column].set_xlabel("members for one non-member, change from 1 (%)")
        axes[1, column].set_xlabel(f"|D_f|, change from {reference:.0f} samples (%)")
    for ax in axes[:, 0]:
        ax.set_ylabel("MIA-efficacy (%)")
    return style.finish(
        figure, f"Sensitivity of MIA-efficacy\n{style.subtitle(summary, style.setting_of(summary))}", axes
    )


def _line(ax: Axes, x: pd.Series, rows: pd.DataFrame, label: str, look: dict[str, object]) -> None:
    order = np.argsort(x.to_numpy())
    style.errorbar(ax, 100 * x.to_numpy()[order], rows.iloc[order], label=label, **look)
