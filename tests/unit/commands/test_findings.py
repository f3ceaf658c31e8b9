"""The table of findings: numbers come from the studies' tables, and nothing is claimed inside its floor or interval."""

import csv

import pytest

from lacuna.commands.findings import (
    COLUMNS,
    as_answers,
    as_csv,
    as_table,
    filled,
    read_findings,
    splice,
)
from lacuna.errors import LacunaError


def finding(**values):
    """A row with a study's name and a question, and these values."""
    row = dict.fromkeys(COLUMNS, "") | {"study": "s", "setting": "digits", "question": "Q?", "state": "stands"}
    return row | {"kind": "reported", "version": "0.2"} | values


CHANGES = [
    {"unlearner": "ft_tuned", "metric": "gap", "n": 5, "change": -2.345, "change_low": -3, "change_high": -1.5}
    | {"floor_of_mean": 0.5, "verdict": "closer"},
    {"unlearner": "ga", "metric": "gap", "n": 3, "change": 1, "change_low": -1, "change_high": 3}
    | {"floor_of_mean": 0.5, "verdict": "not shown"},
    {"unlearner": "retrain", "metric": "UA", "n": 4, "change": 1, "change_low": 0.5, "change_high": 3}
    | {"floor_of_mean": "", "verdict": "differs"},
    {"unlearner": "iu", "metric": "gap1", "n": 1, "change": -7, "change_low": "", "change_high": ""}
    | {"floor_of_mean": "", "verdict": ""},
]


@pytest.fixture
def folder(tmp_path):
    with (tmp_path / "sparsity.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, CHANGES[0])
        writer.writeheader()
        writer.writerows(CHANGES)
    (tmp_path / "summary.csv").write_text(
        "unlearner,metric,n,mean,ci_low,ci_high,gap_r_floor,gap_r_verdict\nft,avg_gap/r,3,4.2,3,5.4,0.25,farther\n"
        "ft,UA,3,90,88,92,,\n"
    )
    (tmp_path / "measured.csv").write_text("unlearner,value,low,high\nft,0.65,0.63,0.66\n")
    return tmp_path


def numbers_of(row):
    return [row[key] for key in ("seeds", "effect", "low", "high", "floor", "verdict", "state")]


@pytest.mark.parametrize(
    ("kind", "source", "row", "expected"),
    [
        ("change", "sparsity", "unlearner=ft", ["5", "-2.345", "-3", "-1.5", "0.5", "closer", "stands"]),
        ("count", "sparsity", "metric=gap", ["3", "1", "", "", "", "1 of 2 shown: 1 closer", "stands"]),
        ("count", "sparsity", "metric=UA", ["4", "1", "", "", "", "1 of 1 shown: 1 differs", "stands"]),
        ("gap", "summary", "metric=avg_gap/r", ["3", "4.2", "3", "5.4", "0.25", "farther", "stands"]),
        ("value", "measured", "unlearner=ft", ["1", "0.65", "0.63", "0.66", "", "measured", "stands"]),
        ("value", "summary", "unlearner=ft metric=UA|RA", ["3", "90", "88", "92", "", "measured", "stands"]),
    ],
)
def test_numbers_are_those_of_the_table(folder, kind, source, row, expected):
    """Whatever the file had there before; a planned study that has its table now stands."""
    asked = finding(kind=kind, source=f"{source}.csv", row=row, effect="99", state="planned")
    (row,) = filled([asked], folder)
    assert numbers_of(row) == expected


def test_a_study_without_a_table_is_planned(folder):
    (row,) = filled([finding(kind="change", source="none.csv", effect="99", first_page="yes")], folder)
    assert numbers_of(row) == ["", "", "", "", "", "no verdict: not run yet", "planned"]
    assert as_answers([row]) == ["* Q? **Planned** (digits; [s](docs/results/s.md))."]


def test_a_place_of_a_study_that_has_not_run_yet_is_planned(folder):
    asked = finding(kind="change", source="sparsity.csv", row="metric=nothing", state="planned")
    assert numbers_of(filled([asked], folder)[0]) == ["", "", "", "", "", "no verdict: not run yet", "planned"]


def test_too_few_seeds_have_no_verdict(folder):
    asked = finding(kind="change", source="sparsity.csv", row="unlearner=ft")
    assert filled([asked | {"seeds_needed": "5"}], folder)[0]["verdict"] == "closer"
    assert filled([asked | {"seeds_needed": "6"}], folder)[0]["verdict"] == "no verdict: 5 of 6 seeds"


@pytest.mark.parametrize("row", ["metric=gap", "metric=nothing"])
def test_one_row_answers(folder, row):
    with pytest.raises(LacunaError, match=r"sparsity.csv: [02] rows with metric=.*; allowed: one"):
        filled([finding(kind="change", source="sparsity.csv", row=row)], folder)


@pytest.mark.parametrize(
    "values",
    [
        {"effect": "2", "low": "-1", "high": "5", "floor": "0.1"},
        {"effect": "2", "low": "1", "high": "3", "floor": "2.5"},
        {"effect": "2", "low": "1", "high": "3", "floor": ""},
        {"effect": "2", "low": "", "high": "", "floor": "0.1"},
    ],
    ids=["inside its interval", "inside its floor", "no floor", "no interval"],
)
def test_a_claim_inside_floor_or_interval_is_refused(tmp_path, values):
    (tmp_path / "f.csv").write_text(as_csv([finding(verdict="farther", **values)]))
    with pytest.raises(LacunaError, match=r"f.csv: 'Q\?': verdict: farther inside its interval or floor"):
        read_findings(tmp_path / "f.csv")
    (tmp_path / "f.csv").write_text(as_csv([finding(verdict="not shown", **values)]))
    assert read_findings(tmp_path / "f.csv") == [finding(verdict="not shown", **values)]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"state": "done"}, "state: done is not allowed; allowed: stands, planned, withdrawn"),
        ({"kind": "guess"}, "kind: guess is not allowed; allowed: change, gap, value, count, reported"),
        ({"state": "withdrawn", "first_page": "yes"}, "a withdrawn finding is not allowed on the first page"),
    ],
)
def test_what_the_file_may_not_have(tmp_path, values, error):
    (tmp_path / "f.csv").write_text(as_csv([finding(**values)]))
    with pytest.raises(LacunaError, match=error):
        read_findings(tmp_path / "f.csv")


def test_another_header_is_refused(tmp_path):
    (tmp_path / "f.csv").write_text("study,effect\n")
    with pytest.raises(LacunaError, match=r"columns study, effect; allowed: study, setting"):
        read_findings(tmp_path / "f.csv")


def test_a_first_seed_without_an_interval_is_told_without_one(folder):
    asked = finding(kind="change", source="sparsity.csv", row="unlearner=iu", unit="points", first_page="yes")
    lines = as_answers(filled([asked | {"seeds_needed": "5"}], folder))
    assert lines == ["* Q? **No verdict: 1 of 5 seeds** (−7.0 points; 1 seed; digits; [s](docs/results/s.md))."]


def test_the_table_shows_numbers_and_state(folder):
    asked = finding(kind="change", source="sparsity.csv", row="unlearner=ft", unit="points", command="run it")
    rows = [*filled([asked], folder), finding(state="withdrawn", note="why", version="0.1", cpu_hours="2")]
    table = as_table(rows[::-1])
    assert table[2:] == [
        "| [s](s.md): digits | Q? | 5 | −2.3 points | [−3.0, −1.5] | 0.50 | closer | not recorded | `run it` |",
        "| [s](s.md): digits (version 0.1) | Q? |  |  |  |  | **withdrawn** (why) | 2 |  |",
    ]
    assert {line.count("|") for line in table} == {10}


def test_lines_stand_between_the_comments():
    text = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n"
    assert splice(text, "x", ["new", "er"]) == "a\n<!-- x -->\nnew\ner\n<!-- end of x -->\nb\n"
    for wrong in ("", text + text, "<!-- end of x -->\n<!-- x -->\n"):
        with pytest.raises(LacunaError, match="once each, in this order"):
            splice(wrong, "x", [])
