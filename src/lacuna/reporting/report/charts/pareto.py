"""What closeness to the oracle costs: gap against cost, with the methods that no other beats in both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from lacuna.reporting.palette import FLOOR_BAND, Look
from lacuna.reporting.panels import panels, sparsity_label, unchanged, with_dense
from lacuna.reporting.report.chart import (
    NUMBERS,
    Chart,
    Key,
    Panel,
    Row,
    Spec,
    Variant,
    domain,
    layered,
    looking,
    picked,
    said,
    tips,
)
from lacuna.reporting.report.charts.dots import number
from lacuna.reporting.report.looks import BAND, FRONT
from lacuna.reporting.report.study import Study, named
from lacuna.reporting.words import records

# counted first: the seconds of one method on a shared machine differ more than those of two methods
COSTS = ("samples", "time_s", "forwards", "backwards", "energy_j", "peak_memory_mb")
_COLUMNS = (
    ("m", "method"),
    ("s", "sparsity"),
    ("c", "cost"),
    ("v", "gap"),
    ("low", "95 % from"),
    ("high", "to"),
    ("front", "on the front"),
)
_HEIGHT = 210


def charts_of(study: Study) -> list[Chart]:
    """One chart with a view per cost and oracle; an empty list where no method has both a gap and a cost."""
    there = set(study.summary["metric"])
    methods = [m for m in study.methods if m not in study.palette.originals]
    looks = study.looks(methods)
    variants = []
    for cost in (c for c in COSTS if c in there):
        for oracle in (o for o in study.oracles if f"avg_gap/{o}" in there):
            panels_of = _panels(study, cost, oracle, methods)
            if any(panel.rows for panel in panels_of):
                variants.append(
                    Variant(f"{named(cost)}, gap to {oracle}", _spec(study, looks, cost, oracle), panels_of)
                )
    if not variants:
        return []
    caption = (
        "Average gap against the cost of the method; lower left is better. The thin line is the Pareto front: no other "
        "point of the panel is both closer to the oracle and cheaper. Points grow with sparsity; methods that returned "
        "the model unchanged are left out. Gaps of each panel have an axis of their own. "
    )
    keys = [Key(label, look, pick=True) for label, look in looks.items()]
    keys.append(Key("Pareto front", Look(FRONT, width=1.2)))
    shown = [panel.params for variant in variants for panel in variant.panels]
    if any(params["oracle"] > 0 for params in shown):
        caption += "The dashed vertical line is the cost of the oracle itself, at the highest sparsity of the panel. "
        keys.append(Key("cost of the oracle, sparsest", Look("#707070", dash=(3, 2), width=1.6)))
    if any(params["floor"] > 0 for params in shown):
        caption += (
            "In the shaded band a method is on average no farther from the oracle than the oracle's second run, at "
            "the sparsity where that is nearest. "
        )
        keys.append(Key("within the noise floor", Look(FLOOR_BAND), "band"))
    caption += "Seconds depend on the machine and on what else it does, counted cost does not."
    return [Chart("pareto", "Pareto front of gap and cost", caption, _COLUMNS, variants, keys)]


def _panels(study: Study, cost: str, oracle: str, methods: Sequence[str]) -> list[Panel]:
    rows = with_dense(study.summary[study.summary["metric"].isin([cost, f"avg_gap/{oracle}"])])
    steps = {s: i for i, s in enumerate(study.sparsities)}
    drawn = []
    for title, part in panels(rows):
        costs = part[part["metric"] == cost].set_index(["unlearner", "sparsity"])["mean"].to_dict()
        gaps = part[(part["metric"] != cost) & part["unlearner"].isin(methods)].reset_index(drop=True)
        points = [
            point
            for point, still in zip(records(gaps), unchanged(gaps), strict=True)
            if not still and (point["unlearner"], point["sparsity"]) in costs
        ]
        found: list[Row] = [
            {
                "m": point["unlearner"],
                "s": sparsity_label(point["sparsity"]),
                "z": 26 + 26 * steps[point["sparsity"]],
                "o": steps[point["sparsity"]],
                "c": float(costs[point["unlearner"], point["sparsity"]]),
                "v": float(point["mean"]),
                "low": point["ci_low"],
                "high": point["ci_high"],
            }
            for point in points
        ]
        best = front((row["c"], row["v"]) for row in found)
        for row in found:
            row["front"] = "yes" if (row["c"], row["v"]) in best else "no"
        # the smallest: within it a point of any sparsity is as near as a second run of its oracle
        floor = gaps[f"gap_{oracle}_floor"].min() if len(gaps) else None
        drawn.append((title, found, sorted(best), floor, _of_oracle(part, cost, oracle)))
    paid = [row["c"] for _, rows, *_ in drawn for row in rows] + [c for *_, c in drawn if number(c)]
    linear = min(paid, default=0) <= 0
    ends = (0.0, max(paid, default=1.0) * 1.1 or 1.0) if linear else (min(paid) / 1.4, max(paid) * 1.4)
    return [
        Panel(
            title,
            f"Gap to {oracle} against {named(cost)}, {title}; on the Pareto front: "
            + said((f"{row['m']} {row['s']}", row["v"]) for row in rows if row["front"] == "yes"),
            [*rows, *({"m": "", "s": "", "c": c, "v": v, "line": 1} for c, v in best)],
            {
                "low": 0,
                "high": max((row["v"] for row in rows), default=1.0) * 1.12 or 1.0,
                "left": ends[0],
                "right": ends[1],
                "floor": floor if number(floor) else 0,
                "oracle": paid_there if number(paid_there) else -1,
            },
        )
        for title, rows, best, floor, paid_there in drawn
    ]


def _of_oracle(part: pd.DataFrame, cost: str, oracle: str) -> float | None:
    """The cost of the oracle on the sparsest model of a panel; None where it has none."""
    of = part[(part["metric"] == cost) & (part["unlearner"] == oracle)]
    return float(of["mean"].iloc[of["sparsity"].astype(float).argmax()]) if len(of) else None


def front(points: Iterable[tuple[float, float]]) -> set[tuple[float, float]]:
    """The points (cost, gap) that no other beats: none is at most as large in both and smaller in one."""
    best, lowest = set(), float("inf")
    for cost, gap in sorted(set(points)):
        if gap < lowest:
            best.add((cost, gap))
            lowest = gap
    return best


def _axes(study: Study, looks: dict[str, Look], cost: str, oracle: str) -> tuple[Spec, Spec]:
    means = study.summary[study.summary["metric"] == cost]["mean"]
    acting = study.summary[(study.summary["metric"] == cost) & study.summary["unlearner"].isin(list(looks))]["mean"]
    log = bool(len(acting)) and acting.min() > 0 and means.min() >= 0
    x: Spec = {
        "field": "c",
        "type": "quantitative",
        "scale": {"type": "log" if log else "linear", "domain": [{"expr": "left"}, {"expr": "right"}], "nice": False},
        "axis": {"title": named(cost), "tickCount": 4, "format": "~s", "labelOverlap": True},
    }
    x["scale"] |= {} if log else {"zero": True}
    y: Spec = {
        "field": "v",
        "type": "quantitative",
        "scale": {"domain": domain(), "nice": False, "clamp": True},
        "axis": {
            "title": f"gap to {oracle} (points)",
            "minExtent": 30,
            "maxExtent": 30,
            "tickCount": 5,
            "labelExpr": NUMBERS,
        },
    }
    return x, y


def _spec(study: Study, looks: dict[str, Look], cost: str, oracle: str) -> Spec:
    x, y = _axes(study, looks, cost, oracle)
    told = tips(("m", "method"), ("s", "sparsity"), ("c", named(cost)), ("v", "gap"), ("low", "95 % from"))
    told += tips(("high", "to"))
    by_method = {"x": x, "y": y, "color": looking(looks, "colour"), "opacity": picked(0.9)}
    is_point, is_line = {"filter": "!datum.line"}, {"filter": "datum.line"}
    layers: list[Spec] = [
        {
            "data": {"values": [{}]},
            "transform": [{"calculate": "floor", "as": "f"}, {"calculate": "0", "as": "zero"}],
            "mark": {"type": "rect", **BAND},
            "encoding": {"y": {**y, "field": "zero"}, "y2": {"field": "f"}},
        },
        {
            "data": {"values": [{}]},
            "transform": [{"calculate": "oracle", "as": "c"}, {"filter": "datum.c > 0"}],
            "mark": {"type": "rule", "color": "#707070", "strokeDash": [5, 3], "strokeWidth": 1.4},
            "encoding": {"x": x},
        },
        {
            "transform": [is_line],
            "mark": {"type": "line", "color": FRONT, "strokeWidth": 1, "interpolate": "step-after"},
            "encoding": {"x": x, "y": y, "order": {"field": "c", "type": "quantitative"}},
        },
        {
            "transform": [is_point],
            "mark": {"type": "line", "strokeWidth": 0.8, "strokeOpacity": 0.6},
            "encoding": {**by_method, "order": {"field": "o", "type": "quantitative"}},
        },
        {
            "transform": [is_point],
            "mark": {"type": "point", "filled": True, "stroke": "#fff", "strokeWidth": 0.5},
            "encoding": {
                **by_method,
                "shape": looking(looks, "marker"),
                "size": {"field": "z", "type": "quantitative", "scale": None, "legend": None},
                "tooltip": told,
            },
        },
    ]
    return layered(_HEIGHT, layers, {"left": 0, "right": 1, "floor": 0, "oracle": -1})
