"""Where in the network the weights are gone."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.artifacts.coordinates import DENSE
from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette


@register("layer_sparsity", reads=("layers",), metrics=("sparsity",), sparse=True)
def layer_sparsity(layers: pd.DataFrame, palette: Palette) -> Figure:
    """Sparsity of each layer, mean over seeds: of the mask found on all data, and of every other mask.

    Layers in the order of the network, which is that of the table; every panel has those of its own model.
    """
    rows = layers[(layers["metric"] == "sparsity") & (layers["pruner"] != DENSE)].dropna(subset="value")
    if rows.empty:
        return style.message("layer_sparsity: no state is sparse")
    parts, ticks = style.panels(rows, palette.forgotten), style.sparsity_ticks(rows)
    most = int(rows.groupby(["dataset", "model"], sort=False)["layer"].nunique().max())
    # room for the names of the layers below, and of the masks
    figure, axes = style.grid_of_axes(len(ticks), len(parts), max(4.5, 0.4 * most), 3.0 + 2.6 / len(ticks))
    for column, (title, part) in enumerate(parts):
        names = list(part["layer"].unique())
        for row, sparsity in enumerate(ticks):
            ax = axes[row, column]
            of = part[part["sparsity"] == sparsity]
            if of.empty:  # no cell of this state is there
                ax.set_axis_off()
                continue
            # first those that keep the mask, so that only what differs from it gets a line of its own
            masks = style.distinct_by_layer(of, palette.ordered(of["unlearner"]))
            for i, (label, series) in enumerate(masks.items()):
                name = label if i else f"{label} and all that keep its mask"
                of_mask = 100 * series.reindex(names)
                ax.plot(range(len(names)), of_mask, label=name, **style.line_of(palette.look(label)))
            ax.axhline(100 * float(sparsity), color="#888888", linestyle=":", label="all layers together")
            style.entitle(ax, f"{title}, {style.sparsity_label(sparsity)} sparse")
            shown = [name.removesuffix(".weight") if row == len(ticks) - 1 else "" for name in names]
            ax.set_xticks(range(len(names)), shown, rotation=90, fontsize=7)
            if column == 0:
                ax.set_ylabel("sparsity of the layer (%)")
    return style.finish(figure, f"Sparsity by layer\n{style.setting_of(rows)}, {_seeds(rows)}", axes)


def _seeds(rows: pd.DataFrame) -> str:
    n = rows["seed"].nunique()
    return f"mean over {n} seeds" if n > 1 else "1 seed"
