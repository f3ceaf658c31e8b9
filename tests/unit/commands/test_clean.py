"""lacuna clean: what an experiment of the project uses stays, all else that lacuna made goes, and nothing more."""

from __future__ import annotations

import base64
import copy
from pathlib import Path, PurePosixPath

import pytest
import yaml

from lacuna.__main__ import main
from lacuna.artifacts.layout import CELL_FILES, MODEL_FILES
from lacuna.artifacts.processes import share
from lacuna.commands import clean
from lacuna.experiment import catalogue
from lacuna.experiment.config import load
from lacuna.experiment.jobs import Job, Jobs, traces_of
from tests.places import ROOT

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
MINE = {
    "name": "mine",
    "device": "cpu",
    "metrics": ["UA", "RA", "TA", "MIA", "avg_gap", "AIN", "ZRF"],
    "grid": {
        "datasets": {"digits": {}},
        "models": {"resnet8": {}},
        "recipes": {"short": {"epochs": 3, "rewind_epoch": 1}},
        "seeds": [0],
        "scenarios": {"class": {"forget_class": 3}},
        "pruners": {"omp": {}, "imp": {"rate": 0.7}},
        "sparsities": ["dense", 0.9],
        "unlearners": {"retrain": {}, "retrain_exact": {}, "ga": {}, "ga.v2": {"method": "ga"}},
        "shadows": {"models": 6, "per_job": 3},
    },
    "transfer": {"targets": {"other": {"method": "digits", "only": [1, 2, 3]}}},
}
SEARCH = MINE | {"name": "search", "tuning": {"trials": 2}}


def other() -> dict:
    """Another experiment, which shares the models and the cells of ga with the first."""
    config = copy.deepcopy(MINE)
    config |= {"name": "old"}
    del config["transfer"]
    config["grid"]["scenarios"]["hardest"] = {"model": "resnet8", "recipe": "short", "fraction": 0.1}
    config["grid"] |= {"seeds": [0, 1], "unlearners": {"retrain": {}, "ga": {}, "ft": {}}}
    del config["grid"]["shadows"]
    return config


def tuned() -> dict:
    """What tuning found for the search."""
    return MINE | {"name": "search_tuned"}


def outputs(job: Job, name: str) -> set[str]:
    """All files of a job, as its rule has them."""
    log, benchmark, made = traces_of(job, name)
    path = PurePosixPath(made)
    files = {log, benchmark, made}
    if job.rule == "ingest":
        files |= {str(path.with_name("images.safetensors"))}
    elif path.name == "job.json":
        names = CELL_FILES if path.parts[0] == "cells" else MODEL_FILES
        names = (*names, "rewind.safetensors", "initial.safetensors") if job.rule == "train" else names
        files |= {str(path.with_name(each)) for each in names}
    elif job.rule in ("shadow_train", "shadow_prune"):
        files |= {str(path.with_suffix(".safetensors"))}
    elif job.rule.startswith(("shadow_", "difficulty_")):
        files |= {str(path.with_suffix(".npz"))}
    elif job.rule == "figure":
        files |= {str(path.with_suffix(".svg")), str(path.with_suffix(".pdf"))}
    elif job.rule == "aggregate":
        files |= {str(path.with_name(f"{table}.csv")) for table in ("cells", "summary")}
    return files


@pytest.fixture
def project(tmp_path: Path, known, monkeypatch: pytest.MonkeyPatch):
    """A folder with one experiment, and a tree with the files of it and of another one; both by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "load", lambda cache: known)
    (tmp_path / "config/experiments").mkdir(parents=True)
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(MINE))
    (tmp_path / "config/experiments/search.yaml").write_text(yaml.safe_dump(SEARCH))
    files: dict[str, set[str]] = {}
    for config in (MINE, SEARCH, other()):
        (tmp_path / "one.yaml").write_text(yaml.safe_dump(config))
        experiment = load([tmp_path / "one.yaml"], {}, SCHEMA, known)
        files[experiment.name] = {
            file for job in Jobs(experiment, known).reads for file in outputs(job, experiment.name)
        } | {f"logs/runs/{experiment.name}.jsonl"}
    (tmp_path / "one.yaml").unlink()
    files["mine"] |= files["search"]
    for file in files["mine"] | files["old"]:
        path = tmp_path / "results" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tuned()) if path.name == "tuned.yaml" else "12345")
    return tmp_path, files


def there(root: Path) -> set[str]:
    return {path.relative_to(root / "results").as_posix() for path in (root / "results").rglob("*") if path.is_file()}


def test_only_what_no_experiment_uses_goes(project, capsys):
    root, files = project
    assert main(["clean", "--without", "old"]) == 1
    out = capsys.readouterr().out
    unused = files["old"] - files["mine"]
    assert len(unused) > 50 and len(files["old"] & files["mine"]) > 50
    assert out.endswith("nothing is removed; to remove it: lacuna clean --yes\n")
    assert f" in {len(unused)} files that none of 3 experiments of the project uses\n" in out
    assert "of experiments that no file names: old (--keep FILE keeps one)" in out
    assert out.startswith(f"the project: {root}/config\n")
    assert there(root) == files["mine"] | files["old"]
    assert main(["clean", "--yes", "--without", "old"]) == 0
    assert there(root) == files["mine"]
    # no folder is left empty
    assert all(any(path.iterdir()) for path in (root / "results").rglob("*") if path.is_dir())
    capsys.readouterr()
    assert main(["clean", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "nothing to remove: 3 experiments of the project use all that is here"
    ]


@pytest.mark.parametrize("place", ["config/experiments/old.yaml", "config/tuned/old.yaml", "mine/old.yaml"])
def test_an_experiment_file_keeps_what_it_uses(project, place):
    root, files = project
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text(yaml.safe_dump(other()))
    further = ["--keep", place] if place.startswith("mine") else []
    assert main(["clean", "--yes", *further]) == 0
    assert there(root) == files["mine"] | files["old"]


@pytest.mark.parametrize(("searched", "kept"), [("search", True), ("old", False)])
def test_what_tuning_found_is_an_experiment_as_long_as_the_one_that_asked(project, searched, kept):
    root, _ = project
    winners = root / f"results/tuning/{searched}/digits/resnet8/short/tuned.yaml"
    winners.parent.mkdir(parents=True, exist_ok=True)
    winners.write_text(yaml.safe_dump(other() | {"name": "found"}))
    (root / "results/tables/found").mkdir()
    (root / "results/tables/found/cells.csv").write_text("")
    assert main(["clean", "--yes", "--without", "old", *([] if kept else ["found"])]) == 0
    assert (root / "results/tables/found").exists() is kept is winners.exists()
    assert (root / "results/models/digits/resnet8/short/seed1").exists() is kept


def test_debris_goes_and_what_a_job_resumes_from_stays(project, capsys):
    root, files = project
    used, unused = "cells/digits/resnet8/short/seed0/class/dense/ga", "cells/digits/resnet8/short/seed1/class/dense/ga"
    kept = {f"{used}/.checkpoint.safetensors", "tuning/search/digits/resnet8/short/.trials.ga.json"}
    strange = {"notes.txt", f"{unused}/by_hand.png", "cells/README.md"}
    gone = {
        f"{unused}/.checkpoint.safetensors",
        f"{used}/model.safetensors.damaged",
        f"{used}/metrics.damaged1/mine.json",
        f"{used}/.job.json.abc123.tmp.json",
        # of a cell that no experiment has, though an experiment has its name
        f"logs/{unused}/metrics/mine.log",
    }
    for file in kept | strange | gone:
        path = root / "results" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    assert main(["clean", "--yes", "--without", "old"]) == 0
    assert there(root) == files["mine"] | kept | strange
    out = capsys.readouterr().out
    for line in ("*.damaged", "checkpoints of jobs that no experiment has", "left by killed jobs"):
        assert line in out
    assert "left alone, not made by lacuna: 2 files, such as " in out


def test_links_are_not_followed(project):
    root, _ = project
    outside = root / "elsewhere/tables/old"
    outside.mkdir(parents=True)
    (outside / "cells.csv").write_text("1")
    (root / "results/tables/linked").symlink_to(outside)
    (root / "results/tables/old/cells.csv").unlink()
    (root / "results/tables/old/cells.csv").symlink_to(outside / "cells.csv")
    assert main(["clean", "--yes", "--without", "old"]) == 0
    assert (outside / "cells.csv").exists()
    assert not (root / "results/tables/old").exists()


def test_snakemakes_records_of_what_is_gone_go_too(project):
    root, _ = project
    records = {}
    for file in (
        "results/tables/old/cells.csv",
        "results/tables/mine/cells.csv",
        str(root / "results/figures/old/a.png"),
    ):
        for kind in ("metadata", "incomplete"):
            coded = base64.urlsafe_b64encode(file.encode()).decode()
            parts = [coded[:10], coded[10:]] if "mine" not in file else [coded]
            record = root / ".snakemake" / kind / Path(*[f"@{part}" for part in parts[:-1]], parts[-1])
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text("{}")
            records[record] = "mine" in file
    (root / "results/figures/old/a.png").write_text("1")
    assert main(["clean", "--yes", "--without", "old"]) == 0
    assert {record: record.exists() for record in records} == records


def test_while_a_run_is_on_nothing_is_touched(project, capsys):
    root, files = project
    let_go = share(root / "results/.running", "/another/clone")
    assert main(["clean", "--yes"]) == 2
    let_go()
    assert "results: a run in /another/clone works on it; allowed: once it has ended" in capsys.readouterr().err
    locks = root / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").write_text("")
    assert main(["clean", "--yes"]) == 2  # nobody can tell whether that run lives
    assert f"a run in {root} works on it" in capsys.readouterr().err
    assert there(root) == files["mine"] | files["old"]
    (root / ".snakemake/lacuna").mkdir()
    (root / ".snakemake/lacuna/alive").write_text("")  # it was killed
    assert main(["clean"]) == 1


def test_what_is_no_results_tree_or_no_experiment_is_refused(project, capsys):
    root, files = project
    (root / "pictures").mkdir()
    for words, said in (
        (["nowhere"], "nowhere: no such folder; allowed: a results folder"),
        (["pictures"], "pictures: no results tree; allowed: the folder that holds data"),
        (
            ["--keep", "nowhere.yaml"],
            "nowhere.yaml is not in order, so its results are not known: nowhere.yaml: no such file",
        ),
    ):
        assert main(["clean", "--yes", *words]) == 2
        assert said in capsys.readouterr().err
    (root / "config/experiments/bad.yaml").write_text("name: bad\ngrid: {}\n")
    assert main(["clean", "--yes"]) == 2
    assert "clean: config/experiments/bad.yaml is not in order, so its results are not known: grid: missing key" in (
        capsys.readouterr().err
    )
    assert there(root) == files["mine"] | files["old"]


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False), ("", False), (EOFError, False)])
def test_on_a_terminal_it_asks(project, monkeypatch, answer, gone):
    def say(prompt: str) -> str:
        if answer is EOFError:
            raise EOFError
        return answer

    root, files = project
    monkeypatch.setattr(clean.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", say)
    assert main(["clean", "--without", "old"]) == (0 if gone else 1)
    assert (there(root) == files["mine"]) is gone


@pytest.mark.parametrize(
    "left",
    ["logs/runs/half.jsonl", "cells/d/m/r/seed0/class/dense/ga/metrics/half.json", "tuning/half/d/m/r/.trials.ga.json"],
)
def test_an_experiment_that_no_file_names_is_not_lost(project, capsys, left):
    root, files = project
    for file in files["old"] - files["mine"]:
        (root / "results" / file).unlink()
    (root / "results" / left).parent.mkdir(parents=True, exist_ok=True)
    (root / "results" / left).write_text("{}")
    assert main(["clean", "--yes"]) == 1
    out = capsys.readouterr().out
    assert "of experiments that no file names: half (--keep FILE keeps one)" in out
    assert out.endswith("nothing is removed; to give up experiments that no file names: --without half\n")
    assert (root / "results" / left).exists()
    for name, said in (("haf", "'haf' is not here; allowed: half"), ("mine", "'mine' is an experiment of the project")):
        assert main(["clean", "--yes", "--without", name]) == 2
        assert said in capsys.readouterr().err
    assert main(["clean", "--yes", "--without", "half"]) == 0
    assert there(root) == files["mine"]


def test_results_of_another_project_are_refused(project, capsys, monkeypatch):
    root, files = project
    beside = root.parent / "beside"
    (beside / "config").mkdir(parents=True)
    monkeypatch.chdir(beside)
    for place in ("nothing here", "a project of its own"):
        assert main(["clean", "--yes", str(root / "results")]) == 2, place
        said = capsys.readouterr().err
        assert "not of the project in use" in said and f"allowed: lacuna clean in {root}\n" in said
        (beside / "config/config.yaml").write_text(yaml.safe_dump(MINE))
    assert there(root) == files["mine"] | files["old"]
    # results that lie elsewhere are of the project whose file names them
    (root / "results").rename(root.parent / "far")
    assert main(["clean", str(root.parent / "far")]) == 2
    assert f"allowed: {root.parent}/config/config.yaml, or lacuna clean in" in capsys.readouterr().err
    (beside / "config/config.yaml").write_text(yaml.safe_dump(MINE | {"results": "../far"}))
    assert main(["clean", str(root.parent / "far")]) == 1


def test_kept_winners_are_never_unused(project, capsys):
    root, _ = project
    winners = root / "results/tuning/gone/digits/resnet8/short/tuned.yaml"
    winners.parent.mkdir(parents=True)
    winners.write_text(yaml.safe_dump(other() | {"name": "found"}))
    (root / "results/tables/found").mkdir()
    (root / "results/tables/found/cells.csv").write_text("")
    kept = str(winners.relative_to(root))
    assert main(["clean", "--yes", "--without", "old", "--keep", kept]) == 0
    assert winners.exists() and (root / "results/tables/found").exists()
    assert not (root / "results/tables/old").exists()


def test_notes_among_logs_are_not_lacunas(project, capsys):
    root, files = project
    notes = {"logs/my_notes.txt", "benchmarks/by_hand.csv"}
    for file in notes:
        (root / "results" / file).write_text("1")
    (root / "results/logs/stray.log").write_text("1")
    assert main(["clean", "--yes", "--without", "old"]) == 0
    assert there(root) == files["mine"] | notes
    assert "left alone, not made by lacuna: 2 files" in capsys.readouterr().out


def test_sizes_are_readable():
    assert [clean._size(n) for n in (0, 999, 1500, 2.5e6, 3e9, 4e12)] == [
        *("0 B", "999 B", "1.5 kB", "2.5 MB", "3 GB", "4 TB")
    ]


@pytest.mark.parametrize(
    ("place", "group"),
    [
        ("models/d/m/r/seed0/dense/.job.json.x1.tmp", "left by killed jobs"),
        ("models/d/m/r/seed0/dense/.job.json.x1.tmp.json", "left by killed jobs"),
        ("cells/d/m/r/seed0/class/dense/ga/metrics.damaged12", "*.damaged"),
        ("models/d/m/r/seed0/dense/.checkpoint.safetensors", "checkpoints of jobs that no experiment has"),
        ("shadows/d/m/r/seed0/dense/.shadow0.safetensors", "checkpoints of jobs that no experiment has"),
        ("tuning/old/d/m/r/.trials.ga.json", "left by killed jobs"),
        ("cells/d/m/r/seed0/class/dense/ga/metrics/old.json", "cells/.../metrics/old.json"),
        ("cells/d/m/r/seed0/class/dense/ga/job.json", "cells/d/m/r/..."),
        ("logs/cells/d/m/r/seed0/class/dense/ga.log", "logs"),
        ("tables/old/cells.csv", "tables/old"),
    ],
)
def test_every_file_that_goes_is_in_a_group_that_says_why(place, group):
    assert clean._group(PurePosixPath(place)) == group


@pytest.mark.parametrize(
    ("name", "debris"),
    [
        (".job.json.x1.tmp", True),
        (".job.json.x1.tmp.json", True),
        ("model.safetensors.damaged", True),
        ("model.safetensors.damaged12", True),
        ("job.json.tmp", False),  # of a user's: ours begin with a dot
        (".checkpoint.safetensors.x1.tmp", False),
        (".checkpoint.safetensors", False),
        ("damaged.txt", False),
        (".damaged", False),
    ],
)
def test_debris_is_what_was_set_aside_or_left_half_written(name, debris):
    assert clean._is_debris(name) is debris


def test_a_group_has_the_sizes_of_its_files_together():
    files = {PurePosixPath(f"tables/old/{name}.csv"): size for name, size in (("a", 700), ("b", 800))}
    lines = list(clean.report(clean.Unused(files), clean.Used(Path("config"), {"mine"})))
    assert ["1.5", "kB", "2", "files", "tables/old"] in [line.split() for line in lines]
    assert lines[-1] == "1.5 kB in 2 files that none of 1 experiments of the project uses"
