"""Curves against sparsity: a line per method, oracles as grey lines with bands."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lacuna.reporting.palette import Look
from lacuna.reporting.panels import few_seeds, panels, sparsity_label, sparsity_ticks, unchanged, with_dense
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
from lacuna.reporting.report.study import Study, named
from lacuna.reporting.words import records

# of these the first view shows those that exist; each other metric is a view of its own
FIRST = ("UA", "RA", "TA", "MIA")
_COLUMNS = (
    ("m", "method"),
    ("s", "sparsity"),
    ("v", "value"),
    ("low", "95 % from"),
    ("high", "to"),
    ("n", "seeds"),
    ("role", "role"),
)
# how far next to its tick the outermost method may lie, in ticks
_ASIDE = 0.12
# points of a percentage that an axis shows at least: smaller differences are not stretched over a whole panel
_LEAST_SPAN = 5.0
_HEIGHT = 170


def charts_of(study: Study) -> list[Chart]:
    """One chart with a view per metric."""
    there = [str(m) for m in study.summary["metric"].unique()]
    first = [metric for metric in FIRST if metric in there]
    if not first and not there:
        return []
    looks, oracles = study.looks(study.methods), study.looks(study.oracles)
    variants = [_view(study, " · ".join(first), first, looks, oracles)] if first else []
    variants += [_view(study, named(m), [m], looks, oracles) for m in there if m not in study.costs and m not in first]
    caption = (
        "Means over seeds, with 95 % t intervals where there are three seeds or more, small dots for single seeds "
        "where there are two. Oracles are the grey lines without markers; a method has forgotten well where it meets "
        "them. Methods stand a little beside their sparsity so that equal values do not hide each other. Hollow "
        "markers: the method returned the model unchanged on some seed. An axis shows at least 5 percentage points."
    )
    keys = [Key(label, look, pick=True) for label, look in looks.items()]
    keys += [Key(f"{label} (oracle)", look) for label, look in oracles.items()]
    return [Chart("curves", "Metrics against sparsity", caption, _COLUMNS, variants, keys)]


def _view(
    study: Study, label: str, metrics: Sequence[str], looks: dict[str, Look], oracles: dict[str, Look]
) -> Variant:
    parts = []
    for metric in metrics:
        of = with_dense(study.summary[study.summary["metric"] == metric])
        of = of[of["unlearner"].isin([*looks, *oracles])]
        cells = study.tables["cells"]
        seeds = cells[cells["metric"] == metric]
        for title, part in panels(of):
            named_so = f"{named(metric)} — {title}" if len(metrics) > 1 else title
            parts.append((metric, named_so, part.reset_index(drop=True), seeds))
    return Variant(label, _spec(looks, oracles), [_panel(*part, list(looks)) for part in parts])


def _panel(metric: str, title: str, part: pd.DataFrame, cells: pd.DataFrame, methods: list[str]) -> Panel:
    ticks = sparsity_ticks(part)
    part = part.sort_values("sparsity", key=lambda s: s.astype(float), kind="stable").reset_index(drop=True)
    still, rows = unchanged(part), []
    for i, row in enumerate(records(part)):
        label = str(row["unlearner"])
        place = ticks.index(row["sparsity"]) + _aside(label, methods)
        point: Row = {"m": label, "s": sparsity_label(row["sparsity"]), "x": place, "v": float(row["mean"])}
        point |= {"low": row["ci_low"], "high": row["ci_high"], "n": row["n"], "role": row["role"]}
        rows.append(point | {"still": bool(still[i])})
    for position, values in few_seeds(part, cells):
        of = rows[position]
        rows += [{**of, "v": float(v), "low": None, "high": None, "n": 1, "role": "seed"} for v in values]
    low, high = _ends(metric, rows)
    alt = f"{named(metric)} against sparsity, {title}: "
    alt += said((f"{row['m']} {row['s']}", row["v"]) for row in rows if row["role"] != "seed")
    ends = {"first": -0.35 if len(ticks) > 1 else -0.5, "last": len(ticks) - 1 + (0.35 if len(ticks) > 1 else 0.5)}
    names = {"ticks": list(range(len(ticks))), "names": [sparsity_label(tick) for tick in ticks]}
    return Panel(title, alt, rows, {"low": low, "high": high, **ends, **names})


def _aside(label: str, methods: list[str]) -> float:
    if label not in methods:
        return 0.0
    step = min(0.05, 2 * _ASIDE / max(len(methods) - 1, 1))
    return step * (methods.index(label) - (len(methods) - 1) / 2)


def _ends(metric: str, rows: Sequence[Row]) -> tuple[float, float]:
    known = [float(row[f]) for row in rows for f in ("v", "low", "high") if number(row[f])]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if named(metric).endswith("(%)"):
        room = max(0.0, _LEAST_SPAN - (high - low)) / 2
        # a t interval of percents may leave 0 to 100, and so does no axis of values that do not
        low, high = max(low - room, -3.0), min(high + room, 100.0)
        return low - 0.04 * (high - low), min(high + 0.04 * (high - low), 100.0)
    room = 0.04 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


def _axes() -> tuple[Spec, Spec]:
    axis = {"title": None, "values": {"expr": "ticks"}, "labelExpr": "names[datum.value]", "grid": False}
    x: Spec = {
        "field": "x",
        "type": "quantitative",
        "axis": axis,
        "scale": {"domain": [{"expr": "first"}, {"expr": "last"}], "nice": False, "zero": False},
    }
    scale = {"domain": domain(), "nice": False, "zero": False, "clamp": True}
    y: Spec = {
        "field": "v",
        "type": "quantitative",
        "scale": scale,
        "axis": {"title": None, "minExtent": 34, "maxExtent": 34, "tickCount": 5, "labelExpr": NUMBERS},
    }
    return x, y


def _spec(looks: dict[str, Look], oracles: dict[str, Look]) -> Spec:
    x, y = _axes()
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    told = tips(("m", "method"), ("s", "sparsity"), ("v", "mean"), ("low", "95 % from"), ("high", "to"), ("n", "seeds"))
    both = {"filter": "isValid(datum.low) && isValid(datum.high)"}
    is_oracle, is_method = {"filter": "datum.role == 'oracle'"}, {"filter": "datum.role == 'method'"}
    by_method = {"x": x, "y": y, "color": looking({**looks, **oracles}, "colour"), "opacity": picked()}
    dashed = {"strokeDash": looking({**looks, **oracles}, "dash")}
    marked = {"shape": looking({**looks, **oracles}, "marker"), "tooltip": told}
    by_oracle = {"x": x, "y": y, "color": by_method["color"]}
    layers: list[Spec] = [
        {
            "transform": [is_oracle, both],
            "mark": {"type": "area", "opacity": 0.16},
            "encoding": {"x": x, **ends, "color": by_method["color"]},
        },
        {
            "transform": [is_oracle],
            "mark": {"type": "line", "strokeWidth": 2.4, "point": False},
            "encoding": {**by_oracle, **dashed},
        },
        # of an oracle at one sparsity a line has no length
        {
            "transform": [is_oracle],
            "mark": {"type": "point", "shape": "stroke", "size": 260, "strokeWidth": 2.4, "filled": False},
            "encoding": {**by_oracle, "tooltip": told},
        },
        {"transform": [is_method], "mark": {"type": "line", "strokeWidth": 1.3}, "encoding": {**by_method, **dashed}},
        {
            "transform": [is_method, both],
            "mark": {"type": "rule", "strokeWidth": 1.1},
            "encoding": {**by_method, **ends},
        },
        {
            "transform": [{"filter": "datum.role == 'seed'"}],
            "mark": {"type": "point", "size": 9, "filled": True},
            "encoding": {**by_method, "tooltip": told},
        },
        {
            "transform": [{"filter": "datum.role == 'method' && !datum.still"}],
            "mark": {"type": "point", "size": 42, "filled": True},
            "encoding": {**by_method, **marked},
        },
        {
            "transform": [{"filter": "datum.role == 'method' && datum.still"}],
            "mark": {"type": "point", "size": 42, "filled": False, "fill": "#fff", "strokeWidth": 1.4},
            "encoding": {**by_method, **marked},
        },
    ]
    return layered(_HEIGHT, layers, {"first": 0, "last": 1, "ticks": [], "names": []})
