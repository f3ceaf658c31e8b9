"""The page: all sections in their order, nothing that is not escaped, the same bytes for the same files."""

import html.parser
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lacuna.reporting.palette import Look
from lacuna.reporting.report import page as made
from lacuna.reporting.report.chart import Chart, Key, Panel, Variant
from lacuna.reporting.report.looks import swatch
from lacuna.reporting.report.page import duration, figure, page
from lacuna.reporting.report.study import Study
from lacuna.reporting.tables.files import read_table, write_table
from tests.report.fabricated import experiment_of, fabricate

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'%$_\\"
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Reader(html.parser.HTMLParser):
    """Collects tags, ids, and texts of a page; complains where an element is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        about = dict(attrs)
        self.ids += [about["id"]] if about.get("id") else []
        self.addresses += [value for name in ("src", "href", "srcset") if (value := about.get(name))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return reader


def data_of(text: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    results = tmp_path_factory.mktemp("page") / "results"
    experiment = experiment_of("small", ["class"], ["0.90"], ("original", "ft"), 3)
    return Study.read(fabricate(results, experiment, missing=("retrain_b",)), results)


@pytest.fixture(scope="module")
def text(study: Study) -> str:
    return page(study)


def test_the_page_is_whole_and_names_no_other_file(text: str) -> None:
    reader = read(text)
    assert len(reader.ids) == len(set(reader.ids))
    # anchors of its own, and an icon that is none
    assert {address[0] for address in reader.addresses if address != "data:,"} == {"#"}
    assert {address[1:] for address in reader.addresses if address[0] == "#"} <= set(reader.ids)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">') and "<title>small · lacuna report</title>" in text
    assert "default-src 'none'" in text


def test_no_heading_is_that_of_its_section_again(text: str) -> None:
    headings = re.findall(r"<h[23][^>]*>(.*?)</h[23]>", text)
    assert len(headings) == len(set(headings)) and "All attacks" in headings


def test_the_same_files_give_the_same_bytes(study: Study, text: str) -> None:
    assert page(study) == text


def test_cells_that_were_not_run_have_their_reason(study: Study, text: str) -> None:
    rows = data_of(text, "tables")["missing"]["rows"]
    assert [row[-1] for row in rows] == list(study.tables["missing"]["reason"]) and len(rows) == 6


def test_charts_draw_the_numbers_of_the_tables(study: Study, text: str) -> None:
    """Every bar of the first chart is a row of summary.csv, and none is left out."""
    chart = data_of(text, "charts")["gap"]
    summary = study.tables["summary"]
    summary = summary[(summary["metric"] == "avg_gap/retrain") & (summary["role"] == "method")]
    drawn = chart["variants"][0]["panels"][0]["rows"]["columns"]["v"]
    assert sorted(drawn) == pytest.approx(sorted(summary["mean"]), rel=1e-4) and len(drawn) == 4


def test_a_section_without_data_is_left_out_and_says_why(text: str) -> None:
    assert 'id="roc"' not in text and "the experiment has no shadow models" in text
    assert "Un-pruning: no method is wrapped in it (unprune in the grid)." in text


def test_hostile_labels_are_texts(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan refuses such labels; a table that somebody edited may hold them all the same."""
    tables = {}
    for name, table in study.tables.items():
        tables[name] = table.replace({"ft": HOSTILE}) if len(table) else table
        tables[name] = tables[name].assign(**{c: HOSTILE for c in ("note", "reason") if c in table and len(table)})
    grid = {**study.grid, "unlearners": {**study.grid["unlearners"], HOSTILE: {"method": HOSTILE}}}
    folder = study.folder.parent / "hostile"
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)
    monkeypatch.setattr(made, "answer_of", _with(folder, study))
    changed = Study({**study.experiment, "name": HOSTILE, "grid": grid}, tables, folder, study.results)
    text = page(changed)
    reader = read(text)
    assert "img" not in reader.tags and "</script><img" not in text
    # the label is there, as a text
    assert any(HOSTILE in said for said in reader.texts)
    assert HOSTILE in json.dumps(data_of(text, "tables"), ensure_ascii=False).replace('\\"', '"').replace("\\\\", "\\")


def test_whatever_the_tables_say_is_a_text(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences, notes and doubts hold labels and words of tables, which somebody may have edited."""
    answer = replace(made.answer_of(study.folder), question=HOSTILE, sentences=(HOSTILE,), notes=(HOSTILE,))
    monkeypatch.setattr(made, "inconsistent_provenance", lambda table: [HOSTILE])
    monkeypatch.setattr(made.sheets, "main_sheet", lambda *_: ({"columns": [], "rows": []}, HOSTILE))
    changed = replace(study, experiment={**study.experiment, "name": HOSTILE, "tables": {HOSTILE: HOSTILE}})
    contents = made.Contents(left_out=[HOSTILE])
    for section, count in (
        (made._answer(answer), 2),
        (made._main(study, answer, contents), 2),
        (made._provenance(changed, contents), 3),
        (made._missing(changed, contents, []), 1),
    ):
        reader = read(f"<div>{section.body}</div>")
        assert "img" not in reader.tags and "script" not in reader.tags
        assert sum(HOSTILE in said for said in reader.texts) >= count, section.key


def _with(folder: Path, study: Study) -> Any:
    def answer_of(_: Path) -> Any:
        from lacuna.reporting.answer import answer_of as real

        (folder / "experiment.json").write_bytes((study.folder / "experiment.json").read_bytes())
        return real(study.folder)

    return answer_of


def test_a_legend_and_caption_are_escaped() -> None:
    panel = Panel(HOSTILE, HOSTILE, [], {})
    chart = Chart(
        "x", HOSTILE, HOSTILE, (), [Variant(HOSTILE, {}, [panel])] * 2, [Key(HOSTILE, Look("#000000"), pick=True)]
    )
    assert read(figure(chart)).tags.count("button") == 1 and "<img" not in figure(chart)


@pytest.mark.parametrize("kind", ["", "bar", "band", "tick", "hollow", "point"])
def test_a_swatch_is_sound_and_silent(kind: str) -> None:
    text = swatch(Look("#123456", "D", (4, 2)), kind)
    assert read(text).tags[0] == "svg" and 'aria-hidden="true"' in text and "#123456" in text


def test_durations_are_said_as_people_do() -> None:
    assert [duration(s) for s in (42, 200, 9000, 400_000)] == ["42 s", "3.33 min", "2.5 h", "4.63 days"]


def test_tables_of_a_page_are_those_of_the_files(study: Study, text: str) -> None:
    listed = data_of(text, "tables")["cells-list"]
    cells = read_table(study.folder / "cells.csv")
    titles = [title for _, title in listed["columns"]]
    ua = cells[cells["metric"] == "UA"]["value"]
    assert [row[titles.index("UA (%)")] for row in listed["rows"]] == pytest.approx(list(ua), rel=1e-4)


def test_a_page_needs_neither_torch_nor_matplotlib() -> None:
    script = "import sys, lacuna.reporting.report.page as p; print({'torch', 'matplotlib'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_without_an_oracle_there_is_a_page(tmp_path: Path) -> None:
    experiment = experiment_of("alone", ["class"], [], ("ft", "ga"), 1)
    experiment["judging"] |= {"oracles": [], "twins": {}}
    study = Study.read(fabricate(tmp_path / "results", experiment), tmp_path / "results")
    text = page(study)
    assert "no method has an average gap to an oracle" in text
    assert isinstance(study.summary, pd.DataFrame)
