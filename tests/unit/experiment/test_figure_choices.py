"""Whatever metrics and methods are chosen, every figure that the plan draws has something to show, and shows it."""

import itertools
import os
import re
import struct
import subprocess
import sys

import matplotlib.container
import numpy as np
import pandas as pd
import pytest
import yaml
from places import ROOT

from lacuna.errors import LacunaError
from lacuna.experiment.config import load
from lacuna.experiment.foresight import limits_of
from lacuna.reporting import FIGURES, style
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.palette import Palette
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.disagreement import disagreement_table
from lacuna.reporting.tables.layers import layers_table
from lacuna.reporting.tables.summary import summary_table

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
PUBLISHED = ["UA", "RA", "TA", "MIA", "avg_gap"]
ALL = [*PUBLISHED, "samples", "time_s", "mask_iou", "sparsity"]
METHODS = {"original": {}, "retrain": {}, "retrain_exact": {}, "ft": {}, "ga": {}}
LAYERS = ("stem.weight", "block.conv2.weight", "block.conv1.weight")
GAP, LINES, TIME, MAPS = "gap_dense_vs_sparse", "metric_vs_sparsity", "time_vs_gap", "metric_disagreement"
GROWN = {"unprune": [{"unlearner": "ft", "p": 0.1, "rounds": 3}]}


@pytest.fixture
def plan(tmp_path, known):
    """plan(metrics, **grid) → the experiment."""

    def run(metrics, figures=None, **grid):
        full = {
            "datasets": {"digits": {}},
            "models": {"resnet8": {}},
            "recipes": {"short": {"epochs": 5, "rewind_epoch": 1}},
            "seeds": [0, 1, 2],
            "scenarios": {"class": {"forget_class": 3}},
            "pruners": {"omp": {}},
            "sparsities": ["dense", 0.9],
            "unlearners": METHODS,
        } | grid
        given = {"name": "mine", "device": "cpu", "metrics": metrics, "grid": full}
        given |= {} if figures is None else {"figures": figures}
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
        return load([tmp_path / "c.yaml"], {}, SCHEMA, known)

    return run


def tables_of(experiment, known, there=lambda cell: True):
    """The tables of an experiment whose numbers are made up; there: which cells did not fail."""
    rng = np.random.default_rng(0)
    results = []
    for cell in filter(there, experiment.cells()):
        pruner, _, sparsity = cell["state"].rpartition("-") if cell["state"] != "dense" else ("dense", "", "0.00")
        place = {c: cell.get(c) for c in COORDINATES} | {"pruner": pruner, "sparsity": sparsity}
        values = {}
        for metric in experiment.metrics:
            compared = metric in ("avg_gap", "mask_iou")
            for name in [f"{metric}/{oracle}" for oracle in experiment.oracles] if compared else [metric]:
                values[name] = float(rng.uniform(1, 90)) / (100 if metric == "mask_iou" else 1)
        layers = {"sparsity": {layer: i / 3 for i, layer in enumerate(sorted(LAYERS))}} if pruner != "dense" else {}
        if "sparsity" not in experiment.metrics:
            layers = {}
        results.append({"cell": place, "metrics": values, "layers": layers, "layer_order": list(LAYERS)})
    rows = [(*(r["cell"][c] for c in COORDINATES), m, v) for r in results for m, v in r["metrics"].items()]
    contest = Contest(
        pd.DataFrame(rows, columns=[*COORDINATES, "metric", "value"]), experiment.oracles, experiment.twins
    )
    of = known["metrics"]
    better = {m: of[m]["better"] for m in experiment.metrics if of[m]["module"] != "lacuna.evaluation.metrics.cost"}
    summary, disagreement = summary_table(contest), disagreement_table(contest, better)
    return {"cells": contest.cells, "summary": summary, "disagreement": disagreement, "layers": layers_table(results)}


def draw(name, tables, oracles, judges=()):
    figure = FIGURES[name]
    # as the script does
    more = {"judges": list(judges)} if judges and figure.about.get("oracle") else {}
    methods = style.methods_of(tables["summary"]) if "summary" in tables else ["ft"]
    palette = Palette(tuple(methods), tuple(oracles), originals=("original",))
    return figure(**{table: tables[table] for table in figure.about["reads"]}, palette=palette, **more)


def words(figure):
    return {" ".join(text.get_text().split()) for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


def words_of(figure):
    """The labels of the legend, in its order."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points(ax):
    """Every finite point of lines and length of bars."""
    xy = [np.array(line.get_xydata(), dtype=float) for line in ax.lines if len(line.get_xdata())]
    bars = [bar.get_width() for bar in ax.patches if hasattr(bar, "get_width")]
    return sum(np.isfinite(of).all(axis=1).sum() for of in xy) + np.isfinite(bars).sum() + len(ax.images)


def no_pruner(name):
    return lambda cell: not cell["state"].startswith(name)


ONE = {k: METHODS[k] for k in ("retrain", "ft")}
TWO_PRUNERS = {"pruners": {"omp": {}, "synflow": {}}}
LARGE = {
    "sparsities": ["dense", 0.5, 0.8, 0.9],
    "unlearners": METHODS | {f"m{i}": {"method": "ga"} for i in range(9)},
}
# metrics, grid, the figures that are drawn, the cells that are there
CHOICES = {
    "all": (ALL, {}, {GAP, LINES, TIME, MAPS, "layer_sparsity"}, None),
    "as published": (PUBLISHED, {}, {GAP, LINES, MAPS}, None),
    "UA": (["UA"], {}, {LINES}, None),
    "avg_gap": (["avg_gap"], {}, {GAP}, None),
    "no time": ([m for m in ALL if m != "time_s"], {}, {GAP, LINES, TIME, MAPS, "layer_sparsity"}, None),
    "no count": ([m for m in ALL if m != "samples"], {}, {GAP, LINES, TIME, MAPS, "layer_sparsity"}, None),
    "only cost": (["time_s", "peak_memory_mb"], {}, set(), None),
    "only oracles": (ALL, {"unlearners": {"retrain": {}, "retrain_exact": {}}}, {LINES, "layer_sparsity"}, None),
    "one oracle alone": (ALL, {"unlearners": {"retrain": {}}}, {LINES, "layer_sparsity"}, None),
    "only original": (
        ALL,
        {"unlearners": {"retrain": {}, "original": {}}},
        {GAP, LINES, "layer_sparsity"},
        None,
    ),
    "one method": (ALL, {"unlearners": ONE}, {GAP, LINES, TIME, "layer_sparsity"}, None),
    "dense only": (ALL, {"sparsities": ["dense"]}, {GAP, LINES, TIME, MAPS}, None),
    "0.9 only": (ALL, {"sparsities": [0.9]}, {GAP, LINES, TIME, MAPS, "layer_sparsity"}, None),
    "two models, one seed": (
        ALL,
        {"models": {"resnet8": {}, "vgg8": {"method": "resnet8", "width": 8}}, "seeds": [0]},
        {GAP, LINES, TIME, MAPS, "layer_sparsity"},
        None,
    ),
    "two seeds": (ALL, {"seeds": [0, 1]}, {GAP, LINES, TIME, MAPS, "layer_sparsity"}, None),
    "unpruned": (ALL, GROWN, {GAP, LINES, TIME, MAPS, "layer_sparsity", "mask_overlap"}, None),
    "a pruner failed": (ALL, TWO_PRUNERS, {GAP, LINES, TIME, MAPS, "layer_sparsity"}, no_pruner("synflow")),
    "large": (PUBLISHED, LARGE, {GAP, LINES, MAPS}, None),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_figure_of_a_plan_has_something_to_show(plan, known, choice):
    metrics, grid, expected, there = CHOICES[choice]
    experiment = plan(metrics, **grid)
    assert set(experiment.figures) == expected
    tables = tables_of(experiment, known, there or (lambda cell: True))
    exact = [label for label in experiment.oracles if experiment.entry("unlearners", label).method == "retrain_exact"]
    for name in experiment.figures:
        figure = draw(name, tables, experiment.oracles, exact)
        shown = [ax for ax in figure.axes if ax.axison and ax.get_label() != "<colorbar>"]
        assert shown and all(points(ax) for ax in shown), name
        if name in (GAP, LINES):
            methods = [u for u in experiment.axes["unlearners"] if u not in experiment.oracles]
            assert set(methods) <= words(figure), name


@pytest.mark.parametrize("name", [GAP, LINES, TIME, MAPS, "layer_sparsity", "mask_overlap", "bound_vs_sparsity"])
def test_without_a_value_a_figure_says_so(plan, known, name):
    experiment = plan(ALL)
    tables = {key: table.copy() for key, table in tables_of(experiment, known).items()}
    for table in tables.values():
        for column in ("mean", "value", "spearman", "ci_low", "ci_high"):
            if column in table:
                table[column] = np.nan
    figure = draw(name, tables, experiment.oracles)
    assert not figure.axes and " no " in figure.get_suptitle()


@pytest.mark.parametrize(
    ("name", "metrics", "grid", "lack"),
    [
        (TIME, PUBLISHED, {}, "a metric of samples, time_s"),
        (TIME, ["UA", "time_s"], {}, "metric avg_gap"),
        (LINES, ["avg_gap"], {}, "a metric of UA, RA, TA, MIA"),
        (GAP, ALL, {"unlearners": {"retrain": {}}}, "at least 1 method in grid.unlearners that is no oracle"),
        (MAPS, ALL, {"unlearners": ONE}, "at least 3 methods in grid.unlearners that are no oracle"),
        (MAPS, ["UA", "time_s"], {}, "at least 2 metrics that order methods"),
        ("layer_sparsity", ALL, {"sparsities": ["dense"]}, "a sparsity > 0 in grid.sparsities"),
        ("mask_overlap", ALL, {}, "grid.unprune, because all other methods keep the mask that they are given"),
        ("mask_overlap", ALL, {"unlearners": ONE, **GROWN}, "the oracle retrain_exact in grid.unlearners"),
    ],
)
def test_a_figure_by_name_is_refused_for_what_it_lacks(plan, name, metrics, grid, lack):
    with pytest.raises(
        LacunaError, match=rf"^figures\[0\]: '{name}' has nothing to show; allowed with: {re.escape(lack)}$"
    ):
        plan(metrics, [name], **grid)


def test_what_choices_leave_out_is_one_note(plan):
    notes = [n for n in limits_of(plan(PUBLISHED, unlearners=ONE)) if "figure" in n]
    assert notes == [
        "figures that have nothing to show are left out: layer_sparsity needs metric sparsity; "
        "metric_disagreement needs at least 3 methods in grid.unlearners that are no oracle; "
        "time_vs_gap needs a metric of samples, time_s"
    ]
    assert not [n for n in limits_of(plan(ALL)) if "figure" in n], "what is on request is not missed"


# ---- what is drawn ---------------------------------------------------------------------------------------------------


def caps(figure):
    """The lower and upper ends of every interval that is drawn."""
    bars = [c for ax in figure.axes for c in ax.containers if isinstance(c, matplotlib.container.ErrorbarContainer)]
    segments = [s for bar in bars for collection in bar.lines[2] for s in collection.get_segments()]
    # of lines upright, of bars lying
    return [
        (s[0, 1], s[1, 1]) if s[0, 0] == s[1, 0] else (s[0, 0], s[1, 0])
        for s in segments
        if len(s) and np.isfinite(s).all()
    ]


@pytest.mark.parametrize("name", [GAP, LINES])
def test_no_interval_of_no_length(plan, known, name):
    """A method with one seed of three has its value and no caps; a gap's interval ends at 0; n stands on the bar."""
    experiment = plan(["UA", "avg_gap"])

    def there(cell):
        return (cell["unlearner"], cell["state"]) != ("ga", "omp-0.90") or cell["seed"] == "0"

    figure = draw(name, tables_of(experiment, known, there), experiment.oracles)
    ends = caps(figure)
    assert ends and all(high > low for low, high in ends)
    if name == GAP:
        assert min(low for low, _ in ends) == 0, "of random gaps some interval would go below"
        labels = [t.get_text() for ax in figure.axes for t in ax.texts]
        assert sum("n = 1" in label for label in labels) == len(experiment.oracles)


@pytest.mark.parametrize("name", [GAP, LINES])
def test_two_seeds_are_dots(plan, known, name):
    experiment = plan(["UA", "avg_gap"], seeds=[0, 1], unlearners=ONE)
    tables = tables_of(experiment, known)
    figure = draw(name, tables, experiment.oracles)
    metric = "UA" if name == LINES else "avg_gap/retrain"
    cells = tables["cells"]
    of = cells[(cells["metric"] == metric) & (cells["unlearner"] == "ft")]
    dots = [line for ax in figure.axes for line in ax.lines if line.get_label() == style.SINGLE_SEEDS]
    assert sorted(
        v for line in dots for v in (line.get_ydata() if name == LINES else line.get_xdata())
    ) == pytest.approx(sorted(of["value"]))
    assert style.SINGLE_SEEDS in words(figure) and not caps(figure)


def test_at_one_sparsity_the_oracle_has_a_mark_and_methods_stay_at_their_tick(plan, known):
    experiment = plan(["UA"], sparsities=[0.9], unlearners=METHODS | {f"m{i}": {"method": "ga"} for i in range(9)})
    (ax,) = draw(LINES, tables_of(experiment, known), experiment.oracles).axes
    oracles = [line for line in ax.lines if line.get_label().endswith("(oracle)")]
    assert len(oracles) == 2 and all(line.get_marker() == "_" for line in oracles)
    places = [x for line in ax.lines for x in line.get_xdata() if np.isfinite(x)]
    assert max(map(abs, places)) <= 0.1 + 1e-9
    assert ax.get_xlim() == (-0.5, 0.5)


def test_a_pruner_that_failed_in_one_scenario_has_no_panel_there(plan, known):
    scenarios = {"scenarios": {"class": {"forget_class": 3}, "random": {"fraction": 0.1}}}
    experiment = plan(["UA"], **TWO_PRUNERS, **scenarios)

    def there(cell):
        return not (cell["state"].startswith("synflow") and cell["scenario"] == "random")

    figure = draw(LINES, tables_of(experiment, known, there), experiment.oracles)
    assert {ax.get_title() for ax in figure.axes} == {
        "scenario: class, pruner: omp",
        "scenario: random, pruner: omp",
        "scenario: class, pruner: synflow",
    }
    for ax in figure.axes:
        assert [t.get_text() for t in ax.get_xticklabels()] == ["dense", "90 %"]


def test_layers_are_in_the_order_of_the_network_each_model_by_itself():
    def result(model, layers):
        cell = dict(zip(COORDINATES, ("d", model, "r", 0, "class", "omp", "0.90", "ft"), strict=True))
        values = {layer: i / 10 for i, layer in enumerate(layers)}
        # as JSON has it: sorted
        return {"cell": cell, "layers": {"sparsity": dict(sorted(values.items()))}, "layer_order": list(layers)}

    table = layers_table([result("a", LAYERS), result("b", ("z.weight", "y.weight"))])
    figure = draw("layer_sparsity", {"layers": table}, ["retrain"])
    for ax, names in zip(figure.axes, (["stem", "block.conv2", "block.conv1"], ["z", "y"]), strict=True):
        assert [t.get_text() for t in ax.get_xticklabels()] == names
        assert list(ax.lines[0].get_ydata()) == pytest.approx([10.0 * i for i in range(len(names))])


def test_a_model_returned_unchanged_is_marked(plan, known):
    experiment = plan(["UA", "avg_gap", "samples"], unlearners=ONE | {"ga": {}})
    tables = tables_of(experiment, known)
    summary = tables["summary"]
    summary["unchanged"] = np.where((summary["unlearner"] == "ga") & (summary["sparsity"] == "0.90"), 3, 0)
    for name in (LINES, TIME):
        figure = draw(name, tables, experiment.oracles)
        assert style.UNCHANGED in words(figure)
        (mark,) = [line for ax in figure.axes for line in ax.lines if line.get_label() == style.UNCHANGED]
        wanted = summary[
            (summary["unchanged"] > 0) & (summary["metric"] == ("UA" if name == LINES else "avg_gap/retrain"))
        ]
        assert mark.get_markerfacecolor() == "white" and list(mark.get_ydata()) == pytest.approx(list(wanted["mean"]))
    gap = draw(GAP, tables, experiment.oracles)
    bars = [bar for ax in gap.axes for bar in ax.patches if bar.get_hatch()]
    assert [bar.get_width() for bar in bars if bar.get_width() > 0] == pytest.approx(list(wanted["mean"]))
    legend = dict(zip(words_of(gap), gap.legends[0].legend_handles, strict=True))
    assert legend[style.UNCHANGED].get_hatch() and not legend["dense"].get_hatch() and not legend["90 %"].get_hatch()
    summary["unchanged"] = 0
    assert not any(style.UNCHANGED in words(draw(name, tables, experiment.oracles)) for name in (LINES, TIME, GAP))


def test_cost_is_counted_where_it_is_known(plan, known):
    experiment = plan(["avg_gap", "samples", "time_s"], unlearners=ONE)
    tables = tables_of(experiment, known)
    by_count = draw(TIME, tables, experiment.oracles)
    assert by_count.axes[-1].get_xlabel() == "samples that the method read"
    summary = tables["summary"]
    of = summary[(summary["metric"] == "samples") & (summary["unlearner"] == "ft")]
    places = {x for line in by_count.axes[0].lines if line.get_label() == "ft" for x in line.get_xdata()}
    assert sorted(places) == pytest.approx(sorted(of["mean"]))
    without = {"summary": summary[summary["metric"] != "samples"]}
    assert "wall clock" in draw(TIME, without, experiment.oracles).axes[-1].get_xlabel()


@pytest.mark.parametrize(
    "grid", [LARGE, {"seeds": [0]}, {"sparsities": ["dense", 0.5, 0.9]}], ids=["large", "one", "3"]
)
def test_labels_of_bars_do_not_collide(plan, known, grid):
    experiment = plan(["avg_gap"], **grid)
    lacks_seed = tables_of(experiment, known, lambda cell: cell["unlearner"] != "ft" or cell["seed"] == "0")
    figure = draw(GAP, lacks_seed, experiment.oracles)
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [text.get_window_extent() for text in ax.texts]
        assert boxes and all(box.x1 <= figure.bbox.x1 + 1 and box.x0 >= ax.bbox.x0 for box in boxes)
        assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_verdicts_stand_on_the_bars(plan, known):
    experiment = plan(["avg_gap"], unlearners=ONE)
    tables = tables_of(experiment, known)
    assert not any("second run, ↓" in text for text in words(draw(GAP, tables, experiment.oracles)))
    verdicts = ["farther", "not shown"]
    summary = tables["summary"]
    summary.loc[summary["unlearner"] == "ft", "gap_retrain_verdict"] = verdicts
    figure = draw(GAP, tables, experiment.oracles)
    assert [text.get_text().endswith("↑") for text in figure.axes[0].texts] == [True, False]
    assert any("↑ farther from the oracle" in text for text in words(figure))


@pytest.mark.parametrize("seed", range(3))
def test_labels_never_collide_whatever_the_data(plan, known, seed):
    """Of 37 methods at three sparsities, with values over five orders of magnitude, seeds that lack, and verdicts."""
    many = {f"method_{i}": {"method": "ga"} for i in range(37)}
    experiment = plan(["avg_gap"], sparsities=["dense", 0.5, 0.9], unlearners={"retrain": {}} | many)
    rng = np.random.default_rng(seed)
    tables = tables_of(experiment, known, lambda cell: cell["unlearner"] == "retrain" or rng.random() > 0.2)
    summary = tables["summary"]
    scale = 10 ** rng.uniform(-3, 2, len(summary))
    for column in ("mean", "ci_low", "ci_high"):
        summary[column] *= scale
    summary["gap_retrain_verdict"] = rng.choice(["farther", "closer", "not shown"], len(summary))
    figure = draw(GAP, tables, experiment.oracles)
    assert figure.get_figwidth() <= style.PAGE + 0.01
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) > 60 and all(box.x1 <= figure.bbox.x1 for box in boxes)
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    names = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(a.y0 >= b.y1 for a, b in itertools.pairwise(names))


def test_the_map_of_thirty_metrics_can_be_read_in_print(plan, known):
    """On a page's width: no text below 6 points, none wider than its cell, one panel for each place."""
    many = [name for name, of in known["metrics"].items() if of["better"] != "none" and of["default"]]
    many = [m for m in many if known["metrics"][m]["module"] != "lacuna.evaluation.metrics.cost"][:30]
    assert len(many) == 30
    experiment = plan(many)
    figure = draw(MAPS, tables_of(experiment, known), experiment.oracles)
    assert figure.get_figwidth() <= style.PAGE + 0.01
    figure.draw_without_rendering()
    ax, _ = figure.axes
    labels = [t.get_text() for t in ax.get_xticklabels()]
    assert len(labels) == len(set(labels)) == 30
    cell = ax.bbox.width / 30
    assert len(ax.texts) > 300 and all(text.get_window_extent().width <= cell for text in ax.texts)
    assert min(t.get_fontsize() for t in (*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels())) >= 6


def test_a_metric_of_the_users_choice_has_a_row(plan, known):
    """What measures predictions and needs no oracle; of many metrics the four alone."""
    few = plan(["TA", "UA", "ZRF", "MIA_entropy", "avg_gap", "time_s"])
    figure = draw(LINES, tables_of(few, known), few.oracles)
    rows = [ax.get_ylabel().partition(":")[0].partition(" ")[0] for ax in figure.axes]
    assert rows == ["UA", "TA", "ZRF", "MIA_entropy"]
    all_of_them = plan([name for name, of in known["metrics"].items() if of["default"]])
    assert len(draw(LINES, tables_of(all_of_them, known), all_of_them.oracles).axes) == 4


def test_a_method_looks_the_same_in_every_figure(plan, known):
    """Whoever is drawn next to it."""
    experiment = plan(ALL, unlearners=METHODS | {"rl": {}, "l1_sparse": {}})
    tables = tables_of(experiment, known)
    palette = Palette(("original", "ft", "ga", "rl", "l1_sparse"), experiment.oracles, originals=("original",))
    seen = set()
    for name, part in ((LINES, "rl"), (TIME, "rl"), (LINES, None)):
        of = {
            k: t[t["unlearner"].isin(["original", "retrain", "retrain_exact", part or "rl", "ga"])]
            for k, t in tables.items()
            if k in ("summary", "cells")
        }
        figure = FIGURES[name](**{table: of[table] for table in FIGURES[name].about["reads"]}, palette=palette)
        lines = [line for ax in figure.axes for line in ax.lines]
        containers = [c.lines[0] for ax in figure.axes for c in ax.containers if c.get_label() == "rl"]
        drawn = [*containers, *(line for line in lines if line.get_label() == "rl")]
        seen |= {(line.get_color(), line.get_marker()) for line in drawn}
    assert seen == {(palette.look("rl").colour, palette.look("rl").marker)}


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_tables_give_the_same_bytes(plan, known, tmp_path, suffix):
    experiment = plan(["UA", "avg_gap"], unlearners=ONE)
    tables = tables_of(experiment, known)
    made = []
    for folder in ("one", "two"):
        style.save(draw(GAP, tables, experiment.oracles), tmp_path / folder / f"gap.{suffix}")
        made.append((tmp_path / folder / f"gap.{suffix}").read_bytes())
    assert made[0] == made[1]
    if suffix == "svg":
        assert b">retrain" in made[0] or b"avg gap to retrain" in made[0], "text is text"
        assert b"DejaVu Sans" in made[0] and b"sans-serif" in made[0]
    elif suffix == "pdf":
        assert b"CreationDate" not in made[0] and b"/Type3" not in made[0]
    else:
        (dots,) = {*struct.unpack(">II", made[0].partition(b"pHYs")[2][:8])}
        assert dots == pytest.approx(300 / 0.0254, rel=0.001)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["svg"], 'figure_formats: ["svg"] is not allowed; allowed: a list of svg, pdf and png, with png'),
        (["png", "gif"], 'figure_formats[1]: "gif" is not allowed; allowed: one of svg, pdf, png'),
    ],
)
def test_formats_are_chosen(plan, tmp_path, known, given, told):
    assert plan(["UA"]).figure_formats == ("svg", "pdf", "png")
    held = yaml.safe_load((tmp_path / "c.yaml").read_text())
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(held | {"figure_formats": given}))
    with pytest.raises(LacunaError, match=rf"^{re.escape(told)}$"):
        load([tmp_path / "c.yaml"], {}, SCHEMA, known)


def test_a_matplotlibrc_in_the_working_directory_changes_nothing(tmp_path):
    """The same picture, byte for byte, whatever style a user keeps."""
    code = (
        "import sys; from lacuna.reporting import style; f, a = style.grid_of_axes(1, 1, 3, 2);"
        "a[0, 0].plot([1, 2], label='x'); style.save(style.finish(f, 'title', a), *sys.argv[1:])"
    )
    (tmp_path / "plain").mkdir()
    (tmp_path / "styled").mkdir()
    (tmp_path / "styled/matplotlibrc").write_text(
        "font.family: monospace\nlines.linewidth: 7\nfigure.facecolor: red\nsavefig.bbox: tight\nfont.size: 20\n"
    )
    made = []
    for folder in ("plain", "styled"):
        subprocess.run([sys.executable, "-c", code, "f.svg"], cwd=tmp_path / folder, check=True, env=os.environ)
        made.append((tmp_path / folder / "f.svg").read_bytes())
    assert made[0] == made[1]
