"""How every figure looks: legible in print, safe for the colour-blind."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd

from lacuna.artifacts import drawings
from lacuna.artifacts.files import place_of
from lacuna.artifacts.writing import atomic

# figures find them here
from lacuna.reporting.panels import PANEL as PANEL
from lacuna.reporting.panels import base_name as base_name
from lacuna.reporting.panels import few_seeds as few_seeds
from lacuna.reporting.panels import methods_of as methods_of
from lacuna.reporting.panels import panels as panels
from lacuna.reporting.panels import seeds_of as seeds_of
from lacuna.reporting.panels import setting_of as setting_of
from lacuna.reporting.panels import sparsity_label as sparsity_label
from lacuna.reporting.panels import sparsity_ticks as sparsity_ticks
from lacuna.reporting.panels import subtitle as subtitle
from lacuna.reporting.panels import unchanged as unchanged
from lacuna.reporting.panels import with_dense as with_dense

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe & Ito (2008) without yellow, which is too light for lines; markers tell methods apart without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# One for each oracle that a grid can have; a second one must show where it lies upon the first.
ORACLES: tuple[dict[str, Any], ...] = (
    {"color": "#B0B0B0", "linewidth": 3.5, "linestyle": "-"},
    {"color": "#303030", "linewidth": 1.4, "linestyle": (0, (4, 2))},
    {"color": "#707070", "linewidth": 1.8, "linestyle": (0, (1, 1.5))},
    {"color": "#505050", "linewidth": 1.6, "linestyle": (0, (6, 1.5, 1, 1.5))},
)
# how far beside its tick the outermost method may lie: a fifth of a tick from the first method to the last
_ASIDE = 0.1
UNCHANGED = "hollow or hatched: returned the model unchanged"
SINGLE_SEEDS = "small dots: single seeds"

# a matplotlibrc of the user's, in the working directory or at home, is no part of an experiment
mpl.rcdefaults()
mpl.rcParams.update(
    {
        "font.family": ["DejaVu Sans"],
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E5E5E5",
        "axes.axisbelow": True,
        "legend.frameon": False,
        # the same input gives the same file
        "svg.hashsalt": "lacuna",
        "svg.fonttype": "none",
    }
)


def style_of(methods: list[str]) -> dict[str, dict[str, Any]]:
    """A colour and marker for each method, the same in every figure of an experiment."""
    return {
        method: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}
        for i, method in enumerate(methods)
    }


def message(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(6, 1), layout="constrained")
    heading(figure, text)
    return figure


def name_ticks(ax: Axes, names: list[str]) -> None:
    """Names at 0, 1, … of the x axis, aslant where they would run into each other."""
    aslant: dict[str, Any] = (
        {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 10 else {}
    )
    ax.set_xticks(range(len(names)), names, **aslant)


def heat_map(ax: Axes, values: np.ndarray, labels: list[str]) -> AxesImage:
    """Correlations [n, n] in −1 to 1 with their numbers; grey where there is none."""
    colours = LinearSegmentedColormap.from_list("", [COLOURS[1], "#FFFFFF", COLOURS[0]]).with_extremes(bad="#E0E0E0")
    image = ax.imshow(values, cmap=colours, vmin=-1, vmax=1)
    for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
        written = f"{values[i, j]:.1f}".replace("-0.0", "0.0")
        dark = abs(values[i, j]) > 0.7
        ax.text(j, i, written, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    ax.set_yticks(range(len(labels)), labels, fontsize=7)
    ax.grid(visible=False)
    return image


def heading(figure: Figure, title: str) -> None:
    """The title above all panels, in as many lines as the figure's width asks for; line breaks stay."""
    letters = int(13 * figure.get_figwidth())
    figure.suptitle("\n".join(textwrap.fill(line, letters) for line in title.split("\n")), fontsize=10)


def finish(figure: Figure, title: str, axes: np.ndarray) -> Figure:
    """Title above, one shared legend below."""
    handles: dict[str, Any] = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    # what a mark means stands behind who is drawn
    for mark in (SINGLE_SEEDS, UNCHANGED):
        if mark in handles:
            handles[mark] = handles.pop(mark)
    heading(figure, title)
    columns = _columns(list(handles), figure.get_figwidth())
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)
    return figure


def _columns(labels: list[str], inches: float) -> int:
    """The columns, at most 6, that a legend of these labels has room for."""
    for columns in range(min(6, len(labels)), 1, -1):
        # a letter of 9 points takes about 0.075 inches, a handle with its gaps 0.6
        widths = [0.6 + 0.075 * max(map(len, part)) for part in np.array_split(labels, columns)]
        if sum(widths) <= inches:
            return columns
    return 1


def grid_of_axes(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of rows × columns panels, each width × height inches."""
    figure = Figure(figsize=(width * columns + 0.4, height * rows + 1.0), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def errorbar(ax: Axes, x: Any, rows: pd.DataFrame, **style: Any) -> None:
    """Means with their intervals where there are any; hollow where a method returned the model unchanged."""
    x = np.asarray(x, dtype=float)
    error = np.array([rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"]])
    if np.isfinite(error).any():
        # no value, no cap: NaN draws nothing
        ax.errorbar(x, rows["mean"], yerr=error, capsize=2, **style)
    else:
        ax.plot(x, rows["mean"], **style)
    still = unchanged(rows)
    if still.any():
        look = {key: style[key] for key in ("marker", "markersize", "color") if key in style}
        hollow(ax, x[still], rows["mean"][still], **look)


def hollow(ax: Axes, x: Any, y: Any, **look: Any) -> None:
    """Markers with a white face over points of a method that returned the model unchanged."""
    ax.plot(x, y, linestyle="none", markerfacecolor="white", zorder=3, label=UNCHANGED, **look)


def aside(position: int, count: int) -> float:
    """How far beside its tick the one of `count` methods is drawn, so that equal values do not hide each other."""
    step = min(0.05, 2 * _ASIDE / max(count - 1, 1))
    return step * (position - (count - 1) / 2)


def dash(look: dict[str, Any], points: int) -> dict[str, Any]:
    """The marker of an oracle's line of one point, of which it is all that there is."""
    return {"marker": "_", "markersize": 16, "markeredgewidth": look["linewidth"]} if points == 1 else {}


def sparsity_axis(ax: Axes, ticks: list[str]) -> None:
    """An x axis with a tick for each sparsity, in the middle where there is but one."""
    ax.set_xticks(range(len(ticks)), [sparsity_label(s) for s in ticks])
    margin = 0.5 if len(ticks) == 1 else 0.25
    ax.set_xlim(-margin, len(ticks) - 1 + margin)


def plain_logs(axis: Axis) -> None:
    """Ticks of a logarithmic axis as people write them: 0.5, 1, 2."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def against_sparsity(
    ax: Axes,
    rows: pd.DataFrame,
    ticks: list[str],
    oracles: list[str],
    looks: dict[str, dict[str, Any]],
    cells: pd.DataFrame | None = None,
) -> None:
    """One metric against sparsity: a line with intervals for each method in `looks`, oracles as grey lines and bands.

    rows: of one metric and panel, `with_dense`. ticks: the sparsities of the panel. cells: cells.csv; with it, single
    seeds are dots where they are too few for an interval.
    """
    rows = rows.sort_values("sparsity", key=lambda s: s.astype(float), kind="stable")
    for i, oracle in enumerate(oracles):
        of = rows[rows["unlearner"] == oracle]
        if of.empty:
            continue
        x = np.array([float(ticks.index(s)) for s in of["sparsity"]])
        look = ORACLES[i % len(ORACLES)]
        ax.plot(x, of["mean"], label=f"{oracle} (oracle)", zorder=1.5, **look, **dash(look, len(of)))
        # a band of one point has no width
        at, low, high = (x, of["ci_low"], of["ci_high"]) if len(of) > 1 else ([x[0] - 0.2, x[0] + 0.2], *_ends(of))
        ax.fill_between(at, low, high, color=look["color"], alpha=0.2, linewidth=0)
    for j, (method, look) in enumerate(looks.items()):
        of = rows[rows["unlearner"] == method]
        if of.empty:
            continue
        x = np.array([ticks.index(s) + aside(j, len(looks)) for s in of["sparsity"]])
        errorbar(ax, x, of, label=method, linewidth=1.2, markersize=4.5, **look)
        for position, values in few_seeds(of, cells) if cells is not None else ():
            dots(ax, np.full(len(values), x[position]), values, look["color"])
    sparsity_axis(ax, ticks)


def dots(ax: Axes, x: Any, y: Any, color: str) -> None:
    """Values of single seeds."""
    ax.plot(x, y, linestyle="none", marker=".", markersize=4, color=color, label=SINGLE_SEEDS, zorder=2.5)


def _ends(of: pd.DataFrame) -> tuple[Any, Any]:
    return of["ci_low"].iloc[0], of["ci_high"].iloc[0]


def save(figure: Figure, *paths: str | Path) -> None:
    """Write the figure to each path, atomically, in the format of its suffix, with what `artifacts.drawings` checks."""
    for path in paths:
        suffix, place = Path(path).suffix.removeprefix("."), place_of(path)
        # no date inside: an unchanged figure stays the same file
        about = {"svg": {"Date": None}, "png": {drawings.PLACE: place}}
        with atomic(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=150, metadata=about.get(suffix))
            if suffix == "svg":
                drawings.seal_svg(temporary, place)
