"""lacuna list and lacuna explain: every name that a config or a table can hold."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys

import pytest

from lacuna.__main__ import main
from lacuna.commands.explain import lines_of, meanings_of
from lacuna.commands.kinds import KINDS, rows, tables
from lacuna.experiment import catalogue, yaml_files
from lacuna.reporting import TABLES
from tests.places import ROOT


@pytest.fixture(autouse=True)
def _catalogue(known, monkeypatch):
    monkeypatch.setattr(catalogue, "load", lambda cache: known)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_has_every_name_with_a_line(kind, known, capsys):
    expected = {name for axis in KINDS[kind][0] for name in known[axis]}
    if kind == "tables":
        expected = {*TABLES}
    listed = list(rows(kind))
    assert {row.name for row in listed} == expected
    assert all(row.text and not row.text.endswith(".") for row in listed)
    assert main(["list", kind, "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [row.name for row in listed]
    assert main(["list", kind]) == 0
    out = capsys.readouterr().out
    assert all(len(line) < 80 for line in out.splitlines())
    assert {line.split()[0] for line in out.splitlines() if line[0] != " "} == expected


def test_sources_are_those_of_the_entries(known):
    for row in rows("metrics"):
        about = (known["metrics"] | known["population"])[row.name]["doc"]["facts"]
        assert row.source == about["source"].rstrip(".").replace("definition", "")
    assert {row.source for row in rows("methods") if row.name == "salun"} == {"Fan et al., ICLR 2024"}


def test_an_overview_counts_each_kind(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for kind in KINDS:
        assert f"\n{kind} " in f"\n{out}" and f" {len(list(rows(kind)))}  " in out
    assert main(["list", "metods"]) == 2
    assert "unknown kind 'metods' (did you mean 'methods'?); allowed: methods, pruners" in capsys.readouterr().err
    assert main(["list", "unlearners"]) == 0
    assert capsys.readouterr().out.startswith("bad_teacher ")


def test_neither_imports_torch():
    """With the catalogue at hand, as after a first plan."""
    code = (
        "import sys; from lacuna.__main__ import main; from lacuna.experiment import catalogue\n"
        "from lacuna.commands.kinds import KINDS\n"
        "for kind in KINDS: main(['list', kind])\n"
        "import lacuna.commands.explain, lacuna.commands.launch, lacuna.experiment.editor\n"
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.endswith("\nFalse\n")


def every_name(known):
    return sorted({name for axes, *_ in KINDS.values() for axis in axes for name in known[axis]} | set(tables()))


def test_every_name_is_explained_and_fits_a_terminal(known, monkeypatch):
    # each file of an experiment is read once, not for each name
    parsed = functools.cache(yaml_files.read_yaml)
    monkeypatch.setattr(yaml_files, "read_yaml", lambda path: copy.deepcopy(parsed(path)))
    for name in every_name(known):
        for meaning in meanings_of(name):
            lines = list(lines_of(meaning))
            assert lines[0].startswith(meaning["name"])
            assert all(len(line) < 80 or " " not in line.strip() for line in lines), name
            assert meaning.get("formula") or meaning.get("text"), name
            for options in (meaning.get(part, {}) for part in ("options", "shared options", "columns")):
                assert all(option["meaning"] for option in options.values()), name


def test_a_method_tells_formula_options_cost_source_and_uses():
    (salun,) = meanings_of("salun")
    assert salun["kind"] == "unlearning method" and salun["key"] == "grid.unlearners"
    assert salun["formula"].startswith("SalUn: random labels") and salun["formula"].endswith("bit for bit.")
    assert salun["options"]["share"] == {
        "default": 0.5,
        "allowed": "a number > 0 and < 1",
        "meaning": "τ, share of the unmasked parameters that may move, in (0, 1).",
    }
    assert set(salun["shared options"]) >= {"momentum", "schedule"} and "lr" in salun["options"]
    assert salun["facts"]["cost"].startswith("1 forward") and salun["facts"]["source"] == "Fan et al., ICLR 2024."
    assert "config/experiments/all_methods.yaml" in salun["used by"]
    assert (ROOT / salun["defined in"]).is_file()
    (retrain,) = meanings_of("retrain")
    assert set(retrain["options"]) == {"start"} and not retrain["shared options"]
    assert "config/experiments/three_seeds.yaml (retrain_b)" in retrain["used by"]


def test_the_text_is_that_of_the_pages():
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    for name in ("salun", "ssd", "ft"):
        (meaning,) = meanings_of(name)
        for option in meaning["options"].values():
            assert option["meaning"] in page


def test_several_things_of_one_name_are_all_told():
    assert [meaning["kind"] for meaning in meanings_of("sparsity")] == [
        "metric",
        "table",
        "column of cells.csv",
        "column of sparsity.csv",
    ]
    assert [meaning["kind"] for meaning in meanings_of("random")] == ["pruner", "scenario"]


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        ("KL_forget/retrain", "metric", "named   "),
        ("klom", "metric", "unit "),
        ("AIN", "metric", "on request: name it under `metrics`"),
        ("summary.csv", "table", "columns:"),
        ("gap_<oracle>_floor", "column of summary.csv", "noise floor"),
        ("gap_retrain_floor", "column of summary.csv", "noise floor"),
        ("gap_retrain_exact_floor_of_mean", "column of summary.csv", "divided by √n"),
        ("gap_retrain", "column of summary.csv", "value − the oracle's"),
        ("grid.unprune", "key of the config", "  p = 10.0   (a number >= 0 and <= 100)"),
        ("relearning", "key of the config", "  margin = "),
        ("missing", "key of the config", "finished cells"),
        ("per_job", "key of the config", "how many one job trains"),
        ("import", "network", "models: {mine: {import: ...}}"),
    ],
)
def test_metrics_tables_columns_and_keys(name, kind, part):
    found = [meaning for meaning in meanings_of(name) if meaning["kind"] == kind]
    assert len(found) == 1
    assert part in "\n".join(lines_of(found[0]))


@pytest.mark.parametrize("table", ["layers", "summary", "recipes", "roc"])
def test_columns_of_a_table_refer_to_no_other_that_is_not_shown(table):
    (found,) = [meaning for meaning in meanings_of(f"{table}.csv") if meaning["kind"] == "table"]
    assert "as above" not in [column["meaning"] for column in found["columns"].values()]
    # of single cells, although sparsity.csv has one of its own
    assert found["columns"]["pruner"]["meaning"] == "label, or `dense`"
    assert found["facts"]["more"] == f"docs/tables.md#{table}csv"


def test_a_name_that_means_nothing_gets_the_nearest(capsys):
    assert main(["explain", "salum"]) == 2
    assert capsys.readouterr().err.startswith(
        "lacuna: explain: 'salum' is not known (did you mean 'salun'?); allowed: "
    )
    assert main(["explain", "nothing"]) == 2
    assert "did you mean" not in capsys.readouterr().err
    assert main(["explain", "ga", "ft", "--json"]) == 0
    assert [meaning["name"] for meaning in json.loads(capsys.readouterr().out)] == ["ga", "ft"]


def test_a_table_that_the_page_lacks_is_listed_by_its_docstring(tmp_path):
    (tmp_path / "tables.md").write_text("# Tables\n")
    found = tables(tmp_path / "tables.md")
    assert set(found) == set(tables())
    assert all(text and not columns for text, columns in found.values())
