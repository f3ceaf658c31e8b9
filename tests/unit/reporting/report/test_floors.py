"""Noise floors on the page: where they end, and that no chart speaks of one that it does not draw."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lacuna.reporting.answer import answer_of
from lacuna.reporting.palette import FLOOR, FLOOR_BAND
from lacuna.reporting.panels import with_dense
from lacuna.reporting.report.chart import Chart
from lacuna.reporting.report.charts import attacks, gap, pareto, topology
from lacuna.reporting.report.looks import swatch
from lacuna.reporting.report.sheets import main_sheet
from lacuna.reporting.report.study import Study, named
from tests.report.fabricated import experiment_of, fabricate


def study_of(folder: Path, missing: tuple[str, ...] = ()) -> Study:
    experiment = experiment_of("floors", ["class", "random"], ["0.90", "0.95"], ("original", "ft", "ga"), 3)
    return Study.read(fabricate(folder / "results", experiment, missing, roc=True, files=False), folder / "results")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study_of(tmp_path_factory.mktemp("floors"))


def charts(study: Study) -> list[Chart]:
    return [chart for of in (gap, pareto, topology, attacks) for chart in of.charts_of(study)]


def said(of: list[Chart]) -> str:
    return " ".join(f"{chart.caption} {' '.join(key.label for key in chart.legend)}" for chart in of)


def test_charts_speak_of_floors_only_where_they_draw_one(study: Study, tmp_path: Path) -> None:
    with_twin, without = charts(study), charts(study_of(tmp_path, missing=("retrain_b",)))
    # of each chart, for a chart that never speaks of floors would pass
    for key in ("gap", "change", "pareto", "roc"):
        assert any(word in said([c for c in with_twin if c.key == key]) for word in ("floor", "second run")), key
    silent = said([chart for chart in without if chart.key != "change"])
    assert "floor" not in silent and "second run" not in silent and "▲" not in silent
    changes = said([chart for chart in without if chart.key == "change"])
    assert "floor" not in changes and "▼" not in changes


def test_the_main_table_has_the_gap_next_to_the_method_and_floors_where_some_are_known(
    study: Study, tmp_path: Path
) -> None:
    for of, known in ((study, True), (study_of(tmp_path, missing=("retrain_b",)), False)):
        answer = answer_of(of.folder)
        table, _ = main_sheet(answer.rows, answer.oracles, of.palette)
        titles = [title for _, title in table["columns"]]
        assert titles[:3] == ["method", "gap to retrain", "gap to retrain_exact"]
        assert ("floor, retrain" in titles) == known and "floor, retrain_exact" not in titles
        assert {len(row) for row in table["rows"]} == {len(titles)}
        summary = of.summary.set_index(["unlearner", "scenario", "sparsity", "metric"])
        place = [titles.index(name) for name in ("method", "scenario", "sparsity")]
        for row in table["rows"]:
            method, scenario, sparsity = (row[i] for i in place)
            at = summary.loc[(method, scenario, "0.00" if sparsity == "dense" else sparsity, "avg_gap/retrain_exact")]
            assert row[2] is None if method == "retrain_exact" else row[2][0] == at["mean"]
            assert not known or row[titles.index("floor, retrain")] == pytest.approx(
                summary.loc[(*at.name[:3], "avg_gap/retrain"), "gap_retrain_floor"], nan_ok=True
            )


def test_the_band_of_the_front_ends_at_the_nearest_floor_of_the_panel(study: Study) -> None:
    """A wider one would call points within a floor that are farther than the second run of their own oracle."""
    summary = with_dense(study.summary[study.summary["metric"] == "avg_gap/retrain"])
    (chart,) = pareto.charts_of(study)
    panels = chart.variants[0].panels
    assert len(panels) == 2
    for scenario, panel in zip(("class", "random"), panels, strict=True):
        floors = summary[summary["scenario"] == scenario]["gap_retrain_floor"]
        assert panel.params["floor"] == floors.min() < floors.max()


def test_the_line_of_the_oracle_is_a_cost_that_it_had(study: Study) -> None:
    """Its cost on the sparsest model: no mean over sparsities, which no run had."""
    paid = study.summary[(study.summary["metric"] == "samples") & (study.summary["unlearner"] == "retrain")]
    (chart,) = pareto.charts_of(study)
    assert chart.variants[0].label.startswith("samples")
    for scenario, panel in zip(("class", "random"), chart.variants[0].panels, strict=True):
        of = paid[paid["scenario"] == scenario].set_index("sparsity")["mean"]
        assert panel.params["oracle"] == of["0.95"] != of.mean()


def test_each_panel_of_the_front_has_gaps_of_its_own_size(study: Study) -> None:
    (chart,) = pareto.charts_of(study)
    for panel in chart.variants[0].panels:
        assert panel.params["high"] == pytest.approx(1.12 * max(row["v"] for row in panel.rows))


def contrast_to_white(colour: str) -> float:
    """That of WCAG 2.2, for #RRGGBB."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def test_a_floor_is_told_by_its_form_and_not_by_its_colour_alone(study: Study) -> None:
    """A band is too pale to be seen without its edge, and no text sends a reader to a colour for its meaning."""
    pale, bands = contrast_to_white(FLOOR_BAND), 0
    assert pale < 3 <= contrast_to_white(FLOOR)
    for chart in charts(study):
        assert not re.search(r"\b(orange|red|blue|green)\b", chart.caption, re.IGNORECASE), chart.key
        marks = [layer["mark"] for variant in chart.variants for layer in variant.spec["layer"]]
        for mark in marks:
            if isinstance(mark, dict) and mark.get("color") == FLOOR_BAND:
                bands += 1
                assert contrast_to_white(mark["stroke"]) >= 3 and mark["strokeWidth"] > 0 and "opacity" not in mark
        for key in chart.legend:
            if key.look.colour == FLOOR_BAND:
                assert f'stroke="{FLOOR}"' in swatch(key.look, key.kind)
    assert bands >= 2


def test_the_chart_of_changes_draws_every_field_of_its_table(study: Study) -> None:
    table = study.tables["sparsity"]
    (chart,) = (chart for chart in gap.charts_of(study) if chart.key == "change")
    assert [variant.label for variant in chart.variants] == ["to retrain", "to retrain_exact"]
    for variant, oracle in zip(chart.variants, ("retrain", "retrain_exact"), strict=True):
        rows = table[(table["metric"] == f"avg_gap/{oracle}") & (table["oracle"] == oracle)]
        for panel, scenario in zip(variant.panels, ("class", "random"), strict=True):
            of = rows[rows["scenario"] == scenario].set_index(["unlearner", "sparsity"])
            assert scenario in panel.title and len(panel.rows) == len(of) > 0
            for row in panel.rows:
                told = of.loc[row["m"], row["s"].replace("90 %", "0.90").replace("95 %", "0.95")]
                names = ("change", "change_low", "change_high", "floor_of_mean", "n")
                drawn = [row[name] for name in ("v", "low", "high", "f", "n")]
                assert drawn == pytest.approx([told[name] for name in names], nan_ok=True)
                assert (row["mark"], row["note"]) == (told["verdict"], told["note"])
                assert row["flow"] == (-told["floor_of_mean"] if math.isfinite(told["floor_of_mean"]) else None)


def test_the_front_draws_cost_and_gap_of_every_method_that_did_something(study: Study) -> None:
    (chart,) = pareto.charts_of(study)
    summary = with_dense(study.summary).set_index(["scenario", "unlearner", "sparsity", "metric"])
    for variant in chart.variants:
        cost = next(cost for cost in pareto.COSTS if variant.label.startswith(named(cost)))
        oracle = variant.label.rpartition(" ")[2]
        ends = {(panel.params["left"], panel.params["right"]) for panel in variant.panels}
        (left, right), *others = ends
        assert not others, "costs of all panels have one axis"
        for panel, scenario in zip(variant.panels, ("class", "random"), strict=True):
            points = [row for row in panel.rows if not row.get("line")]
            assert {row["m"] for row in points} == {"ft", "ga"}, "nor the untouched model, nor oracles"
            for row in points:
                at = (scenario, row["m"], {"dense": "0.00", "90 %": "0.90", "95 %": "0.95"}[row["s"]])
                told, paid = summary.loc[(*at, f"avg_gap/{oracle}")], summary.loc[(*at, cost)]
                assert (row["v"], row["c"]) == (told["mean"], paid["mean"])
                assert (row["low"], row["high"]) == (told["ci_low"], told["ci_high"])
                assert left < row["c"] < right and row["z"] == 26 + 26 * row["o"]
            best = pareto.front((row["c"], row["v"]) for row in points)
            assert {(row["c"], row["v"]) for row in points if row["front"] == "yes"} == best
            assert sorted(best) == [(row["c"], row["v"]) for row in panel.rows if row.get("line")]


def test_the_front_is_of_methods_that_changed_the_model(study: Study) -> None:
    """A method that did nothing is cheap and no answer; the untouched model is none by its label."""
    summary = study.tables["summary"]
    idle = summary.assign(unchanged=(summary["unlearner"] == "ft").astype(int))
    (chart,) = pareto.charts_of(replace(study, tables={**study.tables, "summary": idle}))
    assert {row["m"] for v in chart.variants for panel in v.panels for row in panel.rows} == {"ga", ""}
