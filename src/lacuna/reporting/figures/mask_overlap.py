"""Does any method find the topology that the retained data alone would give?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from lacuna.artifacts.coordinates import DENSE
from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import FLOOR, POSITIVE, Palette


@register("mask_overlap", reads=("summary",), metrics=("mask_iou",), sparse=True, oracle="retrain_exact", masks=True)
def mask_overlap(summary: pd.DataFrame, palette: Palette, judges: Sequence[str] = ()) -> Figure:
    """IoU of each method's mask with that of exact retraining, a row of panels per sparsity.

    judges: the labels of the oracles that find a mask of their own; the first is compared with.
    Orange: the oracle's second run, the most that can be expected. Grey: two random masks of this density, d/(2 − d).
    """
    sparse = summary[summary["pruner"] != DENSE].dropna(subset="mean")
    oracle = next(iter(judges), "")
    rows = sparse[sparse["metric"] == f"mask_iou/{oracle}"]
    if rows.empty:
        return style.message("mask_overlap: no sparse state is compared with a mask of exact retraining")
    parts, ticks = style.panels(rows, palette.forgotten), style.sparsity_ticks(rows)
    methods = [m for m in palette.ordered(rows["unlearner"]) if m != oracle and m not in palette.twins]
    figure, axes = style.grid_of_axes(len(ticks), len(parts), 3.8, 0.22 * len(methods) + 0.7)
    places = {method: len(methods) - 1 - i for i, method in enumerate(methods)}
    for column, (title, part) in enumerate(parts):
        for row, sparsity in enumerate(ticks):
            ax = axes[row, column]
            here = part[(part["sparsity"] == sparsity) & part["unlearner"].isin(methods)]
            y = here["unlearner"].map(places)
            known = here["ci_low"].notna().any()
            # an IoU is in 0 to 1; no value, no cap: NaN draws nothing
            error = [here["mean"] - here["ci_low"].clip(lower=0), here["ci_high"].clip(upper=1) - here["mean"]]
            ax.errorbar(here["mean"], y, xerr=error if known else None, fmt="o", color=POSITIVE, markersize=4)
            density = 1 - float(sparsity)
            ax.axvline(density / (2 - density), color="#888888", linestyle=":", label="two random masks")
            floor = here[f"gap_{oracle}_floor"].mean()
            if floor == floor:
                ax.axvline(floor, color=FLOOR, label=f"second run of {oracle} (noise floor)")
            ax.set_ylim(-0.7, len(methods) - 0.3)
            ax.set_yticks(list(places.values()), list(places) if column == 0 else [""] * len(methods), fontsize=7)
            style.entitle(ax, f"{title}, {style.sparsity_label(sparsity)} sparse")
            if row == len(ticks) - 1:
                ax.set_xlabel(f"IoU of the mask with {oracle}'s")
    heading = f"Mask overlap with {oracle}\n{style.subtitle(rows, style.setting_of(rows))}"
    return style.finish(figure, heading, axes)
