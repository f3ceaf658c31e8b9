"""What a chart of the page is: specifications in Vega-Lite, and the rows that each panel draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lacuna.reporting.palette import Look
from lacuna.reporting.report.looks import scale_of
from lacuna.reporting.report.payload import columnar

Row = dict[str, Any]
Spec = dict[str, Any]
# pixels of a letter of an axis' labels, and the widest that they may be
_LETTER, _WIDEST = 7.5, 170


@dataclass(frozen=True)
class Panel:
    """One panel: its title, what it shows in words, its rows, and the values of the parameters of the specification."""

    title: str
    alt: str
    rows: Sequence[Row]
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """One of the views that a reader chooses among; its panels share a specification, so that they line up."""

    label: str
    spec: Spec
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Key:
    """An entry of a chart's legend. kind: see `looks.swatch`. pick: a method, which readers can single out."""

    label: str
    look: Look
    kind: str = ""
    pick: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure of the page.

    columns: fields of the rows with their headings, for the table of the chart's values. wide: it has a width of its
    own and is scrolled where the page is narrower.
    """

    key: str
    title: str
    caption: str
    columns: Sequence[tuple[str, str]]
    variants: Sequence[Variant]
    legend: Sequence[Key] = ()
    wide: bool = False

    def data(self) -> dict[str, Any]:
        """What the page's script draws it from; views with the same specification share it."""
        specs: list[Spec] = []
        for variant in self.variants:
            if variant.spec not in specs:
                specs.append(variant.spec)
        return {
            "columns": [list(column) for column in self.columns],
            "wide": self.wide,
            "specs": specs,
            "variants": [
                {
                    "label": variant.label,
                    "spec": specs.index(variant.spec),
                    "panels": [
                        {"title": of.title, "alt": of.alt, "params": dict(of.params), "rows": columnar(of.rows)}
                        for of in variant.panels
                    ],
                }
                for variant in self.variants
            ],
        }


# ---- parts of specifications ----------------------------------------------------------------------------------------


def layered(height: int | float, layers: Sequence[Spec], params: Mapping[str, Any] | None = None, **more: Any) -> Spec:
    """Layers over each other. params: defaults of what a panel sets; `pick`, the methods singled out, is among them."""
    values = {"pick": [], "low": 0, "high": 1, **(params or {})}
    return {
        "height": height,
        "params": [{"name": name, "value": value} for name, value in values.items()],
        "layer": list(layers),
        **more,
    }


# numbers of an axis, by Vega's expressions: its own choice of digits writes 100 as 1e+2
NUMBERS = "format(datum.value, abs(datum.value) >= 1e4 ? '~s' : '~r')"


def domain() -> list[Spec]:
    """The ends of an axis, which each panel sets."""
    return [{"expr": "low"}, {"expr": "high"}]


def picked(strong: float = 1.0, field: str = "m") -> Spec:
    """The opacity of a mark: faint while other methods are singled out."""
    test = f"!length(pick) || indexof(pick, datum.{field}) >= 0"
    return {"condition": {"test": test, "value": strong}, "value": 0.12}


def looking(looks: dict[str, Look], part: str, field: str = "m") -> Spec:
    """A channel by label: its colour, marker or dash."""
    return {"field": field, "type": "nominal", "legend": None, "scale": scale_of(looks, part)}


def tips(*fields: tuple[str, str]) -> list[Spec]:
    """What a pointer over a mark is told, by field and title; texts for those that end in `_t`."""
    return [
        {"field": field, "title": title, "type": "nominal"}
        if field in ("m", "s", "a", "b", "note", "mark", "layer", "part", "place")
        else {"field": field, "title": title, "type": "quantitative", "format": ".4~g"}
        for field, title in fields
    ]


def extent(labels: Iterable[str]) -> int:
    """Pixels for the labels of an axis, the same in all panels of a chart so that they line up."""
    return int(min(_WIDEST, 12 + _LETTER * max(map(len, labels), default=1)))


def readable(value: float) -> str:
    """A number of three digits as people write it: 0.912, 4,790, 12.3M."""
    size = abs(value)
    # 50.0 next to 49.9; of a count no digits that it has not
    few = f"{value:.3g}" if value % 1 == 0 else f"{value:#.3g}".removesuffix(".")
    text = f"{value / 1e6:.3g}M" if size >= 1e6 else f"{value:,.0f}" if size >= 1000 else few
    return text.replace("-", "−")


def said(values: Iterable[tuple[str, float]], most: int = 8) -> str:
    """Labelled values in words, for those who do not see the chart."""
    listed = [f"{label} {readable(value)}" for label, value in values]
    more = f"; and {len(listed) - most} more" if len(listed) > most else ""
    return "; ".join(listed[:most]) + more + ". All values are in the table below the chart."
