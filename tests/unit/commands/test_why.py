"""lacuna why: what would run again, in words."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml
from places import ROOT

from lacuna.__main__ import main
from lacuna.commands import why
from lacuna.experiment import catalogue

EXPERIMENT = {
    "name": "small",
    "device": "cpu",
    "metrics": ["UA", "AIN", "avg_gap", "time_s"],
    "grid": {
        "datasets": {"digits": {}, "mine": {"method": "npz", "path": "mine.npz"}},
        "models": {"resnet8": {"width": 4}},
        "recipes": {"sgd": {}},
        "seeds": [0, 1],
        "scenarios": {"class": {"forget_class": 3}},
        "pruners": {"omp": {}, "taylor": {}, "filter_taylor": {}},
        "sparsities": ["dense", 0.9],
        "unlearners": {"original": {}, "retrain": {}, "ga": {}, "ga.strong": {"method": "ga", "lr": 0.01}},
    },
}


@pytest.fixture
def told(known, tmp_path, monkeypatch, capsys):
    """What the command prints for some words: told("FILE") → lines."""
    monkeypatch.setattr(catalogue, "load", lambda *_: known)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.npz").write_bytes(b"")

    def tell(*words: str, status: int = 0, **keys: object) -> list[str]:
        (tmp_path / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT | keys, sort_keys=False))
        assert main(["why", *words, "--configfile", "e.yaml"]) == status
        captured = capsys.readouterr()
        return (captured.err if status else captured.out).splitlines()

    return tell


def rows(lines: list[str]) -> dict[str, tuple[str, str, str]]:
    """Number of jobs, reason and restriction by rule."""
    table = [re.split(r" {2,}", line.strip()) for line in lines if line.startswith("  ")]
    return {row[0]: (row[1], row[2], row[3] if row[3:] else "") for row in table[1:]}


def test_a_criterion(told):
    """Its pruners' states on two datasets and seeds, and the cells on them; no dense model."""
    lines = told(str(ROOT / "src/lacuna/pruning/criteria/taylor.py"))
    after, states = "reads what those make", "state taylor-0.90, filter_taylor-0.90"
    assert rows(lines) == {
        "prune": ("8 of 12", "runs it", "pruner taylor, filter_taylor"),
        "unlearn": ("24 of 48", after, states),
        "retrain": ("8 of 16", after, states),
        "relearn": ("32 of 64", after, states),
        "evaluate": ("32 of 64", after, states),
        "aggregate": ("1 of 1", after, ""),
        "table": ("5 of 5", after, ""),
        "record": ("1 of 1", after, ""),
        "answer": ("1 of 1", after, ""),
        "figure": ("4 of 4", after, ""),
        "html_report": ("1 of 1", after, ""),
    }
    assert lines[0].endswith("taylor.py: 117 of the 231 jobs of 'small' would run again")
    assert lines[-1] == "comments, docstrings and type hints in it would make no job run again"


def test_a_key_and_a_file_in_one_call(told):
    lines = told("grid.unlearners.ga.strong.lr", str(ROOT / "src/lacuna/reporting/figures/time_vs_gap.py"))
    gap = lines.index("")
    assert rows(lines[:gap])["unlearn"] == ("16 of 48", "uses it", "unlearner ga.strong")
    assert set(rows(lines[:gap])) == {"unlearn", "relearn", "evaluate", *TABLES, *SHOWN}
    assert rows(lines[gap:]) == {"figure": ("1 of 4", "runs it", "figure time_vs_gap")}


def test_a_table_and_what_reads_it(told):
    """One table's wording: no other table, and no figure but those of it."""
    file = str(ROOT / "src/lacuna/reporting/tables/disagreement.py")
    found = rows(told(file))
    assert found["table"] == ("1 of 5", "runs it", "table disagreement")
    assert set(found) == {"table", "record", "answer", *SHOWN}
    assert found["figure"] == ("1 of 4", "reads what those make", "figure metric_disagreement")
    assert rows(told(file.replace("disagreement", "sparsity"))).keys() == {"table", "record", "answer", "html_report"}


TABLES = ("aggregate", "table", "record", "answer")
SHOWN = ("figure", "html_report")


@pytest.mark.parametrize(
    ("key", "rules"),
    [
        ("grid.recipes.sgd", {"train", "prune", "unlearn", "retrain", "relearn", "evaluate", *TABLES, *SHOWN}),
        ("grid.pruners.omp.scope", {"prune", "unlearn", "retrain", "relearn", "evaluate", *TABLES, *SHOWN}),
        ("metrics", {"evaluate", *TABLES, *SHOWN}),
        ("relearning.lr", {"relearn", "evaluate", *TABLES, *SHOWN}),
        ("device", set()),
    ],
)
def test_keys(told, key, rules):
    assert set(rows(told(key))) == rules


def test_a_file_of_data_of_the_users(told):
    found = rows(told("mine.npz"))
    assert found["ingest"] == ("1 of 2", "runs it", "dataset mine")
    assert found["train"] == ("2 of 4", "reads what those make", "dataset mine")


RICH_GRID = {
    **EXPERIMENT["grid"],
    "datasets": {"digits": {}},
    "seeds": [0],
    "pruners": {"omp": {}},
    "unlearners": {"retrain": {}, "ga": {}},
    "unprune": [{"unlearner": "ga"}],
}
RICH = {"grid": RICH_GRID, "tuning": {"seeds": [7]}, "transfer": {"targets": {"other": {"method": "digits"}}}}
TOLD = {*TABLES, *SHOWN, "collect_winners"}


@pytest.mark.parametrize(
    ("key", "rules"),
    [
        ("device", set()),
        ("snakemake_patches", set()),
        ("missing", {*TABLES, *SHOWN}),
        ("figures", {"collect_winners"}),
        ("metrics", {"evaluate", *TOLD}),
        ("results", TOLD),
        ("name", TOLD | {"evaluate", "tune_unlearner"}),
        ("grid.seeds", TOLD),
        ("grid.sparsities", TOLD | {"tune_unlearner"}),
        ("grid.unprune.unprune.ga.p10.r3", {"unprune", "relearn", "evaluate", "probe", *TOLD}),
        (
            "transfer.targets.other",
            {"ingest", "split", "probe", "table", "record", "answer", "collect_winners", *SHOWN},
        ),
    ],
)
def test_keys_of_an_experiment_with_everything(told, key, rules):
    """Values that are found are found for the experiment as a whole, but not for how it is run."""
    assert set(rows(told(key, **RICH))) == rules


@pytest.mark.parametrize("key", ["grid.pruners.omp", "grid.pruners.omp.scope"])
def test_an_entry_that_no_cell_has_is_told_to_the_tables(told, key):
    """experiment.json among them has the whole grid."""
    lines = told(key, grid=EXPERIMENT["grid"] | {"sparsities": ["dense"]})
    found = rows(lines)
    assert found.keys() == {*TABLES, *SHOWN}
    assert found["aggregate"] == found["record"] == ("1 of 1", "uses it", "")


def test_more_shadow_models_leave_those_that_are_there(told):
    grid = {key: value for key, value in RICH_GRID.items() if key != "unprune"} | {"shadows": {}}
    judged = {"population", *TABLES, *SHOWN}
    assert set(rows(told("grid.shadows.models", grid=grid))) == judged
    assert set(rows(told("grid.seeds", grid=grid))) == judged - {"population"}
    assert set(rows(told("grid.shadows.per_job", grid=grid))) > judged


def test_a_folder_of_images_of_the_users(told, tmp_path):
    folder = tmp_path / "photos/train/cat"
    folder.mkdir(parents=True)
    for name in ("one.PNG", "notes.txt"):
        (folder / name).touch()
    grid = EXPERIMENT["grid"] | {
        "datasets": {"digits": {}, "mine": {"method": "image_folder", "root": "photos", "size": 8}}
    }
    for file in ("photos", "photos/train/cat", "photos/train/cat/one.PNG"):
        assert rows(told(file, grid=grid))["ingest"] == ("1 of 2", "runs it", "dataset mine")
    assert not rows(told("photos/train/cat/notes.txt", grid=grid))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            "workflow/envs/lacuna.yaml",
            "but with `--sdm conda` every job that uses this environment would",
        ),
        ("src/lacuna/unlearning/methods/scrub.py", "none of them runs it"),
        ("workflow/rules/train.smk", "it says what is planned, and only a job with other inputs or values would"),
        ("config/config.yaml", "its keys count, not the file; `lacuna why KEY` tells of one"),
        ("README.md", "none of them reads it as code or as the user's data"),
    ],
)
def test_a_file_that_no_job_reads(told, file, said):
    assert told(str(ROOT / file)) == [f"{ROOT / file}: no job of 'small' would run again: {said}"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "src/nothing.py",
            "'src/nothing.py' is no file, nor a key of 'small' that a job is told; allowed: ",
        ),
        (
            "grid.unlearners.gaa",
            "'grid.unlearners.gaa' is no file, nor a key of 'small' that a job is told",
        ),
        (".", ". is a folder; allowed: a file, a folder of a dataset's images, or a key of the experiment"),
    ],
)
def test_a_word_that_is_neither_file_nor_key(told, word, said):
    (line,) = told(word, status=2)
    assert line.startswith(f"lacuna: why: {said}")


def test_the_example_of_the_documentation(known, monkeypatch, capsys):
    monkeypatch.setattr(catalogue, "load", lambda *_: known)
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs/reproducibility.md").read_text(encoding="utf-8")
    calls = re.findall(r"^\$ lacuna (why .+)\n((?:(?!\$|```).*\n)+)", text, re.MULTILINE)
    assert len(calls) == 2
    for words, output in calls:
        main(words.split())
        assert capsys.readouterr().out.strip() == output.strip()


def test_it_imports_no_torch():
    code = f"import sys, {why.__name__}; assert not {{'torch', 'pandas', 'scipy'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
