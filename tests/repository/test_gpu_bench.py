"""The rows of runs on a GPU accumulate: later runs add, and overwrite nothing."""

import csv
import importlib
import sys

import pytest
from places import ROOT


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.delitem(sys.modules, "bench", raising=False)
    module = importlib.import_module("bench.gpu.rows")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "COMMITTED", tmp_path / "docs" / "results" / "gpu")
    return module


def rows_at(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def wrote(gpu, folder, time, *rows):
    folder.mkdir()
    with open(folder / "table.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, gpu.COLUMNS)
        writer.writeheader()
        writer.writerows({"time": time, "stage": "table", "name": "table", "device": "one"} | row for row in rows)
    return folder


def test_later_runs_add_rows_and_keep_those_that_are_there(gpu, tmp_path):
    first = wrote(gpu, tmp_path / "first", "1", {"setting": "seed 0", "value": "8"})
    second = wrote(gpu, tmp_path / "second", "2", {"setting": "seed 1", "value": "9"})
    for folder in (first, second, first):
        gpu.merge(folder)
    assert [(r["time"], r["setting"], r["value"]) for r in rows_at(gpu.COMMITTED / "table.csv")] == [
        ("1", "seed 0", "8"),
        ("2", "seed 1", "9"),
    ]


def test_each_run_takes_the_first_seed_that_no_row_is_of(gpu, tmp_path):
    assert gpu.next_seed() == 0
    gpu.merge(
        wrote(gpu, tmp_path / "first", "1", {"setting": "seed 0"}, {"setting": "digits/ft"}, {"setting": "seed 2"})
    )
    assert gpu.next_seed() == 1


def test_the_page_has_the_newest_rows_of_each_device(gpu, tmp_path):
    gpu.merge(wrote(gpu, tmp_path / "first", "1", {"setting": "old"}))
    gpu.merge(wrote(gpu, tmp_path / "second", "2", {"setting": "new"}, {"setting": "a|b", "time": "2"}))
    gpu.page()
    text = (tmp_path / "docs" / "results" / "gpu.md").read_text(encoding="utf-8")
    assert "| table | new |" in text and "old" not in text and "| a/b |" in text
