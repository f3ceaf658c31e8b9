"""Figures of a study's pages, one for each question, from the tables that are committed next to them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.study.page import Study, name_of
from bench.study.tables import shown_of
from lacuna.reporting import style
from lacuna.reporting.figures.gap_dense_vs_sparse import gap_dense_vs_sparse
from lacuna.reporting.palette import FLOOR, Palette, shades
from lacuna.reporting.tables.record import told_of

# inches: a row of one method
_ROW = 0.2
# how far beside its tick each of two that are compared stands
_ASIDE = 0.09


# by the name of the file, what a reader hears who does not see it
TEXTS = {
    "gaps": "Average gap of each method to the oracles, dense and sparse, with the noise floor, for each forget set; "
    "the tables of the page have the numbers",
    "moves": "Change of each accuracy from the dense network to the sparsest, of each method and of both oracles; "
    "moves.csv has the numbers",
    "leak": "Distance of retrain from retrain_exact at each sparsity, next to that of a second run of retrain_exact; "
    "the table below has the numbers",
    "fit": "Average gap of each method against the retain accuracy of the network before anything was forgotten, for "
    "dense networks of several lengths of training and for sparse ones; summary.csv of both studies has the numbers",
}


def drawn(study: Study, whole: Mapping[str, Any], base: Study | None) -> dict[str, Figure]:
    """Every figure that the tables of a study give, by the name of its file. base: the study it is compared with."""
    told = told_of(next(iter(whole["places"].values())))
    palette = palette_of(study, told["oracles"], told["twins"])
    made = {
        "gaps": gaps_figure(study, palette),
        "moves": moves_figure(study, palette),
        "leak": leak_figure(study, palette),
        "fit": fit_figure(study, base, palette) if base is not None else None,
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def save(figure: Figure, path: Path) -> None:
    """Write an SVG of few bytes, the same for the same numbers: without a date, lengths to a hundredth of a point."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    short = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), text.getvalue())
    path.write_text(re.sub(r" +$", "", short, flags=re.MULTILINE), encoding="utf-8")


def links(study: Study, made: Mapping[str, Figure]) -> dict[str, str]:
    """By the name of the part, the Markdown of each figure on a page of docs/results; empty where it is not drawn."""
    return {
        f"{name}_figure": f"![{text}]({study.name}/{name}.svg)" if name in made else "" for name, text in TEXTS.items()
    }


def palette_of(study: Study, oracles: Sequence[str], twins: Mapping[str, str]) -> Palette:
    """Who is drawn how; methods in the order of the tables, by the labels that pages give them."""
    labels = list(dict.fromkeys(map(name_of, study.tables["summary"]["unlearner"])))
    methods = [label for label in labels if label not in (*oracles, *twins)]
    return Palette(tuple(methods), tuple(oracles), dict(twins), originals=("original",))


def gaps_figure(study: Study, palette: Palette) -> Figure | None:
    """The answer: the gap of each method to either oracle, dense and sparse, next to its floor.

    Marks of verdicts are left out of rows with fewer seeds than the study asks for. None without gaps.
    """
    summary = _by_name(study.tables["summary"])
    if not summary["metric"].str.startswith("avg_gap/").any() or summary["recipe"].nunique() > 1:
        return None
    for column in [c for c in summary if c.endswith("_verdict")]:
        summary[column] = summary[column].where(summary["n"] >= study.needed)
    return gap_dense_vs_sparse(summary, _by_name(study.tables["cells"]), palette)


def moves_figure(study: Study, palette: Palette) -> Figure | None:
    """Whether the method moves or its oracle: what each accuracy changes by from dense to the highest sparsity.

    A point with its interval for each method, a line with a band for each oracle. None without a dense state.
    """
    moves = _by_name(study.tables["moves"])
    if moves.empty:
        return None
    sparsity = max(moves["sparsity"], key=float)
    moves = moves[moves["sparsity"] == sparsity]
    scenarios, metrics = list(dict.fromkeys(moves["scenario"])), shown_of(study.tables["cells"])
    methods = palette.ordered(label for label in moves["unlearner"] if label in palette.methods)
    figure, axes = style.grid_of_axes(len(scenarios), len(metrics), 1.75, _ROW * len(methods) + 0.55)
    for row, scenario in enumerate(scenarios):
        for column, metric in enumerate(metrics):
            ax: Axes = axes[row, column]
            of = moves[(moves["scenario"] == scenario) & (moves["metric"] == metric)]
            _oracle_lines(ax, of[of["unlearner"] == "original"], palette)
            ax.axvline(0, color="black", linewidth=0.7, zorder=0.8)
            first = of[of["oracle"] == palette.oracles[0]].set_index("unlearner")
            for place, method in enumerate(methods):
                if method in first.index:
                    _point(ax, first.loc[method], ("method", place), style.mark_of(palette.look(method)))
            ax.set_ylim(len(methods) - 0.5, -0.5)
            ax.set_yticks(range(len(methods)), methods if column == 0 else [""] * len(methods))
            ax.tick_params(axis="y", length=0)
            style.entitle(ax, f"{scenario}: {metric}")
    for ax in axes[-1]:
        ax.set_xlabel("change (points)")
    seeds = f"{moves['n'].max()} seed{'s' if moves['n'].max() > 1 else ''}"
    heading = f"Change from dense to {style.sparsity_label(sparsity)}: methods are points, oracles are lines — {seeds}"
    return style.finish(figure, heading + _intervals(moves["method_low"]), axes)


def leak_figure(study: Study, palette: Palette) -> Figure | None:
    """Whether the mask leaks: how far the oracle that keeps its mask is from the exact one, next to its second run.

    None without two oracles and a second run of the exact one.
    """
    exact = palette.oracles[-1]
    twins = [label for label, of in palette.twins.items() if of == exact]
    kept, summary = study.tables["leak"], study.tables["summary"]
    if kept.empty or not twins or "UA" not in set(kept["metric"]):
        return None
    runs = {palette.oracles[0]: kept, f"second run of {exact}": summary[summary["unlearner"] == twins[0]]}
    looks = ({"color": "#303030", "marker": "o"}, {"color": FLOOR, "marker": "D"})
    columns = {f"avg_gap/{exact}": "average gap", "UA": "UA − that of exact", "MIA": "MIA − that of exact"}
    scenarios = list(dict.fromkeys(kept["scenario"]))
    figure, axes = style.grid_of_axes(len(scenarios), len(columns), 2.25, 1.55)
    for row, scenario in enumerate(scenarios):
        for column, (metric, title) in enumerate(columns.items()):
            ax: Axes = axes[row, column]
            ticks = style.sparsity_ticks(kept)
            for number, ((label, table), look) in enumerate(zip(runs.items(), looks, strict=True)):
                of = table[(table["scenario"] == scenario) & (table["metric"] == metric)]
                names = ("mean", "ci_low", "ci_high") if "/" in metric else _gap_names(exact)
                told = of[[*names]].set_axis(["mean", "ci_low", "ci_high"], axis=1)
                x = [ticks.index(s) + (2 * number - 1) * _ASIDE for s in of["sparsity"]]
                style.errorbar(ax, x, told, linestyle="none", label=label, **look)
            if "/" not in metric:
                ax.axhline(0, color="black", linewidth=0.7, zorder=0.8)
            else:
                ax.set_ylim(bottom=0)
            style.sparsity_axis(ax, ticks)
            style.entitle(ax, f"{scenario}: {title}")
            ax.set_ylabel("points" if column == 0 else "")
    heading = f"{palette.oracles[0]} against {exact}, next to a second run of it — {style.seeds_of(kept)}"
    return style.finish(figure, heading + _intervals(kept["ci_low"]), axes)


def fit_figure(study: Study, base: Study, palette: Palette) -> Figure | None:
    """Whether the sparse network merely fits less: the gap of each method on each network, with the RA it began from.

    study: dense networks trained for several recipes. base: the study that they are compared with, dense and sparse.
    They stand side by side, dense ones first: many know every image, and would lie on each other along an axis of RA.
    None where the methods of `study` have no rows in `base`, or `study` no dense networks.
    """
    oracle = palette.oracles[0]
    summaries = [_by_name(each.tables["summary"]) for each in (study, base)]
    some = [set(summary["unlearner"]) for summary in summaries]
    methods = [label for label in palette.methods if label != "original" and all(label in of for of in some)]
    scenarios = [s for s in dict.fromkeys(summaries[0]["scenario"]) if s in set(summaries[1]["scenario"])]
    if not methods or not scenarios or "0.00" not in set(summaries[0]["sparsity"]):
        return None
    figure, axes = style.grid_of_axes(len(scenarios), len(methods), 2.25, 1.75)
    for row, scenario in enumerate(scenarios):
        here = [summary[summary["scenario"] == scenario] for summary in summaries]
        for column, method in enumerate(methods):
            ax: Axes = axes[row, column]
            _fits_of(ax, here, method, oracle)
            style.entitle(ax, f"{scenario}: {method}")
            ax.set_ylabel(f"gap to {oracle} (points)" if column == 0 else "")
            ax.set_xlabel("RA of original (%)" if row == len(scenarios) - 1 else "")
    both = pd.concat(summaries)
    heading = f"Gap of dense networks of more and more epochs, and of sparse ones — {style.seeds_of(both)}"
    return style.finish(figure, heading + _intervals(both["ci_low"]), axes)


def _fits_of(ax: Axes, here: Sequence[pd.DataFrame], method: str, oracle: str) -> None:
    """The gaps of a method in one panel: dense networks of both studies, then the sparse ones of the second."""
    dense = pd.concat([rows[rows["sparsity"] == "0.00"] for rows in here])
    sparse = here[1][here[1]["sparsity"] != "0.00"]
    states = style.sparsity_ticks(here[1])
    known, removed = (_against_fit(rows, method, oracle) for rows in (dense, sparse))
    label = "dense, trained for more and more epochs"
    style.errorbar(ax, range(len(known)), known, color="#303030", marker="o", label=label)
    for number, (state, of) in enumerate(removed.groupby("sparsity", sort=False), len(known)):
        shade = shades(len(states))[states.index(str(state))]
        label = f"{style.sparsity_label(str(state))} sparse, trained to the end"
        style.errorbar(ax, [number], of, color=shade, marker="D", linestyle="none", label=label)
    every = pd.concat([known, removed])
    ax.plot(
        range(len(every)), every["floor"], linestyle="none", marker="_", color=FLOOR, label=f"second run of {oracle}"
    )
    ax.set_xticks(range(len(every)), [f"{ra:.0f}" for ra in every["ra"]])
    ax.set_xlim(-0.5, len(every) - 0.5)
    ax.set_ylim(bottom=0)


def _against_fit(rows: pd.DataFrame, method: str, oracle: str) -> pd.DataFrame:
    """Of each network its RA before anything is forgotten, and the gap of a method with its interval and floor."""
    place = ["recipe", "sparsity"]
    before = rows[(rows["unlearner"] == "original") & (rows["metric"] == "RA")].set_index(place)["mean"]
    gaps = rows[(rows["unlearner"] == method) & (rows["metric"] == f"avg_gap/{oracle}")].set_index(place)
    told = gaps[["mean", "ci_low", "ci_high", f"gap_{oracle}_floor"]].set_axis(
        ["mean", "ci_low", "ci_high", "floor"], axis=1
    )
    return told.assign(ra=before).reset_index()


def _oracle_lines(ax: Axes, of: pd.DataFrame, palette: Palette) -> None:
    """A line for the change of each oracle, with its interval as a band."""
    for row in of.to_dict("records"):
        look = palette.look(row["oracle"])
        ax.axvline(row["of_oracle"], zorder=1, label=f"{row['oracle']} (oracle)", **style.line_of(look))
        if np.isfinite(row["of_oracle_low"]):
            ax.axvspan(
                row["of_oracle_low"], row["of_oracle_high"], color=look.colour, alpha=0.15, linewidth=0, zorder=0.5
            )


def _point(ax: Axes, row: pd.Series, at: tuple[str, int], look: dict[str, Any]) -> None:
    """A value with its interval, if there is one, in a row of methods. at: the column of the value, and the row."""
    name, place = at
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if np.isfinite(low):
        ax.errorbar([value], [place], xerr=[[value - low], [high - value]], elinewidth=0.9, **look)
    else:
        ax.plot([value], [place], **look)


def _by_name(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(unlearner=table["unlearner"].map(name_of))


def _gap_names(oracle: str) -> tuple[str, str, str]:
    return f"gap_{oracle}", f"gap_{oracle}_low", f"gap_{oracle}_high"


def _intervals(low: pd.Series) -> str:
    return ", 95 % t intervals" if low.notna().any() else ", no interval"
