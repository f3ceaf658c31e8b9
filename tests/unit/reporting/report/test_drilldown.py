"""Single cells: what their files hold, small, and a sentence where a file cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from lacuna.artifacts.files import write_json
from lacuna.artifacts.layout import cell_at
from lacuna.evaluation.cell import Part
from lacuna.reporting.report import drilldown
from lacuna.reporting.report.drilldown import cells_of, log_tail, thinned
from lacuna.reporting.report.study import Study
from tests.report.fabricated import SAMPLES, experiment_of, fabricate

SHOWN = ("retain", "forget", "test")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    experiment = experiment_of("small", ["class"], [], ("ft",), 1)
    return Study.read(fabricate(tmp_path / "results", experiment), tmp_path / "results")


def test_a_cell_has_all_that_its_files_hold(study: Study) -> None:
    cells = list(cells_of(study))
    assert [cell["gaps"] for cell in cells] == [[]] * len(study.tables["provenance"])
    for cell in cells:
        assert np.sum(cell["confusion"]) == SAMPLES["test"]
        assert {part: round(sum(bins)) for part, bins in cell["confidence"].items()} == dict.fromkeys(
            cell["samples"], 100
        )
        assert cell["history"]["epoch"] == list(range(1, 11)) and cell["history"]["loss"][0] == 2.0
        assert cell["options"]["unlearner"]["lr"] == "0.1" and cell["facts"]["steps"] == 190
        assert cell["log"][-1].endswith("190 steps, done")


def test_the_metrics_of_a_cell_are_those_of_the_table(study: Study) -> None:
    table = study.tables["cells"]
    for cell in cells_of(study):
        rows = table[table["unlearner"] == cell["place"][-1]]
        assert cell["metrics"] == dict(zip(rows["metric"], rows["value"], strict=True))


@pytest.mark.parametrize("name", ["job.json", "history.csv", "predictions.npz"])
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_shown(study: Study, name: str) -> None:
    row = study.tables["provenance"].iloc[0]
    path = study.results / cell_at(row) / name
    path.write_bytes(path.read_bytes()[:-40] + b"x" * 30)
    first, *others = cells_of(study)
    assert len(first["gaps"]) == 1 and first["gaps"][0].startswith(f"{name}: ")
    assert all(not cell["gaps"] for cell in others)
    there = {"options", "history", "confusion"}
    assert there - set(first) == {{"job.json": "options", "history.csv": "history"}.get(name, "confusion")}


def test_a_histogram_counts_the_confidence_in_the_label() -> None:
    logits = np.log(np.array([[0.99, 0.01], [0.52, 0.48], [0.01, 0.99], [0.01, 0.99]], dtype=np.float32))
    bins = drilldown._histogram(Part(logits, np.array([0, 0, 0, 1])))
    assert bins[0] == 25.0 and bins[10] == 25.0 and bins[-1] == 50.0 and sum(bins) == 100.0


def test_a_confidence_of_exactly_1_is_in_the_last_bin_and_of_0_in_the_first() -> None:
    logits = np.array([[0.0, -1e9], [0.0, -1e9]], dtype=np.float32)
    bins = drilldown._histogram(Part(logits, np.array([0, 1])))
    assert len(bins) == drilldown.BINS and (bins[0], bins[-1]) == (50.0, 50.0)


def test_names_of_classes_are_those_of_the_datasets_that_have_some(study: Study) -> None:
    """One that an older version ingested has none."""
    meta = study.results / "data/digits/meta.json"
    meta.parent.mkdir(parents=True, exist_ok=True)
    for stored, found in (({"classes": 2}, {}), ({"class_names": ["a", "b"]}, {"digits": ["a", "b"]})):
        write_json(meta, stored)
        assert drilldown.class_names(study) == found
    meta.unlink()
    assert drilldown.class_names(study) == {}


def test_of_many_classes_the_commonest_confusions_are_listed() -> None:
    labels = np.array([0, 0, 0, 5, 7])
    logits = np.eye(30, dtype=np.float32)[[3, 3, 0, 5, 2]]
    found = drilldown._confusion(Part(logits, labels))
    assert found == {"confusions": [[0, 3, 2], [7, 2, 1]], "classes": 30}


def test_a_long_log_and_history_are_shortened(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {i} {'y' * 1000}\n" for i in range(500)))
    lines = log_tail(log)
    assert lines is not None and len(lines) <= 6 and max(map(len, lines)) <= 300 and lines[-1].startswith("line 499 ")
    assert log_tail(tmp_path / "none.log") is None
    chosen = thinned(1000, 60)
    assert len(chosen) == 60 and chosen[0] == 0 and chosen[-1] == 999 and list(chosen) == sorted(set(chosen))
    assert list(thinned(5, 60)) == [0, 1, 2, 3, 4]
