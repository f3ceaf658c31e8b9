"""How methods, oracles and sparsities look on the page: the palette in the words of Vega and of SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lacuna.reporting.palette import BAND_EDGE, FLOOR, FLOOR_BAND, PATHS, Look, shades

# shapes of sparsities, so that their colour alone says nothing
_SHAPES = ("o", "D", "s", "^", "v", "P", "X")
FRONT = "#444444"
BAND: dict[str, Any] = {"color": FLOOR_BAND, "stroke": FLOOR, "strokeWidth": BAND_EDGE}
# pixels of a drawing in a legend
_WIDTH, _HEIGHT = 26, 14


def states(labels: Sequence[str]) -> dict[str, Look]:
    """The looks of sparsities, dense first: light to dark, and a shape each."""
    colours = shades(len(labels)) if labels else []
    return {label: Look(colours[i], _SHAPES[i % len(_SHAPES)]) for i, label in enumerate(labels)}


def scale_of(looks: dict[str, Look], part: str) -> dict[str, Any]:
    """A scale of Vega from labels to their colour, marker or dash; a line without a dash is solid."""
    values: dict[str, Any] = {
        "colour": [look.colour for look in looks.values()],
        "marker": [PATHS[look.marker] or PATHS["o"] for look in looks.values()],
        "dash": [[1.6 * d for d in look.dash] or [1, 0] for look in looks.values()],
    }
    return {"domain": list(looks), "range": values[part]}


def swatch(look: Look, kind: str = "") -> str:
    """A small drawing of a look for legends; it says nothing to a screen reader, the label stands next to it.

    kind: bar, band, tick, hollow; without one a line with its marker, of what has no dash and no width a marker alone.
    """
    middle = _HEIGHT / 2
    if kind in ("bar", "band"):
        edge = f' stroke="{FLOOR}" stroke-width="{BAND_EDGE}"' if kind == "band" else ""
        inner = f'<path d="M2 2H{_WIDTH - 2}V{_HEIGHT - 2}H2Z" fill="{look.colour}"{edge}/>'
    elif kind == "tick":
        inner = f'<path d="M{_WIDTH / 2} 1V{_HEIGHT - 1}" stroke="{look.colour}" stroke-width="2.5"/>'
    else:
        dash = f' stroke-dasharray="{_listed(1.6 * d for d in look.dash)}"' if look.dash else ""
        line = (
            f'<path d="M0 {middle:g}H{_WIDTH}" stroke="{look.colour}" stroke-width="{look.width}" fill="none"{dash}/>'
        )
        fill = "#fff" if kind == "hollow" else look.colour
        at = f'transform="translate({_WIDTH / 2:g} {middle:g}) scale(4.6)"'
        mark = f'<path {at} d="{PATHS[look.marker]}" fill="{fill}" stroke="{look.colour}" stroke-width=".25"/>'
        inner = ("" if kind in ("point", "hollow") else line) + (mark if look.marker else "")
    size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    return f'<svg {size} aria-hidden="true" focusable="false">{inner}</svg>'


def _listed(values: Iterable[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
