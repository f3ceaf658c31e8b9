"""How every figure looks: legible in print, safe for the colour-blind."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd

from lacuna.artifacts import drawings
from lacuna.artifacts.files import place_of
from lacuna.artifacts.writing import atomic

# figures find them here
from lacuna.reporting.palette import ABSENT, ITSELF, NEGATIVE, POSITIVE, STYLE_FILE, Look, Palette
from lacuna.reporting.panels import PANEL as PANEL
from lacuna.reporting.panels import base_name as base_name
from lacuna.reporting.panels import clustered as clustered
from lacuna.reporting.panels import distinct_by_layer as distinct_by_layer
from lacuna.reporting.panels import few_seeds as few_seeds
from lacuna.reporting.panels import methods_of as methods_of
from lacuna.reporting.panels import panels as panels
from lacuna.reporting.panels import seeds_of as seeds_of
from lacuna.reporting.panels import setting_of as setting_of
from lacuna.reporting.panels import sparsity_label as sparsity_label
from lacuna.reporting.panels import sparsity_ticks as sparsity_ticks
from lacuna.reporting.panels import subtitle as subtitle
from lacuna.reporting.panels import title_of_state as title_of_state
from lacuna.reporting.panels import unchanged as unchanged
from lacuna.reporting.panels import with_dense as with_dense

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# how far beside its tick the outermost method may lie: a fifth of a tick from the first method to the last
_ASIDE = 0.1
# inches: the text of a page, across two columns; how narrow a panel may become
PAGE, _LEAST = 7.2, 1.7
# metrics of a map, above which its numbers are small
_SMALL = 16
_MOST_PIXELS = 16_000
UNCHANGED = "hollow or hatched: returned the model unchanged"
SINGLE_SEEDS = "small dots: single seeds"

# a matplotlibrc of the user's, in the working directory or at home, is no part of an experiment
mpl.rcdefaults()
mpl.rcParams.update(mpl.rc_params_from_file(STYLE_FILE, use_default_template=False))


def line_of(look: Look) -> dict[str, Any]:
    """A look as the keywords of a line."""
    line: dict[str, Any] = {
        "color": look.colour,
        "linewidth": look.width,
        "linestyle": (0, look.dash) if look.dash else "-",
    }
    return line | ({"marker": look.marker} if look.marker else {})


def mark_of(look: Look) -> dict[str, Any]:
    """A look as the keywords of points without a line."""
    return {"color": look.colour, "marker": look.marker or "o", "linestyle": "none"}


def message(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(6, 1), layout="constrained")
    heading(figure, text)
    return figure


def heat_map(ax: Axes, values: np.ndarray, labels: list[str], empty: np.ndarray) -> AxesImage:
    """Correlations [n, n] in −1 to 1 with their numbers, in tenths without a leading 0.

    Light grey where there is none, dark grey on the diagonal. empty: bool [n, n], fields that stand for nothing.
    """
    colours = LinearSegmentedColormap.from_list("", [NEGATIVE, "#FFFFFF", POSITIVE]).with_extremes(bad=ABSENT)
    image = ax.imshow(values, cmap=colours, vmin=-1, vmax=1)
    no_pair = np.where(np.eye(len(labels), dtype=bool), 1.0, np.where(empty, 0.0, np.nan))
    ax.imshow(no_pair, cmap=ListedColormap(["#FFFFFF", ITSELF]), vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(np.isfinite(values)), strict=True):
        written = f"{values[i, j]:.1f}".replace("-0.0", "0.0").replace("0.", ".").replace("1.0", "1").replace(".0", "0")
        dark = abs(values[i, j]) > 0.7
        ax.text(
            j,
            i,
            written.replace("-", "−"),
            ha="center",
            va="center",
            fontsize=6 if len(labels) > _SMALL else 7.5,
            color="white" if dark else "black",
        )
    ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6.5)
    ax.set_yticks(range(len(labels)), labels, fontsize=6.5)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    return image


def heading(figure: Figure, title: str) -> None:
    """The title above all panels, in as many lines as the figure's width asks for; line breaks stay."""
    figure.suptitle(_folded(title, 14 * figure.get_figwidth()))


def _folded(text: str, letters: float) -> str:
    return "\n".join(textwrap.fill(line, max(12, int(letters)), break_long_words=False) for line in text.split("\n"))


def entitle(ax: Axes, title: str) -> None:
    """A panel's title, in as many lines as the panel's width asks for."""
    figure = cast(Figure, ax.get_figure())
    places = (axes.get_subplotspec() for axes in figure.axes)
    columns = len({place.colspan.start for place in places if place is not None})
    ax.set_title(_folded(title, 15 * figure.get_figwidth() / columns))


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
    # a long legend makes the figure higher, not its panels lower
    figure.set_figheight(figure.get_figheight() + max(0.0, 0.165 * -(-len(handles) // columns) - 0.5))
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)
    return figure


def _columns(labels: list[str], inches: float) -> int:
    """The columns, at most 6, that a legend of these labels has room for."""
    for columns in range(min(6, len(labels)), 1, -1):
        # a letter of 7.5 points takes about 0.063 inches, a handle with its gaps 0.6
        widths = [0.6 + 0.063 * max(map(len, part)) for part in np.array_split(labels, columns)]
        if sum(widths) <= inches:
            return columns
    return 1


def grid_of_axes(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure of rows × columns panels, each width × height inches, or narrower where they would leave a page."""
    width = max(_LEAST, min(width, (PAGE - 0.4) / columns))
    figure = Figure(figsize=(width * columns + 0.4, height * rows + 1.0), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def errorbar(ax: Axes, x: Any, rows: pd.DataFrame, **style: Any) -> None:
    """Means with their intervals where there are any; hollow where a method returned the model unchanged."""
    x = np.asarray(x, dtype=float)
    error = np.array([rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"]])
    if np.isfinite(error).any():
        # no value, no cap: NaN draws nothing
        ax.errorbar(x, rows["mean"], yerr=error, elinewidth=0.9, **style)
    else:
        ax.plot(x, rows["mean"], **style)
    still = unchanged(rows)
    if still.any():
        look = {key: style[key] for key in ("marker", "markersize", "color") if key in style}
        hollow(ax, x[still], rows["mean"][still], **look)


def hollow(ax: Axes, x: Any, y: Any, **look: Any) -> None:
    """Markers with a white face over points of a method that returned the model unchanged."""
    face: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "zorder": 3, "label": UNCHANGED}
    ax.plot(x, y, **look | face)


def aside(position: int, count: int) -> float:
    """How far beside its tick the one of `count` methods is drawn, so that equal values do not hide each other."""
    step = min(0.05, 2 * _ASIDE / max(count - 1, 1))
    return step * (position - (count - 1) / 2)


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
    ax: Axes, rows: pd.DataFrame, ticks: list[str], palette: Palette, cells: pd.DataFrame | None = None
) -> None:
    """One metric against sparsity: a line with intervals for each method, oracles as grey lines and bands.

    rows: of one metric and panel, `with_dense`. ticks: the sparsities of the panel. cells: cells.csv; with it, single
    seeds are dots where they are too few for an interval.
    """
    rows = rows.sort_values("sparsity", key=lambda s: s.astype(float), kind="stable")
    for oracle in palette.oracles:
        draw_oracle(ax, rows[rows["unlearner"] == oracle], ticks, palette)
    methods = palette.ordered(methods_of(rows))
    for j, method in enumerate(methods):
        of, look = rows[rows["unlearner"] == method], palette.look(method)
        x = np.array([ticks.index(s) + aside(j, len(methods)) for s in of["sparsity"]])
        errorbar(ax, x, of, label=method, **line_of(look))
        for position, values in few_seeds(of, cells) if cells is not None else ():
            dots(ax, np.full(len(values), x[position]), values, look.colour)
    sparsity_axis(ax, ticks)


def draw_oracle(ax: Axes, of: pd.DataFrame, ticks: list[str], palette: Palette) -> None:
    """An oracle's line and band against sparsity; a dash and a short band where it has one point.

    of: the rows of one oracle, in ascending sparsity, with mean, ci_low and ci_high.
    """
    if of.empty:
        return
    oracle = str(of["unlearner"].iloc[0])
    x, look = np.array([float(ticks.index(s)) for s in of["sparsity"]]), palette.look(oracle)
    # a line of one point has no length
    alone: dict[str, Any] = {"marker": "_", "markersize": 16, "markeredgewidth": look.width} if len(of) == 1 else {}
    ax.plot(x, of["mean"], label=f"{oracle} (oracle)", zorder=1.5, **line_of(look), **alone)
    ends = of["ci_low"].to_numpy(float), of["ci_high"].to_numpy(float)
    if len(of) == 1:
        x, ends = np.array([x[0] - 0.2, x[0] + 0.2]), (np.repeat(ends[0], 2), np.repeat(ends[1], 2))
    ax.fill_between(x, *ends, color=look.colour, alpha=0.2, linewidth=0)


def dots(ax: Axes, x: Any, y: Any, color: str) -> None:
    """Values of single seeds."""
    ax.plot(x, y, linestyle="none", marker=".", markersize=4, color=color, label=SINGLE_SEEDS, zorder=2.5)


def save(figure: Figure, *paths: str | Path) -> None:
    """Write the figure to each path, atomically, in the format of its suffix, with what `artifacts.drawings` checks.

    Its panels are laid out once, and stay where they are in every format.
    """
    # else each format would lay them out again and draw twice
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    for path in paths:
        suffix, place = Path(path).suffix.removeprefix("."), place_of(path)
        # no date inside: an unchanged figure stays the same file
        about = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {drawings.PLACE: place}}
        with atomic(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=_dots(figure), metadata=about.get(suffix))
            if suffix in drawings.SEALED:
                drawings.seal(temporary, place, suffix)


def _dots(figure: Figure) -> float:
    """Dots per inch: 300 for print, fewer where a side would have more pixels than viewers open."""
    return min(300.0, _MOST_PIXELS / float(max(figure.get_size_inches())))
