"""Figures: what they declare is what they take, and who is drawn in them."""

import inspect

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lacuna.experiment.catalogue import describe
from lacuna.reporting import FIGURES
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.figures import metric_vs_sparsity
from lacuna.reporting.figures.metric_disagreement import _both_halves
from lacuna.reporting.palette import FLOOR, Palette
from lacuna.reporting.tables.backdoor import backdoor_table
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.disagreement import disagreement_table
from lacuna.reporting.tables.layers import layers_table
from lacuna.reporting.tables.roc import roc_table
from lacuna.reporting.tables.summary import summary_table

ORACLES = ["retrain", "retrain_exact"]
TWINS = {"retrain_b": "retrain", "retrain_exact_b": "retrain_exact"}
PALETTE = Palette(("original", "ft", "ga", "rl"), tuple(ORACLES), TWINS, ("original",))
BETTER = {"UA": "oracle", "RA": "oracle", "TA": "oracle", "MIA": "oracle", "avg_gap": "lower"}


def tables(twins, seeds=1, states=(("dense", "0.00"), ("omp", "0.90")), metrics=tuple(BETTER)):
    """The tables of random cells."""
    rng = np.random.default_rng(0)
    names = [f"{m}/{o}" for m in metrics if m == "avg_gap" for o in ORACLES] + [m for m in metrics if m != "avg_gap"]
    rows = [
        ("d", "m", "r", seed, "class", *state, unlearner, metric, rng.random())
        for seed in range(seeds)
        for state in states
        for unlearner in ("ft", "ga", "rl", *ORACLES, *twins)
        for metric in (*names, "time_s")
    ]
    contest = Contest(pd.DataFrame(rows, columns=[*COORDINATES, "metric", "value"]), ORACLES, twins)
    return {
        "summary": summary_table(contest),
        "disagreement": disagreement_table(contest, BETTER),
        "layers": layers_table([]),
        "cells": contest.cells,
        "transfer": pd.concat([summary_table(probed(contest)).assign(target=target) for target in ("pets", "sun")]),
        "roc": curves(("ft", "ga", "rl", *ORACLES, *twins), ORACLES, twins, range(seeds), states),
        "backdoor": backdoor_table(contest, None, metrics=("UA", "TA")).replace({"UA": "ASR", "TA": "SA"}),
    }


def probed(contest):
    """The same cells as probes: what they have of one metric is the accuracy on the target."""
    names = {"UA": "target_accuracy", "time_s": "total_time_s"}
    cells = contest.cells[contest.cells["metric"].isin(names)]
    return Contest(cells.assign(metric=cells["metric"].map(names)), contest.oracles, contest.twins)


def curves(methods, oracles, twins, seeds=(0,), states=(("dense", "0.00"), ("omp", "0.90"))):
    """A table of curves, a higher one for each further method."""
    fpr = [0.002, 0.01, 0.1, 1.0]
    results = [
        {
            "cell": dict(zip(COORDINATES, ("d", "m", "r", seed, "random", *state, method), strict=True)),
            "attacks": {a: {"fpr": fpr, "tpr": [min(1.0, x * (i + 1)) for x in fpr]} for a in ("u_lira", "rmia")},
        }
        for state in states
        for seed in seeds
        for i, method in enumerate(methods)
    ]
    return roc_table(results, oracles, twins)


def drawn(name, made):
    figure = FIGURES[name]
    return figure(**{table: made[table] for table in figure.about["reads"]}, palette=PALETTE)


def words(figure):
    """All that stands in a figure, each text on one line."""
    return {" ".join(text.get_text().split()) for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


@pytest.mark.parametrize("twins", [{}, TWINS], ids=["no twins", "twins"])
@pytest.mark.parametrize("name", ["gap_dense_vs_sparse", "metric_vs_sparsity", "time_vs_gap"])
def test_twins_are_a_floor_and_no_method(name, twins):
    made = words(drawn(name, tables(twins)))
    assert {"ft", "ga", "rl"} <= made
    assert not made & set(TWINS)
    assert any("noise floor" in text for text in made) == (bool(twins) and name != "metric_vs_sparsity")


def test_dotted_lines_cross_no_label_of_a_bar():
    """Without twins the distances between the oracles are lines; a label covers one that passes behind it."""
    figure = drawn("gap_dense_vs_sparse", tables({}))
    for ax in figure.axes:
        lines = [line for line in ax.lines if line.get_linestyle() == ":"]
        assert lines and ax.texts
        for text in ax.texts:
            assert text.get_bbox_patch() is not None
            assert all(line.get_zorder() < text.get_zorder() for line in lines)


def test_the_heading_of_verdicts_has_no_name_of_a_column():
    said = tables(TWINS, seeds=3)
    said["summary"]["gap_retrain_verdict"] = "farther"
    made = " ".join(words(drawn("gap_dense_vs_sparse", said)))
    assert "↑ farther from the oracle than its second run" in made and "excess_p" not in made


def test_the_band_of_costs_ends_at_the_nearest_floor():
    """Of two sparsities the smaller one: in a wider band points of the other would be farther than its second run."""
    made = tables(TWINS)
    of = made["summary"][made["summary"]["metric"] == "avg_gap/retrain"]["gap_retrain_floor"].dropna()
    ax = drawn("time_vs_gap", made).axes[0]
    (band,) = [patch for patch in ax.patches if "floor" in str(patch.get_label())]
    assert band.get_height() == pytest.approx(of.min()) and of.min() < of.max()
    # a thin band of its pale colour alone would not be seen
    assert to_hex(band.get_edgecolor()) == FLOOR.lower() and band.get_linewidth() > 0


def test_intervals_are_seen_on_dark_bars_and_floors_are_upright_in_the_legend():
    figure = drawn("gap_dense_vs_sparse", tables(TWINS, seeds=3))
    whiskers = [c for c in figure.axes[0].collections if isinstance(c, LineCollection) and len(c.get_segments())]
    white, dark, *_ = [w for w in whiskers if to_hex(w.get_edgecolor()[0]) != FLOOR.lower()]
    assert to_hex(white.get_edgecolor()[0]) == "#ffffff" and white.get_linewidth()[0] > dark.get_linewidth()[0]
    handles = dict(zip(*figure.axes[0].get_legend_handles_labels()[::-1], strict=True))
    assert handles["noise floor of retrain: its second run"].get_marker() == "|"


@pytest.mark.parametrize(("seeds", "said"), [(1, "no interval"), (3, "95 % t intervals"), (10, "95 % t intervals")])
def test_title_says_what_the_bars_are(seeds, said):
    made = words(drawn("gap_dense_vs_sparse", tables({}, seeds)))
    assert any(said in text for text in made)


@pytest.mark.parametrize("name", FIGURES)
def test_title_and_legend_stay_inside_the_narrowest_figure(name):
    declared = [metric for metric in FIGURES[name].about.get("metrics", ()) if metric not in BETTER]
    figure = drawn(name, tables(TWINS, seeds=3, metrics=(*BETTER, *declared)))
    figure.draw_without_rendering()
    for part in (figure._suptitle, *figure.legends):
        box = part.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, part


def test_disagreement_has_dense_below_and_sparse_above_the_diagonal():
    made = tables({})["disagreement"]
    part = made[made["oracle"] == "retrain"].assign(a=lambda t: t["metric_a"], b=lambda t: t["metric_b"])
    metrics = ["RA", "UA", "TA"]
    square = _both_halves(part[part["a"].isin(metrics) & part["b"].isin(metrics)], metrics, "0.00", "0.90")
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pair = part[part.apply(lambda row, i=i, j=j: {row["a"], row["b"]} == {metrics[i], metrics[j]}, axis=1)]
        found = pair.set_index("sparsity")["spearman"]
        assert (square[j, i], square[i, j]) == (found["0.00"], found["0.90"])
    assert np.isnan(np.diag(square)).all()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("states", [[("dense", "0.00")], [("dense", "0.00"), ("omp", "0.90")]])
def test_grey_of_a_map_is_said_where_a_metric_has_no_order(states, tied):
    """The diagonal, where no two metrics meet, has a colour of its own, and so has the half of no state."""
    made = tables({}, states=states)
    pairs = made["disagreement"]
    if tied:
        pairs.loc[(pairs["metric_a"] == "RA") & (pairs["metric_b"] == "UA"), "spearman"] = np.nan
        pairs.loc[(pairs["metric_a"] == "UA") & (pairs["metric_b"] == "RA"), "spearman"] = np.nan
    figure = drawn("metric_disagreement", made)
    assert any("light grey" in text for text in words(figure)) == tied
    values, no_pair = (image.get_array() for image in figure.axes[0].images)
    own = np.asarray(no_pair.filled(np.nan))
    assert (np.diag(own) == 1).all() and (own[np.tri(len(own), k=-1, dtype=bool)] != 1).all()
    above = np.tri(len(own), k=-1, dtype=bool).T
    assert (own[above] == 0).all() if len(states) == 1 else np.isnan(own[above]).all()
    # ABSENT is what neither a number nor one of these covers
    bare = np.ma.getmaskarray(values) & np.isnan(own)
    assert bare.any() == tied


@pytest.mark.parametrize("states", [[("dense", "0.00")], [("omp", "0.90")]])
def test_disagreement_of_one_state_or_of_nothing_is_still_a_figure(states):
    made = words(drawn("metric_disagreement", tables({}, states=states)))
    assert any("below: " in text for text in made) and not any("above: " in text for text in made)
    empty = words(drawn("metric_disagreement", tables({}, metrics=["UA"])))
    assert any("no two metrics order three methods" in text for text in empty)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_takes_the_tables_that_it_declares(name):
    """The workflow hands over each declared table by its name, the palette, and the oracles of the method it names."""
    figure = FIGURES[name]
    asked = ["judges"] if figure.about.get("oracle") else []
    assert list(inspect.signature(figure).parameters) == [*figure.about["reads"], "palette", *asked]
    assert isinstance(figure.about["reads"], tuple), "('summary',), not ('summary')"


def test_the_plan_knows_what_each_figure_reads():
    """The catalogue, which plans the inputs of the rule, has the declaration of every figure."""
    facts = describe()["figures"]
    assert {name: tuple(f["reads"]) for name, f in facts.items()} == {n: f.about["reads"] for n, f in FIGURES.items()}


# ---- transfer --------------------------------------------------------------------------------------------------------


def test_transfer_has_accuracy_and_time_of_every_target():
    made = tables(TWINS, seeds=3)["transfer"]
    figure = FIGURES["transfer"](transfer=made, palette=PALETTE)
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels == [f"{t}:\n{m}" for t in ("pets", "sun") for m in ("accuracy (%)", "unlearning and probe (s)")]
    assert [ax.get_yscale() for ax in figure.axes] == ["linear", "log", "linear", "log"]
    assert {"ft", "ga", "rl", "retrain (oracle)", "retrain_exact (oracle)"} <= words(figure)
    means = made[(made["target"] == "sun") & (made["metric"] == "target_accuracy") & (made["unlearner"] == "ga")]
    (line,) = [c.lines[0] for c in figure.axes[2].containers if c.get_label() == "ga"]
    assert list(line.get_ydata()) == pytest.approx(list(means["mean"]))


# ---- roc -------------------------------------------------------------------------------------------------------------


def test_roc_has_a_panel_per_attack_and_state_and_a_curve_per_method_and_seed():
    made = curves(("original", "retrain", "ga", "again"), ["retrain"], {"again": "retrain"}, seeds=(0, 1))
    figure = FIGURES["roc"](
        roc=made, palette=Palette(("original", "ga"), ("retrain",), {"again": "retrain"}, ("original",))
    )
    assert len(figure.axes) == 4
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["dense", "omp, 90 %", "", ""]
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlim() == (0.002, 1)
        drawn = [line for line in ax.lines if len(line.get_xdata()) == 4]
        assert len(drawn) == 2 * 4
        assert {line.get_label() for line in drawn} == {"original", "retrain (oracle)", "ga", "again (twin)"}
        of = {line.get_label(): list(line.get_ydata()) for line in drawn}
        assert of["ga"] == pytest.approx([0.006, 0.03, 0.3, 1.0])
    assert "2 seeds" in figure.get_suptitle()


def test_roc_puts_dense_first_whatever_the_order_of_cells():
    states = (("omp", "0.90"), ("dense", "0.00"))
    figure = FIGURES["roc"](
        roc=curves(("ga", "retrain"), ["retrain"], {}, states=states),
        palette=Palette(("original", "ga"), ("retrain",), {"again": "retrain"}, ("original",)),
    )
    assert [ax.get_title() for ax in figure.axes[:2]] == ["dense", "omp, 90 %"]


def test_four_oracles_are_told_apart():
    """Retraining from each of its three starts, and exact retraining: no two lines are drawn alike."""
    oracles = ["retrain", "retrain_exact", "retrain_fresh", "retrain_rewind"]
    figure = FIGURES["roc"](
        roc=curves((*oracles, "ga"), oracles, {}, seeds=(0,)), palette=Palette(("ga",), tuple(oracles))
    )
    drawn = {line.get_label(): line for line in figure.axes[0].lines if line.get_label().endswith("(oracle)")}
    assert len({(line.get_color(), line.get_linestyle(), line.get_linewidth()) for line in drawn.values()}) == 4


@pytest.mark.parametrize(
    ("metric", "alike", "limits", "told"),
    [
        ("UA", False, [(40.0, 41.0), (0.0, 90.0)], [(38.0, 43.0), (0.0, 90.0)]),  # 5 points are the least
        ("UA", True, [(40.0, 41.0), (0.0, 90.0)], [(0.0, 90.0), (0.0, 90.0)]),
        ("UA", False, [(-30.0, 130.0)], [(-5.0, 105.0)]),
        ("klom", False, [(40.0, 41.0), (-30.0, 130.0)], [(40.0, 41.0), (-30.0, 130.0)]),
        ("klom", True, [(40.0, 41.0), (-30.0, 130.0)], [(-30.0, 130.0), (-30.0, 130.0)]),
        ("UA", True, [], []),
    ],
)
def test_axes_of_percents_stretch_no_small_difference_and_panels_of_a_place_are_alike(metric, alike, limits, told):
    row = [Figure().add_subplot() for _ in limits]
    for ax, ends in zip(row, limits, strict=True):
        ax.set_ylim(*ends)
    metric_vs_sparsity._scale(row, metric, alike)
    assert [ax.get_ylim() for ax in row] == pytest.approx(told)
