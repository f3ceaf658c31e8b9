"""Does the metric decide which method wins? Rank correlations of all metrics, alike ones next to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lacuna.reporting.palette import ABSENT, NEGATIVE, POSITIVE, Look
from lacuna.reporting.panels import PANEL, clustered, sparsity_label
from lacuna.reporting.report.chart import Chart, Key, Panel, Row, Spec, Variant, layered
from lacuna.reporting.report.study import Study
from lacuna.reporting.words import records

_COLUMNS = (("a", "metric"), ("b", "other metric"), ("v", "Spearman's ρ"), ("n", "methods"), ("note", "note"))
# pixels of a field: a number of two digits fits in
_FIELD = 25


def charts_of(study: Study) -> list[Chart]:
    """One map with a view per place and oracle; an empty list where no two metrics order three methods."""
    table = study.table("disagreement")
    if table.empty or table["spearman"].dropna().empty:
        return []
    varying = [c for c in (*PANEL, "sparsity") if table[c].nunique() > 1]
    variants = []
    for key, part in table.groupby([*PANEL, "sparsity", "oracle"], sort=False):
        place = dict(zip((*PANEL, "sparsity", "oracle"), map(str, key), strict=True))
        names = [sparsity_label(place[c]) if c == "sparsity" else place[c] for c in varying if place[c] != "dense"]
        label = ", ".join([*names, f"against {place['oracle']}"])
        found = _variant(label, part)
        if found is not None:
            variants.append(found)
    caption = (
        "Spearman's rank correlation between the orders that two metrics put the methods in: 1 the same order, −1 the "
        "reverse. Metrics that agree stand next to each other (average linkage on 1 − ρ), so that blocks near 1 are "
        "families of metrics, and numbers below 0 between two blocks are where the choice of the metric decides which "
        "method wins. With few methods a correlation is coarse. A field without a number: one of the two has no order."
    )
    keys = [Key("ρ = 1", Look(POSITIVE), "bar"), Key("ρ = −1", Look(NEGATIVE), "bar"), Key("none", Look(ABSENT), "bar")]
    return [Chart("disagreement", "Agreement of metrics", caption, _COLUMNS, variants, keys, wide=True)]


def _variant(label: str, part: pd.DataFrame) -> Variant | None:
    part = part.assign(a=part["metric_a"].map(_short), b=part["metric_b"].map(_short))
    known = part.dropna(subset="spearman")
    names = list(dict.fromkeys([*known["a"], *known["b"]]))
    if len(names) < 2:
        return None
    place, square = {name: i for i, name in enumerate(names)}, np.full((len(names), len(names)), np.nan)
    rows: list[Row] = []
    for row in records(part):
        if row["a"] not in place or row["b"] not in place:
            continue
        i, j = place[row["a"]], place[row["b"]]
        square[i, j] = square[j, i] = row["spearman"]
        for a, b in ((row["a"], row["b"]), (row["b"], row["a"])):
            rows.append({"a": a, "b": b, "v": row["spearman"], "n": row["methods"], "note": row["note"]})
    order = clustered(pd.DataFrame(square, index=names, columns=names))
    low = known.nsmallest(3, "spearman")
    apart = "; ".join(f"{r['a']} and {r['b']} {r['spearman']:.2f}" for r in records(low))
    alt = f"Rank correlations of {len(names)} metrics, {label}. Farthest apart: {apart}. All values are in the table."
    return Variant(label, _spec(order), [Panel(label, alt, rows, {})])


def _short(metric: str) -> str:
    return metric.partition("/")[0]


def _spec(order: Sequence[str]) -> Spec:
    side = _FIELD * len(order)

    def axis(field: str, where: str, angle: int) -> Spec:
        look: Spec = {
            "title": None,
            "orient": where,
            "labelAngle": angle,
            "ticks": False,
            "domain": False,
            "grid": False,
        }
        look |= {"labelLimit": 150, "labelOverlap": False, "labelFontSize": 10.5}
        return {"field": field, "type": "nominal", "scale": {"domain": list(order), "padding": 0.04}, "axis": look}

    place = {"x": axis("a", "bottom", -90), "y": axis("b", "left", 0)}
    colour: Spec = {
        "field": "v",
        "type": "quantitative",
        "legend": None,
        "scale": {"domain": [-1, 0, 1], "range": [NEGATIVE, "#FFFFFF", POSITIVE], "interpolate": "rgb"},
    }
    told: list[Spec] = [
        {"field": "a", "title": "metric"},
        {"field": "b", "title": "other metric"},
        {"field": "v", "title": "ρ", "type": "quantitative", "format": ".3f"},
        {"field": "n", "title": "methods", "type": "quantitative"},
        {"field": "note", "title": "note"},
    ]
    known, unknown = {"filter": "isValid(datum.v)"}, {"filter": "!isValid(datum.v)"}
    dark = {"condition": {"test": "abs(datum.v) > 0.55", "value": "#fff"}, "value": "#222"}
    layers: list[Spec] = [
        {"transform": [unknown], "mark": {"type": "rect", "color": ABSENT}, "encoding": {**place, "tooltip": told}},
        {"transform": [known], "mark": "rect", "encoding": {**place, "color": colour, "tooltip": told}},
        {
            # ".4", "−.7", "1": two letters in a field
            "transform": [
                known,
                {"calculate": "round(10 * datum.v) / 10", "as": "r"},
                {"calculate": "format(datum.r, abs(datum.r) < 1 ? '.1f' : 'd')", "as": "s"},
                {"calculate": "datum.r == 0 ? '0' : replace(datum.s, '0.', '.')", "as": "t"},
            ],
            "mark": {"type": "text", "fontSize": 10},
            "encoding": {**place, "text": {"field": "t"}, "color": dark},
        },
    ]
    return layered(side, layers, width=side)
