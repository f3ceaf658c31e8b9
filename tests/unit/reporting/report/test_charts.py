"""Charts: what stands where, which points are on the front, which metrics stand next to each other."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from lacuna.reporting.panels import clustered, distinct_by_layer, title_of_state
from lacuna.reporting.report.chart import readable
from lacuna.reporting.report.charts.curves import _ends as ends
from lacuna.reporting.report.charts.dots import Dots, even
from lacuna.reporting.report.charts.pareto import front
from lacuna.reporting.report.looks import states
from lacuna.reporting.report.study import named


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_the_front_is_what_no_point_beats(points: list[tuple[int, int]]) -> None:
    def beaten(point: tuple[int, int]) -> bool:
        return any(o != point and o[0] <= point[0] and o[1] <= point[1] for o in points)

    assert front(points) == {point for point in points if not beaten(point)}


def test_metrics_that_agree_stand_next_to_each_other() -> None:
    """Two families of metrics, shuffled: each is one block."""
    rng = np.random.default_rng(0)
    family = {f"m{i}": i % 2 for i in rng.permutation(30)}
    names = list(family)
    square = pd.DataFrame(
        [[np.nan if a == b else 0.9 if family[a] == family[b] else -0.6 for b in names] for a in names], names, names
    )
    order = clustered(square)
    assert sorted(order) == sorted(names)
    assert sum(family[a] != family[b] for a, b in itertools.pairwise(order)) == 1


def test_a_panel_of_one_state_is_named_by_it_and_by_what_varies() -> None:
    place = {"dataset": "digits", "scenario": "class", "pruner": "omp", "sparsity": "0.90"}
    assert title_of_state(place, ("scenario", "pruner", "sparsity")) == "class, omp, 90 %"
    assert title_of_state(place | {"pruner": "dense", "sparsity": "0.00"}, ()) == "dense"


def test_a_mask_is_drawn_once_with_the_first_label_that_has_it() -> None:
    """Means over seeds, layers in the order of the table."""
    values = {"ft": (0.9, 0.5), "ga": (0.9, 0.5), "retrain": (0.9, 0.6)}
    layers = pd.DataFrame(
        [
            {"layer": layer, "unlearner": label, "seed": seed, "value": value + shift}
            for label, of in values.items()
            for seed, shift in ((0, -0.125), (1, 0.125))
            for layer, value in zip(("stem", "block"), of, strict=True)
        ]
    )
    found = distinct_by_layer(layers, ["ft", "ga", "retrain"])
    assert list(found) == ["ft", "retrain"]
    assert found["retrain"].to_dict() == pytest.approx({"stem": 0.9, "block": 0.6})
    assert list(found["ft"].index) == ["stem", "block"]
    assert list(distinct_by_layer(layers, ["ga", "ft"])) == ["ga"]


def test_a_metric_without_an_order_is_kept() -> None:
    square = pd.DataFrame(np.nan, index=list("abcd"), columns=list("abcd"))
    assert sorted(clustered(square)) == list("abcd")
    assert clustered(square.iloc[:2, :2]) == ["a", "b"]


@pytest.mark.parametrize("log", [False, True])
def test_marks_and_intervals_lie_inside_the_axis(log: bool) -> None:
    dots = Dots(["ft", "ga"], states(["dense"]), "x", log=log)
    rows = [
        {"m": "ft", "s": "dense", "v": 3.0, "low": 1.0, "high": 9.0, "f": 12.0},
        {"m": "ga", "s": "dense", "v": 0.5},
    ]
    (panel,) = dots.panels([("one", rows)])
    assert panel.params["low"] < 0.5 and panel.params["high"] > 12.0
    assert "ft dense 3" in panel.alt and "ga dense 0.5" in panel.alt


@pytest.mark.parametrize("log", [False, True])
def test_a_single_value_lies_inside_its_axis_with_room_for_its_label(log: bool) -> None:
    (panel,) = Dots(["ft"], states(["dense"]), "x", log=log).panels([("one", [{"m": "ft", "s": "dense", "v": 3.0}])])
    assert panel.params["low"] < 3.0 and panel.params["high"] >= 1.3 * 3.0


def test_axes_of_percents_have_no_number_above_100() -> None:
    """Labels stand in room behind the last value, which is no place for a number of the axis."""
    rows = [{"m": "ft", "s": "dense", "v": v, "low": v - 8, "high": v + 8, "f": None} for v in (40.0, 97.0)]
    dots = Dots(["ft"], states(["dense"]), "MIA (%)")
    (panel,) = dots.panels([("one", rows)])
    assert panel.params["high"] > 100 and panel.params["ticks"] == [40, 60, 80, 100]
    assert {"name": "ticks", "value": []} in dots.spec()["params"]
    (point,) = [layer for layer in dots.spec()["layer"] if layer["mark"]["type"] == "point"]
    assert point["encoding"]["x"]["axis"]["values"] == {"expr": "ticks"}
    assert "tickCount" not in point["encoding"]["x"]["axis"]
    low, high = ends("MIA", rows)
    assert high == 100 and low < 32
    # of what stays far below, the axis has room above
    assert 47 < ends("MIA", [{"v": 45.0, "low": 44.0, "high": 46.0}])[1] < 60


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (93.1, 96.2, [94, 95, 96]), (0, 0.9, [0, 0.2, 0.4, 0.6, 0.8])],
)
def test_numbers_of_an_axis_are_round_and_even(low: float, high: float, ticks: list[float]) -> None:
    assert even(low, high) == ticks


@pytest.mark.parametrize(("low", "high"), [(-110.0, 300.0), (-30.0, 70.0), (20.0, 190.0)])
def test_an_interval_of_percents_does_not_stretch_its_axis(low: float, high: float) -> None:
    row = {"m": "ft", "s": "dense", "v": 50.0, "low": low, "high": high, "f": None}
    ends = Dots(["ft"], states(["dense"]), "MIA (%)").panels([("one", [row])])[0].params
    # room for the labels included
    assert -10 < ends["low"] < 50 and ends["high"] < 138
    (free,) = Dots(["ft"], states(["dense"]), "klom").panels([("one", [row])])
    assert free.params["low"] < low and free.params["high"] > high


@pytest.mark.parametrize("label", ["pushaway", "ga", "momentum_mm", "retrain_exact"])
def test_a_label_of_an_axis_has_room_for_its_letters(label: str) -> None:
    """At the size of an axis' labels, in a font that is wider than most."""
    width = TextPath((0, 0), label, size=11, prop=FontProperties("DejaVu Sans")).get_extents().width
    spec = Dots([label], states(["dense"]), "x").spec()
    axes = [layer["encoding"]["y"]["axis"] for layer in spec["layer"] if "y" in layer["encoding"]]
    assert axes and all(width <= axis["labelLimit"] <= axis["maxExtent"] - 4 for axis in axes)


def test_panels_share_an_axis() -> None:
    dots = Dots(["ft"], states(["dense"]), "x", bars=True)
    low, high = dots.panels([(t, [{"m": "ft", "s": "dense", "v": v}]) for t, v in (("a", 1.0), ("b", 50.0))])
    assert low.params == high.params and low.params["low"] == 0


def test_a_floor_of_changes_is_a_band_around_0() -> None:
    row = {"m": "ft", "s": "90 %", "v": -2.0, "f": 1.5, "mark": "closer"}
    (panel,) = Dots(["ft"], states(["90 %"]), "x", centred=True).panels([("one", [row])])
    assert panel.rows[0]["flow"] == -1.5 and panel.rows[0]["text"] == "−2 ▼"
    assert panel.params["low"] < -2 and panel.params["high"] > 1.5


def test_an_axis_of_changes_shows_where_there_is_none() -> None:
    row = {"m": "ft", "s": "90 %", "v": -20.0}
    (panel,) = Dots(["ft"], states(["90 %"]), "x", centred=True).panels([("one", [row])])
    assert panel.params["low"] < -20 and panel.params["high"] > 0


def test_numbers_and_names_as_people_write_them() -> None:
    assert [readable(v) for v in (0.91234, -4.5, 4790.2, 12_300_000)] == ["0.912", "−4.50", "4,790", "12.3M"]
    assert [readable(v) for v in (49.97, 0.17, 190.0, 0.0, 123.4)] == ["50.0", "0.170", "190", "0", "123"]
    assert [named(m) for m in ("MIA", "avg_gap/retrain", "samples", "klom/retrain", "mine")] == [
        *("MIA (%)", "avg_gap to retrain (points)", "samples", "klom to retrain (nats)", "mine"),
    ]
