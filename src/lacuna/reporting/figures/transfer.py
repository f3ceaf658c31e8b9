"""What is left of the features for other datasets, and what it cost."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette

METRICS = {"target_accuracy": "accuracy (%)", "total_time_s": "unlearning and probe (s)"}


@register("transfer", reads=("transfer",))
def transfer(transfer: pd.DataFrame, palette: Palette) -> Figure:
    """Accuracy of a linear probe on each target against sparsity, and the seconds of unlearning and probe together."""
    transfer = style.with_dense(transfer.dropna(subset="mean"))
    if transfer.empty:
        return style.message("transfer: no cell was probed")
    parts = style.panels(transfer, palette.forgotten)
    shown = [(target, metric) for target in transfer["target"].unique() for metric in METRICS]
    figure, axes = style.grid_of_axes(len(shown), len(parts), 3.6, 2.1)
    for column, (title, part) in enumerate(parts):
        ticks = style.sparsity_ticks(part)
        for row, (target, metric) in enumerate(shown):
            ax = axes[row, column]
            rows = part[(part["metric"] == metric) & (part["target"] == target)]
            if rows.empty:  # a dataset is no target of its own
                ax.set_axis_off()
                continue
            style.against_sparsity(ax, rows, ticks, palette)
            if metric == "total_time_s":
                ax.set_yscale("log")
                style.plain_logs(ax.yaxis)
            else:  # a t interval of percents may end above 100; the axis need not
                ax.set_ylim(top=min(ax.get_ylim()[1], 101))
            if row == 0:
                style.entitle(ax, title)
            if row == len(shown) - 1:
                ax.set_xlabel("sparsity (share of convolution weights removed)")
            if column == 0:
                ax.set_ylabel(f"{target}:\n{METRICS[metric]}")
    heading = f"Linear probes on other datasets — {style.subtitle(transfer, style.setting_of(transfer))}"
    return style.finish(figure, heading, axes)
