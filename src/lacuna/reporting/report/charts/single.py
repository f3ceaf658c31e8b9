"""Charts of one cell: specifications that the page's script fills when a reader opens it."""

from __future__ import annotations

from typing import Any

from lacuna.reporting.palette import COLOURS, POSITIVE
from lacuna.reporting.report.chart import NUMBERS, Spec

# colour by part; the panels are named, so that colour alone says nothing
_PARTS = {"retain": COLOURS[4], "forget": COLOURS[1], "test": COLOURS[2]}


def templates() -> dict[str, Any]:
    """By name: `history` (epoch, v), `confidence` (bin, v; `colour`) and `confusion` (label, predicted, n)."""
    return {
        "history": _history(),
        "confidence": _confidence(),
        "confusion": _confusion(),
        "parts": _PARTS,
    }


def _quantity(field: str, title: str | None, **axis: Any) -> Spec:
    return {"field": field, "type": "quantitative", "axis": {"title": title, "tickCount": 5, **axis}}


def _history() -> Spec:
    x, y = _quantity("epoch", "epoch", format="d"), _quantity("v", None, minExtent=34, maxExtent=34, labelExpr=NUMBERS)
    y["scale"] = {"zero": False}
    told = [{"field": "epoch", "title": "epoch"}, {"field": "v", "title": "value", "type": "quantitative"}]
    line = {"mark": {"type": "line", "color": COLOURS[0], "strokeWidth": 1.5}, "encoding": {"x": x, "y": y}}
    mark = {"type": "point", "filled": True, "size": 14, "color": COLOURS[0]}
    return {"height": 130, "layer": [line, {"mark": mark, "encoding": {"x": x, "y": y, "tooltip": told}}]}


def _confidence() -> Spec:
    x = _quantity("low", "confidence in the label", values=[0, 0.5, 1])
    x |= {"scale": {"domain": [0, 1]}, "bin": {"binned": True}}
    y = _quantity("v", "samples (%)", minExtent=30, maxExtent=30)
    y["scale"] = {"domain": [0, 100]}
    told = [
        {"field": "low", "title": "from"},
        {"field": "high", "title": "to"},
        {"field": "v", "title": "% of samples"},
    ]
    return {
        "height": 110,
        "params": [{"name": "colour", "value": "#333"}],
        "mark": {"type": "bar", "color": {"expr": "colour"}, "binSpacing": 0.5},
        "encoding": {"x": x, "x2": {"field": "high"}, "y": y, "tooltip": told},
    }


def _confusion() -> Spec:
    place: dict[str, Any] = {}
    for channel, field, title in (("x", "predicted", "predicted"), ("y", "label", "label")):
        axis = {"title": title, "ticks": False, "domain": False, "grid": False, "labelLimit": 80, "labelAngle": 0}
        axis |= {"labelAngle": -90} if channel == "x" else {}
        place[channel] = {"field": field, "type": "nominal", "sort": None, "axis": axis}
    colour: Spec = {"field": "share", "type": "quantitative", "legend": None}
    colour["scale"] = {"domain": [0, 100], "range": ["#FFFFFF", POSITIVE], "interpolate": "rgb"}
    told = [
        {"field": "label", "title": "label"},
        {"field": "predicted", "title": "predicted"},
        {"field": "n", "title": "samples", "type": "quantitative"},
        {"field": "share", "title": "% of the label", "type": "quantitative", "format": ".1f"},
    ]
    dark = {"condition": {"test": "datum.share > 55", "value": "#fff"}, "value": "#222"}
    text = {"mark": {"type": "text", "fontSize": 10}, "transform": [{"filter": "datum.n > 0"}]}
    return {
        "height": {"step": 23},
        "width": {"step": 27},
        "layer": [
            {"mark": "rect", "encoding": {**place, "color": colour, "tooltip": told}},
            {**text, "encoding": {**place, "text": {"field": "n", "type": "quantitative"}, "color": dark}},
        ],
    }
