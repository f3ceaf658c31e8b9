"""Membership attacks: the numbers of all, and the curves of those with shadow models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.reporting.palette import Look
from lacuna.reporting.panels import PANEL, title_of_state
from lacuna.reporting.report.chart import (
    NUMBERS,
    Chart,
    Key,
    Panel,
    Row,
    Spec,
    Variant,
    layered,
    looking,
    picked,
    said,
    tips,
)
from lacuna.reporting.report.charts.dots import legend_of
from lacuna.reporting.report.charts.gap import of_metric
from lacuna.reporting.report.study import Study

ATTACKS = {"u_lira": "U-LiRA", "rmia": "RMIA"}
# the names of the metrics of attacks begin so
_NUMBERS = ("MIA", "u_lira", "rmia")
_DOTS = (
    ("m", "method"),
    ("s", "sparsity"),
    ("v", "value"),
    ("low", "95 % from"),
    ("high", "to"),
    ("n", "seeds"),
    ("note", "note"),
)
_CURVES = (
    ("m", "method"),
    ("role", "role"),
    ("seed", "seed"),
    ("fpr", "false positive rate"),
    ("tpr", "true positive rate"),
)
# points of a curve: as many as a panel can show
_POINTS = 40


def charts_of(study: Study) -> list[Chart]:
    """Those that the experiment has something for."""
    return [chart for chart in (_numbers(study), _roc(study)) if chart is not None]


def _numbers(study: Study) -> Chart | None:
    metrics = study.metrics(_NUMBERS)
    if not metrics:
        return None
    variants = [of_metric(study, metric)[1] for metric in metrics]
    caption = (
        "Membership attacks, oracles among the rows: a method is private where it meets its oracle, not where a number "
        "is high or low. Means over seeds with 95 % t intervals; which metric is what stands in docs/metrics.md."
    )
    sparsities = study.states(study.sparsities)
    return Chart("attacks", "All attacks", caption, _DOTS, variants, legend_of(sparsities))


def _roc(study: Study) -> Chart | None:
    table = study.table("roc")
    if table.empty:
        return None
    table = table[table["attack"].isin(list(ATTACKS))].dropna(subset=["fpr", "tpr"])
    looks = study.looks(table["unlearner"].unique())
    variants = []
    for attack in (a for a in ATTACKS if a in set(table["attack"])):
        of = table[table["attack"] == attack].sort_values("sparsity", key=lambda s: s.astype(float), kind="stable")
        low = float(of["fpr"].min()) or 1e-3
        groups = list(of.groupby([*PANEL, "sparsity"], sort=False))
        varying = [c for c in PANEL if of[c].nunique() > 1]
        parts = [_roc_panel(ATTACKS[attack], key, part, varying, low) for key, part in groups]
        variants.append(Variant(ATTACKS[attack], _roc_spec(looks), parts))
    if not variants:
        return None
    caption = (
        "What attackers with shadow models can tell, on logarithmic axes, for it counts at few false positives. "
        "Positive: the model unlearned the sample. On the dotted diagonal it cannot be told from a model that never "
        "saw it. One curve per seed; grey: "
    )
    caption += "oracles and their second runs." if (table["role"] == "twin").any() else "oracles."
    keys = [Key(label, look, pick=True) for label, look in looks.items()]
    return Chart("roc", "ROC of attacks with shadow models", caption, _CURVES, variants, keys)


def _roc_panel(attack: str, key: Sequence[Any], part: pd.DataFrame, varying: Sequence[str], low: float) -> Panel:
    place: Mapping[str, str] = dict(zip((*PANEL, "sparsity"), map(str, key), strict=True))
    title = title_of_state(place, varying)
    rows: list[Row] = []
    ends = []
    for (method, role, seed), curve in part.groupby(["unlearner", "role", "seed"], sort=False):
        chosen = np.unique(np.linspace(0, len(curve) - 1, min(_POINTS, len(curve))).astype(int))
        points = curve.iloc[chosen]
        rows += [
            {"m": str(method), "role": role, "seed": seed, "fpr": fpr, "tpr": max(tpr, low)}
            for fpr, tpr in zip(points["fpr"], points["tpr"], strict=True)
        ]
        near = curve.iloc[(curve["fpr"] - 0.01).abs().to_numpy().argmin()]
        ends.append((f"{method} seed {seed}", float(near["tpr"])))
    alt = f"ROC of {attack}, {title}; true positive rate near a false positive rate of 0.01: {said(ends)}"
    return Panel(title, alt, rows, {"low": low, "high": 1})


def _roc_spec(looks: dict[str, Look]) -> Spec:
    def axis(field: str, title: str) -> Spec:
        scale = {"type": "log", "domain": [{"expr": "low"}, 1], "nice": False, "clamp": True}
        tens = [10.0**power for power in range(-6, 1)]
        return {
            "field": field,
            "type": "quantitative",
            "scale": scale,
            "axis": {"title": title, "values": tens, "labelExpr": NUMBERS, "minExtent": 34 if field == "tpr" else 0},
        }

    x, y = axis("fpr", "false positive rate"), axis("tpr", "true positive rate")
    told = tips(("m", "method"), ("seed", "seed"), ("fpr", "false positives"), ("tpr", "true positives"))
    curve = {
        "x": x,
        "y": y,
        "color": looking(looks, "colour"),
        "strokeDash": looking(looks, "dash"),
        "detail": {"field": "seed", "type": "nominal"},
        "opacity": picked(0.9),
        "tooltip": told,
    }
    diagonal = {
        "data": {"values": [{"end": 0}, {"end": 1}]},
        "transform": [{"calculate": "datum.end ? 1 : low", "as": "fpr"}, {"calculate": "datum.fpr", "as": "tpr"}],
        "mark": {"type": "line", "color": "#777", "strokeDash": [1, 2], "strokeWidth": 1},
        "encoding": {"x": x, "y": y},
    }
    line = {"mark": {"type": "line", "strokeWidth": 1.3, "interpolate": "linear"}, "encoding": curve}
    return layered(220, [diagonal, line])
