"""Who is drawn how, and in which order: the same in all figures of an experiment and in its report.

Six colours that deuteranopes, protanopes and tritanopes can tell apart, each with a contrast of at least 3 to white;
seven markers and four dashes tell apart what shares a colour, and all without colour. Greys are for oracles and their
second runs, black for `original`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# of all figures, which no import shows
STYLE_FILE = Path(__file__).with_name("paper.mplstyle")
COLOURS = ("#332288", "#B8860B", "#01665E", "#DC267F", "#648FFF", "#8A5A00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# on and off in line widths; () is a solid line
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1, 1), (5, 1.5, 1, 1.5))
# of what is neither method nor oracle: floors, correlations below 0 and above it, nothing
FLOOR, NEGATIVE, POSITIVE, ABSENT = "#C2410C", "#B35806", "#2C5AA0", "#E0E0E0"
# of a floor that is a band, and the width of its edge, without which it is too pale to be seen
FLOOR_BAND, BAND_EDGE = "#F3D9C6", 0.8
# of a metric with itself
ITSELF = "#8C8C8C"
# light to dark with sparsity; from matplotlib's viridis, without its lightest part
_SHADES = ("#7AD151", "#22A884", "#2A788E", "#414487", "#31004A")

# by the name of a marker: an outline in a square from -1 to 1 with y downwards, as SVG and Vega draw it
PATHS = {
    "o": "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0Z",
    "s": "M-.9,-.9H.9V.9H-.9Z",
    "^": "M0,-1L1,.9H-1Z",
    "D": "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "v": "M0,1L1,-.9H-1Z",
    "P": "M-.35,-1H.35V-.35H1V.35H.35V1H-.35V.35H-1V-.35H-.35Z",
    "X": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z",
    "*": "M0,-1L.24,-.32L.95,-.31L.38,.12L.59,.81L0,.4L-.59,.81L-.38,.12L-.95,-.31L-.24,-.32Z",
    "": "",
}


@dataclass(frozen=True)
class Look:
    """How one label is drawn.

    colour: #RRGGBB. marker: matplotlib's name, "" for none; `PATHS` has its outline. dash: on and off in line widths,
    () is a solid line. width: of the line, in points.
    """

    colour: str
    marker: str = ""
    dash: tuple[float, ...] = ()
    width: float = 1.2


# one for each oracle that a grid can have; a second one must show where it lies upon the first
_ORACLES = (
    Look("#B0B0B0", width=3.5),
    Look("#303030", dash=(4, 2), width=1.4),
    Look("#707070", dash=(1, 1.5), width=1.8),
    Look("#505050", dash=(6, 1.5, 1, 1.5), width=1.6),
)
_TWIN = Look("#808080", dash=(3, 1.5), width=1.0)
_ORIGINAL = Look("#000000", marker="*", dash=(1, 1.5))


@dataclass(frozen=True)
class Palette:
    """The labels of an experiment in the order that tables and figures have them, and how each is drawn.

    methods: of grid.unlearners and grid.unprune, without oracles and their twins; those that return the original model
    come first. originals: these. oracles: in the order of the grid. twins: second runs, by label, with their oracle.
    forgotten: the classes that scenarios forget by name, where the names are known, by dataset and scenario.
    """

    methods: tuple[str, ...]
    oracles: tuple[str, ...] = ()
    twins: Mapping[str, str] = field(default_factory=dict)
    originals: tuple[str, ...] = ()
    forgotten: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Mapping[str, Any], class_names: Mapping[str, Sequence[str]] | None = None) -> Palette:
        """That of an experiment. record: its experiment.json. class_names: of datasets, as meta.json has them."""
        grid, judging = record["grid"], record["judging"]
        entries = {**grid["unlearners"], **grid.get("unprune", {})}
        order = record.get("order", {})
        labels = dict.fromkeys([*order.get("unlearners", ()), *order.get("unprune", ()), *entries])
        apart = {*judging["oracles"], *judging["twins"]}
        originals = tuple(k for k in labels if entries[k]["method"] == "original" and k not in apart)
        acting = tuple(k for k in labels if k not in apart and k not in originals)
        forgotten = _forgotten(grid.get("scenarios", {}), class_names or {})
        return cls((*originals, *acting), tuple(judging["oracles"]), judging["twins"], originals, forgotten)

    def look(self, label: str) -> Look:
        """How a label is drawn, whoever else is. One that the experiment has not is drawn as the next method."""
        if label in self.originals:
            return _ORIGINAL
        if label in self.oracles:
            return _ORACLES[self.oracles.index(label) % len(_ORACLES)]
        if label in self.twins:
            return _TWIN
        acting = [method for method in self.methods if method not in self.originals]
        return look_of(acting.index(label) if label in acting else len(acting))

    def ordered(self, labels: Iterable[str]) -> list[str]:
        """The distinct labels, methods before oracles before twins; what the experiment has not comes last."""
        places = {label: i for i, label in enumerate((*self.methods, *self.oracles, *self.twins))}
        return sorted(dict.fromkeys(labels), key=lambda label: places.get(label, len(places)))


def _forgotten(
    scenarios: Mapping[str, Mapping[str, Any]], names: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, str]]:
    """The names of the classes that each scenario forgets, by dataset with names and scenario."""
    found: dict[str, dict[str, str]] = {}
    for label, entry in scenarios.items():
        if entry.get("method") == "class":
            chosen = entry["forget_class"]
            classes = list(chosen) if isinstance(chosen, list | tuple) else [chosen]
            for dataset, known in names.items():
                if known:
                    words = [c if isinstance(c, str) else known[c] for c in classes]
                    found.setdefault(dataset, {})[label] = ", ".join(words)
    return found


def look_of(position: int) -> Look:
    """The look of the method in this position; 168 of them differ, neighbours in both colour and marker."""
    # 6 and 7 have no common divisor: 42 pairs of colour and marker
    dash = DASHES[position // len(COLOURS) % len(DASHES)]
    return Look(COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)], dash)


def sparsities(labels: Iterable[str]) -> list[str]:
    """The distinct sparsities in ascending order, dense first."""
    return sorted(dict.fromkeys(labels), key=lambda label: 0.0 if label == "dense" else float(label))


def shades(count: int) -> list[str]:
    """A colour for each of so many sparsities in their order, light to dark."""
    places = [0.0] if count == 1 else [i * (len(_SHADES) - 1) / (count - 1) for i in range(count)]
    return [_between(place) for place in places]


def _between(place: float) -> str:
    low = min(int(place), len(_SHADES) - 2)
    ends = [[int(shade[i : i + 2], 16) for i in (1, 3, 5)] for shade in _SHADES[low : low + 2]]
    return "#" + "".join(f"{round(a + (b - a) * (place - low)):02X}" for a, b in zip(*ends, strict=True))
