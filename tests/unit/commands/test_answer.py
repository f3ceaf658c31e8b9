"""lacuna answer and lacuna table: which tables a word means, filters and formats, and what a terminal shows."""

import csv
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from places import ROOT

from lacuna.__main__ import main
from lacuna.reporting.answer import answer_of
from unit.reporting.fabricated import results, retold, tables, with_gaps


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)  # their files name their places below results/
        for name, seeds in (("digits", 3), ("photos", 1)):
            tables(Path("results/tables") / name, with_gaps(results(seeds=seeds), ["retrain"]))
    return base


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A working directory with the tables of two experiments."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "results", "results")
    return tmp_path


def told(capsys, *words):
    status = main([*words])
    said = capsys.readouterr()
    assert (status, said.err) == (0, ""), said.err
    return said.out


def refused(capsys, *words):
    status = main([*words])
    said = capsys.readouterr()
    assert (status, said.out, said.err.count("\n")) == (2, "", 1)
    return said.err


@pytest.mark.parametrize("command", ["answer", "table"])
def test_a_name_a_file_and_a_folder_mean_the_same_tables(project, capsys, command):
    (project / "mine.yaml").write_text("name: digits\ngrid: {}\n")
    (project / "elsewhere.yaml").write_text("name: digits\nresults: moved\n")
    (project / "results").rename(project / "moved")
    by_folder = told(capsys, command, "moved/tables/digits")
    assert by_folder == told(capsys, command, str(project / "moved/tables/digits"))
    assert by_folder == told(capsys, command, "elsewhere.yaml")
    (project / "moved").rename(project / "results")
    assert by_folder == told(capsys, command, "digits") == told(capsys, command, "mine.yaml")


def test_a_wrong_name_has_the_nearest_and_the_folder(project, capsys):
    said = refused(capsys, "answer", "dgits")
    assert said == (
        "lacuna: no tables of 'dgits' in results/tables (did you mean 'digits'?); allowed: digits, photos\n"
    )
    (project / "mine.yaml").write_text("name: digit\n")
    assert "no tables of 'digit' in results/tables (did you mean 'digits'?)" in refused(capsys, "table", "mine.yaml")
    assert "no/such: no summary.csv there" in refused(capsys, "answer", "no/such")
    assert "gone.yaml" in refused(capsys, "answer", "gone.yaml")
    (project / "nameless.yaml").write_text("seeds: [1]\n")
    assert "nameless.yaml: no name" in refused(capsys, "answer", "nameless.yaml")


def test_without_any_tables_the_sentence_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "answer", "digits") == (
        "lacuna: no tables of 'digits' in results/tables: nothing has been run there to its end; run it first\n"
    )


def test_a_folder_of_a_name_that_has_tables_is_not_meant(project, capsys):
    Path("digits").mkdir()
    assert told(capsys, "answer", "digits") == told(capsys, "answer", "results/tables/digits")
    Path("own").mkdir()
    assert "own: no summary.csv there" in refused(capsys, "answer", "own")


def test_a_file_is_found_by_its_own_name_too(project, capsys):
    Path("config/experiments").mkdir(parents=True)
    Path("config/config.yaml").write_text("name: photos\n")
    Path("config/experiments/mine.yaml").write_text("name: digits\n")
    assert told(capsys, "answer", "mine") == told(capsys, "answer", "digits")


def test_labels_that_the_tables_lack_are_refused(project, capsys):
    assert "--method: no 'fft' in results/tables/digits (did you mean 'ft'?)" in refused(
        capsys, "answer", "digits", "--method", "fft"
    )
    assert "--metrics: no 'UAA'" in refused(capsys, "table", "digits", "--metrics", "UAA")
    assert "not allowed with argument" in refused(capsys, "answer", "digits", "--csv", "--markdown")


@pytest.mark.parametrize("width", [60, 80, 132])
def test_the_answer_fits_the_terminal_and_holds_all_of_it(project, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    out = told(capsys, "answer", "digits")
    assert all(len(line) <= width for line in out.splitlines())
    flowing, answer = " ".join(out.split()), answer_of(project / "results/tables/digits")
    for sentence in (answer.question, *answer.sentences, *answer.notes):
        assert sentence in flowing
    assert out.count("digits, net, short, class, 3 seeds") == 1


def test_filters_choose_rows(project, capsys):
    out = told(capsys, "answer", "digits", "--method", "ft", "--scenario", "class")
    assert "to forget class 3 of digits?" in out and "  ga  " not in out and "random" not in out
    out = told(capsys, "table", "digits", "--method", "ft", "--method", "ga", "--scenario", "random")
    assert "  ga  " in out and "forgetting class" not in out


def test_csv_is_the_main_table_with_every_column(project, capsys):
    rows = list(csv.DictReader(io.StringIO(told(capsys, "answer", "digits", "--csv"))))
    answer = answer_of(project / "results/tables/digits")
    assert list(rows[0]) == list(answer.rows)
    assert len(rows) == len(answer.rows) == 2 * 2 * 4
    for row, known in zip(rows, answer.rows.to_dict("records"), strict=True):
        assert row["sparsity"] == known["sparsity"] and float(row["UA"]) == known["UA"]


def test_markdown_is_a_page(project, capsys):
    out = told(capsys, "answer", "digits", "--markdown")
    assert out.startswith(
        "# digits\n\n**Does sparsity help ft and ga to forget class 3 and a random 10 % of digits?**\n"
    )
    assert told(capsys, "table", "digits", "--markdown").count("| --- |") == 2


def test_latex_is_a_table_for_each_scenario_with_the_published_numbers(project, capsys):
    (project / "theirs.csv").write_text(
        "scenario,sparsity,method,metric,mean,std,n,unit,source\nclass,0,ft,UA,58.1,0.5,10,%,A & B\n"
    )
    out = told(capsys, "table", "digits", "--latex", "--metrics", "UA, MIA", "--published", "theirs.csv")
    assert out.count(r"\begin{table}") == out.count(r"\end{table}") == 2
    assert r"state & method & UA & UA, published & MIA \\" in out and r"$58.10 \pm 0.50$" in out
    assert out.isascii()


def test_a_terminal_without_signs_gets_plain_ones(project, capsys):
    from lacuna.__main__ import _PLAIN

    marks = {sign for sign in told(capsys, "answer", "digits") + told(capsys, "table", "digits") if not sign.isascii()}
    assert marks <= set(_PLAIN), "each sign has a plain one"


def test_one_seed_in_the_terminal(project, capsys):
    out = told(capsys, "answer", "photos")
    assert "One seed: no interval, no test, no verdict" in " ".join(out.split()) and "±" not in out


@pytest.mark.parametrize("word", ["digits", "results/tables/digits"])
@pytest.mark.parametrize("name", ["summary", "sparsity"])
def test_a_folder_in_the_place_of_a_table_is_named(project, capsys, word, name):
    path = project / f"results/tables/digits/{name}.csv"
    path.unlink(missing_ok=True)
    path.mkdir()
    said = refused(capsys, "answer", word)
    assert f"results/tables/digits/{name}.csv: not a usable table (" in said and "Is a directory" in said


def test_formulas_in_a_table_are_texts(project, capsys):
    """A label cannot be one; whatever a table holds, `--csv` neutralises it."""
    path = project / "results/tables/digits/summary.csv"
    table = pd.read_csv(path, dtype=str)
    table["recipe"] = "=HYPERLINK(1)"
    table.to_csv(path, index=False)
    rows = list(csv.DictReader(io.StringIO(told(capsys, "answer", "digits", "--csv"))))
    assert {row["recipe"] for row in rows} == {"'=HYPERLINK(1)"}


def test_committed_tables_are_answered(capsys):
    out = told(capsys, "answer", str(ROOT / "docs/results/three_seeds"), "--method", "ft")
    assert out.startswith("Does sparsity help ft to forget ")


def test_tables_without_a_usual_metric_ask_for_columns(project, capsys):
    found = results(scenarios=("class",), seeds=1)
    for each in found:
        each["metrics"] = {"samples": 100.0}
    retold(tables(Path("results/tables/costs"), found), {"costs": ["samples"]})
    assert "costs: its tables have none of UA, RA, TA, MIA and avg_gap" in refused(capsys, "table", "costs")
    assert "| 100.00" in told(capsys, "table", "costs", "--markdown", "--metrics", "samples")
