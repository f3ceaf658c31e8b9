"""The figures of masks, of the bound and of the attack's sensitivity show what the tables say."""

import pytest

from lacuna.reporting import FIGURES
from lacuna.reporting.palette import Palette
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.layers import layers_table
from lacuna.reporting.tables.summary import summary_table

PLACE = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "class", "pruner": "omp", "sparsity": "0.90"}
ORACLES = ["retrain", "retrain_exact"]
PALETTE = Palette(
    ("original", "ft", "unprune.ft.p10.r3", "unprune", "ga"), tuple(ORACLES), {"retrain_exact_b": "retrain_exact"}
)
LAYERS = ("conv1.weight", "conv2.weight")


def result(unlearner, seed, metrics, layers=None, **place):
    cell = PLACE | {"unlearner": unlearner, "seed": seed} | place
    return {"cell": cell, "metrics": metrics, "layers": layers or {}}


def summary(results):
    return summary_table(Contest(cells_table(results), ORACLES, {"retrain_exact_b": "retrain_exact"}))


def lines(ax, label):
    return [line for line in ax.get_lines() if line.get_label() == label]


def overlaps():
    values = {"retrain_exact": 1.0, "retrain": 0.2, "retrain_exact_b": 0.35, "ft": 0.2, "unprune.ft.p10.r3": 0.25}
    return [result(u, s, {"mask_iou/retrain_exact": v}) for s in range(3) for u, v in values.items()]


def test_mask_overlap_shows_every_method_beside_the_noise_floor():
    figure = FIGURES["mask_overlap"](summary(overlaps()), PALETTE, ["retrain_exact"])
    (ax,) = figure.axes
    shown = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert set(shown) == {"retrain", "ft", "unprune.ft.p10.r3"}, "neither the oracle itself nor its twin"
    (points,) = [c.lines[0] for c in ax.containers]
    where = dict(zip(points.get_ydata(), points.get_xdata(), strict=True))
    assert {name: where[y] for name, y in shown.items()} == pytest.approx(
        {"retrain": 0.2, "ft": 0.2, "unprune.ft.p10.r3": 0.25}
    )
    (floor,) = lines(ax, "second run of retrain_exact (noise floor)")
    assert floor.get_xdata() == pytest.approx([0.35, 0.35])
    (chance,) = lines(ax, "two random masks")
    assert chance.get_xdata() == pytest.approx([0.1 / 1.9] * 2)


def test_masks_are_compared_with_those_of_the_oracle_that_is_named():
    """Whatever its label, and however much its mask happens to share with the others'."""
    values = {"retrain_exact": 0.9, "retrain": 1.0, "ft": 0.2}
    alike = [
        result(u, s, {"mask_iou/retrain": v, "mask_iou/retrain_exact": 0.9})
        for s in range(3)
        for u, v in values.items()
    ]
    figure = FIGURES["mask_overlap"](summary(alike), PALETTE, judges=["retrain_exact"])
    assert figure.get_suptitle().startswith("Mask overlap with retrain_exact\n")


def test_layer_sparsity_draws_each_mask_once():
    masks = {"original": (0.8, 0.9), "ft": (0.8, 0.9), "retrain_exact": (0.7, 0.95), "unprune": (0.75, 0.92)}
    results = [
        result(u, s, {}, {"sparsity": dict(zip(LAYERS, v, strict=True))}) for s in (0, 1) for u, v in masks.items()
    ]
    (ax,) = FIGURES["layer_sparsity"](layers_table(results), PALETTE).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}
    assert drawn.pop("all layers together") == [90, 90]
    assert drawn == {
        "original and all that keep its mask": [80, 90],
        "unprune": [75, 92],
        "retrain_exact": [70, 95],
    }


def bounds():
    values = {"0.00": 5.0, "0.50": 3.0, "0.95": 1.0}
    metrics = ("error_bound", "error_bound_way", "error_bound_sigma", "parameter_distance/retrain")
    return [
        result("ga", s, dict.fromkeys(metrics, v), sparsity=k, pruner="omp" if float(k) else "dense")
        for s in (0, 1)
        for k, v in values.items()
    ]


def test_bound_falls_from_dense_on():
    figure = FIGURES["bound_vs_sparsity"](summary(bounds()), PALETTE)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        (line,) = lines(ax, "ga")
        assert list(line.get_ydata()) == [5, 3, 1]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["dense", "50 %", "95 %"]


def test_distances_to_every_oracle_of_the_experiment_are_drawn():
    results = bounds()
    for one in results:
        one["metrics"] = {k.replace("distance/retrain", "distance/retrain_exact"): v for k, v in one["metrics"].items()}
    *_, last = FIGURES["bound_vs_sparsity"](summary(results), PALETTE).axes
    assert last.get_ylabel() == "measured\n‖m⊙(θ_ga − θ_retrain_exact)‖₂"


def sensitivities():
    ratios = {"0.90": 4.0, "0.95": 6.0, "1.00": 10.0, "1.05": 60.0, "1.10": 90.0}
    sizes = {"random_0.09": 90, "random_0.10": 100, "random_0.11": 110}
    return [
        result(
            u,
            s,
            {f"MIA_ratio_{r}": v + size / 10 for r, v in ratios.items()} | {"forget_size": size},
            scenario=scenario,
        )
        for u in ("ft", "retrain")
        for s in (0, 1, 2)
        for scenario, size in sizes.items()
    ]


def test_sensitivity_moves_one_thing_at_a_time():
    above, below = FIGURES["mia_sensitivity"](summary(sensitivities()), PALETTE).axes
    (ratio,) = [c.lines[0] for c in above.containers if c.get_label() == "ft"]
    assert list(ratio.get_xdata()) == pytest.approx([-10, -5, 0, 5, 10])
    assert list(ratio.get_ydata()) == pytest.approx([14, 16, 20, 70, 100]), "of the scenario in the middle"
    (size,) = [c.lines[0] for c in below.containers if c.get_label() == "ft"]
    assert list(size.get_xdata()) == pytest.approx([-10, 0, 10])
    assert list(size.get_ydata()) == pytest.approx([19, 20, 21]), "at one member for one non-member"


@pytest.mark.parametrize("name", ["mask_overlap", "layer_sparsity", "bound_vs_sparsity", "mia_sensitivity"])
def test_title_and_legend_stay_inside(name):
    layers = layers_table([result("unprune.ft.p10.r3", 0, {}, {"sparsity": dict.fromkeys(LAYERS, 0.9)})])
    made = {"mask_overlap": overlaps, "bound_vs_sparsity": bounds, "mia_sensitivity": sensitivities}
    judges = [["retrain_exact"]] if name == "mask_overlap" else []
    figure = FIGURES[name](summary(made[name]()) if name in made else layers, PALETTE, *judges)
    figure.draw_without_rendering()
    for part in (figure._suptitle, *figure.legends):
        box = part.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, part


def test_without_anything_to_draw_a_figure_says_so():
    dense = [result("ft", 0, {"UA": 1.0, "mask_iou/retrain_exact": 1.0}, pruner="dense", sparsity="0.00")]
    empty = layers_table([])
    for name, table in (
        ("mask_overlap", summary(dense)),
        ("layer_sparsity", empty),
        ("bound_vs_sparsity", summary(dense)),
    ):
        figure = FIGURES[name](table, PALETTE)
        assert figure.get_suptitle().startswith(f"{name}: no ")
