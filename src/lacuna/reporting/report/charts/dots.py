"""One value per method and sparsity, with its interval and floor: bars from 0, or points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lacuna.reporting.palette import FLOOR, Look
from lacuna.reporting.panels import sparsity_label
from lacuna.reporting.report.chart import (
    NUMBERS,
    Key,
    Panel,
    Row,
    Spec,
    Variant,
    domain,
    extent,
    layered,
    looking,
    picked,
    readable,
    said,
    tips,
)
from lacuna.reporting.report.looks import BAND

# pixels of a row, and between the methods
_ROW, _GAP = 13, 7
# the symbols of verdicts, next to the word in tables
MARKS = {"farther": "▲", "closer": "▼"}


@dataclass(frozen=True)
class Dots:
    """How a chart of dots looks. labels: of the rows, from above; sparsities: the looks of labels, dense first.

    bars: from 0, for what is a distance. centred: the floor is a band around 0, for what is a change. log: of the axis.
    reference: of rows that are drawn as vertical lines (`m` is their label).
    """

    labels: Sequence[str]
    sparsities: Mapping[str, Look]
    axis: str
    bars: bool = False
    centred: bool = False
    log: bool = False
    reference: Mapping[str, Look] | None = None

    @property
    def height(self) -> int:
        return len(self.labels) * (len(self.sparsities) * _ROW + _GAP)

    def spec(self) -> Spec:
        """The specification; rows have m, s, v, low, high, f (floor), text, and `ref` where they are references."""
        look = dict(self.sparsities)
        value = self._value("v")
        y: Spec = {
            "field": "m",
            "type": "nominal",
            "title": None,
            "scale": {"domain": list(self.labels), "paddingInner": _GAP / (len(self.sparsities) * _ROW + _GAP)},
            "axis": {
                "minExtent": extent(self.labels),
                "maxExtent": extent(self.labels),
                "labelLimit": extent(self.labels) - 4,
                "ticks": False,
                "domain": False,
                "grid": False,
            },
        }
        place: Spec = {"y": y, "yOffset": {"field": "s", "scale": {"domain": list(self.sparsities)}, "type": "nominal"}}
        own: list[Spec] = [{"filter": "!datum.ref"}]
        known = [*own, {"filter": "isValid(datum.low) && isValid(datum.high)"}]
        floors = [*own, {"filter": "isValid(datum.f)"}]
        ends = {"x": self._value("low"), "x2": {"field": "high"}}
        told = tips(("m", "method"), ("s", "sparsity"), ("v", self.axis), ("low", "95 % from"), ("high", "to"))
        told += tips(("f", "noise floor"), ("n", "seeds"), ("mark", "verdict"), ("note", "note"))
        layers: list[Spec] = []
        if self.centred:
            layers.append(_mark("rule", [], {"x": {"datum": 0}}, color="#777", strokeDash=[3, 3]))
            band = {"x": self._value("flow"), "x2": {"field": "f"}, **place}
            layers.append(_mark("bar", floors, band, height={"band": 0.95}, **BAND))
        if self.bars:
            bar = {**place, "x": value, "color": looking(look, "colour", "s"), "opacity": picked(), "tooltip": told}
            # pale where the method returned the model unchanged
            bar |= {"fillOpacity": {"condition": {"test": "datum.still", "value": 0.15}, "value": 1}}
            bar |= {"stroke": looking(look, "colour", "s"), "strokeOpacity": {"value": 1}}
            layers.append(_mark("bar", own, bar, strokeWidth=1))
            # a white edge of the interval, to be seen on dark bars
            layers.append(_mark("rule", known, {**place, **ends, "opacity": picked()}, color="#fff", strokeWidth=3.3))
        layers.append(_mark("rule", known, {**place, **ends, "opacity": picked()}, color="#222", strokeWidth=1.3))
        if not self.centred:
            floor = {**place, "x": self._value("f"), "opacity": picked()}
            layers.append(_mark("tick", floors, floor, color=FLOOR, thickness=2.5, height={"band": 0.95}))
        if not self.bars:
            points = {**place, "x": value, "color": looking(look, "colour", "s"), "shape": looking(look, "marker", "s")}
            points |= {"opacity": picked(), "tooltip": told}
            layers.append(_mark("point", own, points, filled=True, size=48, stroke="#fff", strokeWidth=0.6))
        # in a column of its own: no label lies upon a mark
        text = {**place, "x": {"value": "width"}, "text": {"field": "text"}, "opacity": picked()}
        layers.append(_mark("text", own, text, align="right", fontSize=9.5, color="#333"))
        for label, of in (self.reference or {}).items():
            rule = _mark("rule", [{"filter": {"field": "ref", "equal": label}}], {"x": value}, color=of.colour)
            rule["mark"] |= {"strokeDash": list(of.dash), "strokeWidth": 1.8}
            layers.insert(0, rule)
        return layered(self.height, layers, {"ticks": []} if self._percent else None)

    def _value(self, field: str) -> Spec:
        scale: Spec = {"domain": domain(), "nice": False, "clamp": True}
        if self.log:
            scale |= {"type": "log"}
        elif self.bars:
            scale |= {"zero": True}
        else:
            scale |= {"zero": False}
        axis: Spec = {"title": self.axis, "labelExpr": NUMBERS}
        # a count next to values drops some of them
        axis |= {"values": {"expr": "ticks"}} if self._percent else {"tickCount": 5}
        return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}

    @property
    def _percent(self) -> bool:
        """Whether the room for labels lies beyond what a value can be."""
        return self.axis.endswith("(%)") and not (self.centred or self.log)

    def panels(self, parts: Sequence[tuple[str, Sequence[Row]]]) -> list[Panel]:
        """Panels on one axis, so that they can be compared."""
        drawn = [[self._complete(row) for row in rows] for _, rows in parts]
        everything = [row for rows in drawn for row in rows]
        low, high = self._ends(everything)
        params: dict[str, Any] = {"low": low, "high": high}
        if self._percent:
            # the room behind the last of them is for labels
            params["ticks"] = even(max(low, 0.0), min(high, 100.0))
        return [
            Panel(
                title,
                f"{self.axis}, {title}: "
                + said((f"{row['m']} {row['s']}".strip(), row["v"]) for row in rows if not row.get("ref")),
                rows,
                params,
            )
            for (title, _), rows in zip(parts, drawn, strict=True)
        ]

    def variant(self, label: str, parts: Sequence[tuple[str, Sequence[Row]]]) -> Variant:
        """A view of a chart: its panels, each with its title and rows."""
        return Variant(label, self.spec(), self.panels(parts))

    def _complete(self, row: Row) -> Row:
        """A row with the place and the words of its label."""
        mark = MARKS.get(str(row.get("mark")), "")
        text = readable(row["v"]) + (f" {mark}" if mark else "")
        return {**row, "text": text, "flow": -row["f"] if number(row.get("f")) else None}

    def _ends(self, rows: Sequence[Row]) -> tuple[float, float]:
        """Ends of the axis, with room for the labels at its right."""
        fields = ("v", "low", "high", "f", *(("flow",) if self.centred else ()))
        known = [float(row[f]) for row in rows for f in fields if number(row.get(f))]
        # of a change the axis shows where there is none
        known += [0.0] if self.centred else []
        if self.log:
            known = [value for value in known if value > 0] or [1.0]
            return min(known) / 1.3, max(known) * (max(known) / min(known)) ** 0.3 * 1.5
        if self._percent:
            # a t interval may leave 0 to 100 by far, and so does no axis
            known = [min(max(value, -3.0), 103.0) for value in known]
        low, high = (0.0 if self.bars else min(known, default=0.0)), max(known, default=1.0)
        span = (high - low) or abs(high) or 1.0
        return low if self.bars else low - 0.06 * span, high + 0.32 * span


def even(low: float, high: float, about: int = 5) -> list[float]:
    """About so many round numbers from low to high, evenly apart."""
    rough = ((high - low) or 1.0) / about
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(ten * by for by in (1, 2, 5, 10) if ten * by >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _mark(kind: str, transform: Sequence[Spec], encoding: Spec, **look: object) -> Spec:
    return {"mark": {"type": kind, **look}, "transform": list(transform), "encoding": encoding}


def row_of(
    row: Mapping[str, Any],
    value: str = "mean",
    ends: tuple[str, str] = ("ci_low", "ci_high"),
    floor: str = "",
    verdict: str = "",
) -> Row:
    """A row of dots from a row of a table. value, ends, floor, verdict: its columns; nothing where it has none."""
    low, high = ends
    return {
        "m": row["unlearner"],
        "s": sparsity_label(str(row["sparsity"])),
        "v": float(row[value]),
        "low": row[low],
        "high": row[high],
        "f": row.get(floor),
        "mark": row.get(verdict),
        "n": row["n"],
        "note": row.get("note"),
    }


def number(value: object) -> bool:
    """Whether a field of a table holds a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def legend_of(sparsities: Mapping[str, Look], *more: Key, kind: str = "point") -> list[Key]:
    """The legend of dots: sparsities from light to dark, and what else is drawn."""
    return [*(Key(label, look, kind) for label, look in sparsities.items()), *more]
