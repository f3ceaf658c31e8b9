"""What attackers with shadow models can tell, where it counts: at few false positives."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette

ATTACKS = {"u_lira": "U-LiRA", "rmia": "RMIA"}


@register("roc", reads=("roc",))
def roc(roc: pd.DataFrame, palette: Palette) -> Figure:
    """TPR against FPR of U-LiRA and RMIA on log axes; a curve per method and seed, oracles and their twins in grey.

    Positive: the model unlearned the sample; on the diagonal it cannot be told from one that never saw it.
    """
    roc = roc[roc["attack"].isin(list(ATTACKS))].dropna(subset=["fpr", "tpr"])
    if roc.empty:
        return style.message("roc: no cell has a curve of U-LiRA or RMIA")
    roc = roc.sort_values("sparsity", key=lambda s: s.astype(float), kind="stable")
    varying = [c for c in (*style.PANEL, "sparsity") if roc[c].nunique() > 1]
    parts = list(roc.groupby([*style.PANEL, "sparsity"], sort=False))
    attacks = [a for a in ATTACKS if a in set(roc["attack"])]
    figure, axes = style.grid_of_axes(len(attacks), len(parts), 2.9, 2.6)
    low = float(roc["fpr"].min())
    for column, (key, part) in enumerate(parts):
        place = dict(zip((*style.PANEL, "sparsity"), map(str, key), strict=True))
        for row, attack in enumerate(attacks):
            ax = axes[row, column]
            ax.plot([low, 1], [low, 1], color="#777777", linewidth=0.8, linestyle=":", label="guessing")
            for (method, role, _), curve in part[part["attack"] == attack].groupby(
                ["unlearner", "role", "seed"], sort=False
            ):
                name = str(method)
                look = style.line_of(palette.look(name)) | {"markersize": 3.5}
                look |= {"markevery": (0, 10)} if role == "method" else {}
                ax.plot(curve["fpr"], curve["tpr"], label=name if role == "method" else f"{name} ({role})", **look)
            ax.set(xscale="log", yscale="log", xlim=(low, 1), ylim=(low, 1.1))
            for level in (0.001, 0.01):
                ax.axvline(level, color="#CCCCCC", linewidth=0.8, zorder=1)
            if row == 0:
                style.entitle(ax, style.title_of_state(place, varying))
            if row == len(attacks) - 1:
                ax.set_xlabel("false positive rate")
            if column == 0:
                ax.set_ylabel(f"{ATTACKS[attack]}: true positive rate")
    seeds = roc["seed"].nunique()
    setting = ", ".join(filter(None, [style.setting_of(roc), f"{seeds} seed{'s' if seeds > 1 else ''}"]))
    return style.finish(figure, f"Membership attacks with shadow models — {setting}", axes)
