"""`lacuna verify`: a finished tree is in order, and each kind of harm done to it is named."""

import csv
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lacuna.__main__ import main
from lacuna.artifacts.files import content_digest, read_npz, read_tensors, write_json, write_tensors
from lacuna.commands.verify import verify
from lacuna.errors import LacunaError

from .project import Project

MODELS = "models/digits/resnet8/brief/seed0"
GA = "cells/digits/resnet8/brief/seed0/class/omp-0.90/ga"


@pytest.fixture
def results(finished: Project, tmp_path: Path) -> Path:
    """A copy of the finished results, moved to where nobody expects them."""
    return Path(shutil.copytree(finished / "results", tmp_path / "kept"))


def found(results: Path) -> dict[str, set[str]]:
    """Kinds of findings, with the files they name."""
    kinds: dict[str, set[str]] = {}
    for finding in verify(results):
        kinds.setdefault(finding.kind, set()).add(str(finding.path.relative_to(results)))
    return kinds


def test_finished_tree_is_in_order(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(results) == {}
    assert main(["verify", str(results)]) == 0
    assert capsys.readouterr().err == f"{results}: in order\n"


def test_altered_and_truncated_files_are_damaged(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, predictions, job = (results / GA / name for name in ("model.safetensors", "predictions.npz", "job.json"))
    content = bytearray(model.read_bytes())
    content[-5] ^= 1
    model.write_bytes(content)
    predictions.write_bytes(predictions.read_bytes()[:-100])
    job.write_text(job.read_text()[:-3])
    assert found(results) == {"damaged": {f"{GA}/{f.name}" for f in (model, predictions, job)}}
    assert main(["verify", str(results)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{results / GA}:", "the findings of one cell together"
    assert f"  damaged: {model}: not a usable model file (its checksum" in "\n".join(said)
    assert said[-2].startswith(f"to mend: lacuna verify {results} --set-aside")
    assert said[-1].startswith("run the command of the experiment (tiny) again")


# what a job makes and another reads, or a reader of the results; records of jobs are nobody's input
ARTIFACTS = (
    "data/**/*.*",
    "splits/**/*.npz",
    "models/**/*.*",
    "cells/**/*.*",
    "tables/**/*.*",
    "figures/**/*.*",
    "report/*",
)


def artifacts(results: Path) -> dict[str, Path]:
    found = {p for pattern in ARTIFACTS for p in results.glob(pattern) if p.is_file()}
    return {str(path.relative_to(results)): path for path in sorted(found)}


def flipped(path: Path) -> None:
    """In an archive within the first array: there are bytes of times and attributes that nobody reads."""
    content, at = bytearray(path.read_bytes()), 0
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            first = archive.infolist()[0]
        at = 30 + len(first.filename) + int.from_bytes(content[28:30], "little") + first.compress_size // 2
    content[at or len(content) // 2] ^= 1
    path.write_bytes(content)


def seen(results: Path) -> set[str]:
    return {str(f.path.relative_to(results)) for f in verify(results) if f.kind in ("damaged", "stale")}


@pytest.mark.parametrize("kind", [".json", ".safetensors .npz .csv .png .svg .pdf .html .md .tex"])
def test_every_flipped_file_is_seen(results: Path, kind: str) -> None:
    chosen = {name: path for name, path in artifacts(results).items() if path.suffix in kind.split()}
    assert len(chosen) >= 20
    for path in chosen.values():
        flipped(path)
    missed = chosen.keys() - seen(results)
    assert not missed


def test_every_exchanged_file_is_seen(results: Path) -> None:
    """Each file with the next of its name in another folder, unless they hold the same."""
    by_name: dict[str, list[str]] = {}
    for name in artifacts(results):
        by_name.setdefault(Path(name).name, []).append(name)
    content = {name: path.read_bytes() for name, path in artifacts(results).items()}
    moved = set()
    for names in by_name.values():
        for mine, theirs in zip(names, names[1:] + names[:1], strict=True):
            (results / mine).write_bytes(content[theirs])
            moved |= {mine} if content[mine] != content[theirs] else set()
    assert len(moved) > 40
    jobs = {name for name in moved if name.endswith("job.json")}
    assert not {name for name in moved if name.endswith(".json")} - seen(results)
    for name in jobs:  # which vouch for models, masks and histories
        (results / name).write_bytes(content[name])
    assert not moved - jobs - seen(results)


@pytest.mark.parametrize("by", ["empty", "text", "folder", "pipe"])
def test_every_replaced_file_is_seen(results: Path, by: str) -> None:
    chosen = artifacts(results)
    for path in chosen.values():
        path.unlink()
        if by == "folder":
            path.mkdir()
        elif by == "pipe":
            os.mkfifo(path)
        else:
            path.write_text("x\0" if by == "text" else "")
    missed = chosen.keys() - seen(results)
    assert not missed


def test_masked_weight_that_is_not_zero_is_damage(results: Path) -> None:
    path = results / GA / "model.safetensors"
    arrays, about = read_tensors(path, "model")
    arrays = {k: v + (v == 0) if k == "stem.0.weight" else v for k, v in arrays.items()}
    write_tensors(path, "model", arrays, **about)
    first, second, measured = verify(results)
    assert (first.kind, first.path) == ("damaged", path)
    assert first.why.startswith("mask violated: 'stem.0.weight' has ")
    assert (second.kind, second.path) == ("stale", path), "another model than the job.json names"
    assert measured.kind == "stale", "the distance to the oracles was measured on other weights"


def test_what_is_gone_is_missing(results: Path) -> None:
    (results / GA / "history.csv").unlink()
    shutil.rmtree(results / MODELS / "dense")
    shutil.rmtree(results / GA.replace("/ga", "/original") / "metrics")
    (results / "tables/tiny/ranks.csv").unlink()
    gone = {f"{GA}/history.csv", f"{GA.replace('/ga', '/original')}/metrics", "tables/tiny/ranks.csv"} | {
        f"{MODELS}/dense/{n}.safetensors" for n in ("model", "rewind", "initial")
    }
    assert found(results)["missing"] >= gone


def test_what_was_made_from_another_file_is_stale(results: Path) -> None:
    path = results / MODELS / "omp-0.90/model.safetensors"
    arrays, about = read_tensors(path, "model")
    write_tensors(path, "model", {k: v * 2 for k, v in arrays.items()}, **about)
    assert found(results) == {
        "stale": {
            f"{MODELS}/omp-0.90/model.safetensors",
            f"{GA}/job.json",
            f"{GA.replace('/ga', '/original')}/job.json",
        }
    }


TABLES = ("cells", "layers", "summary", "ranks", "disagreement", "sparsity", "provenance")


@pytest.mark.parametrize("how", ["edited", "edited, and the checksums too"])
def test_every_edited_table_is_stale(results: Path, how: str) -> None:
    """A number in the middle; with checksums that fit, the comparison with the files of the cells sees it."""
    folder = results / "tables/tiny"
    facts = json.loads((folder / "experiment.json").read_text())
    for name in TABLES:
        path = folder / f"{name}.csv"
        rows = list(csv.reader(path.open(newline="")))
        if len(rows) < 2:
            continue
        # the last field that has a value
        row = rows[len(rows) // 2]
        at = max(i for i, value in enumerate(row) if value)
        row[at] = "77.7" if row[at].replace(".", "").isdigit() else "another"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        path.write_text(text.getvalue())
        facts["tables"][name] = content_digest(path)
    if how != "edited":
        facts.pop("checksum")
        write_json(folder / "experiment.json", facts)
    edited = {f"tables/tiny/{name}.csv" for name in TABLES if (folder / f"{name}.csv").stat().st_size > 200}
    assert len(edited) >= 6
    assert found(results) == {"stale": edited}


def test_number_of_a_table_that_its_cell_does_not_hold_is_named(results: Path) -> None:
    path = results / "tables/tiny/cells.csv"
    rows = list(csv.reader(path.open(newline="")))
    rows[1][rows[0].index("value")] = "1234.5"
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue())
    (finding,) = verify(results)
    assert finding.path == path and finding.kind == "stale"
    assert "it was changed after it was made; value of " in finding.why and "in line 2 is 1234.5, now " in finding.why


def test_a_result_of_another_value_makes_its_tables_stale(results: Path) -> None:
    """Made again with another outcome: nothing was edited, and the tables are those of before."""
    path = results / GA / "metrics/tiny.json"
    facts = json.loads(path.read_text())
    facts.pop("checksum")
    facts["metrics"]["UA"] += 1
    write_json(path, facts)
    stale = found(results)["stale"]
    assert {"tables/tiny/cells.csv", "tables/tiny/summary.csv"} <= stale


def test_unknown_files_and_links_are_told(results: Path, tmp_path: Path) -> None:
    (results / GA / "notes.bin").write_bytes(b"mine")
    (results / "tables/tiny/more.csv").write_text("a\n1\n")
    (results / GA / ".DS_Store").write_bytes(b"")
    (results / GA / "README.md").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (results / "cells/link").symlink_to(tmp_path / "elsewhere")
    (results / GA / "relearn.json").symlink_to("/etc/passwd")
    assert found(results) == {
        "unknown": {f"{GA}/notes.bin", "tables/tiny/more.csv", "cells/link", f"{GA}/relearn.json"}
    }


@pytest.mark.parametrize("name", ["/etc/passwd", "/dev/zero", "results/../../etc/passwd", "results/nowhere", "", "x"])
def test_inputs_outside_the_tree_are_damage_and_not_read(results: Path, name: str) -> None:
    path = results / GA / "relearn.json"
    facts = {"accuracy": [1.0], "target": 1.0, "epochs": 0, "inputs": {name: "0"}, "place": f"{GA}/relearn.json"}
    write_json(path, facts)
    (finding,) = verify(results)
    assert (finding.kind, finding.path) == ("damaged", path)
    assert "as an input, which is no file of a tree" in finding.why


def test_what_is_set_aside_is_what_the_command_makes_anew(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flipped(results / GA / "job.json")
    assert main(["verify", str(results), "--set-aside"]) == 1
    aside = {str(p.relative_to(results)) for p in results.rglob("*.damaged")}
    # nothing else vouches for the model, the mask and the rest
    names = ("job.json", "model.safetensors", "mask.npz", "predictions.npz", "history.csv")
    assert aside == {f"{GA}/{name}.damaged" for name in names}
    assert found(results)["missing"] >= {f"{GA}/{name}" for name in names}


def test_leftovers_of_a_killed_job_are_told(results: Path) -> None:
    (results / GA / ".model.safetensors.x1.tmp.safetensors").write_bytes(b"half")
    (results / GA / ".checkpoint.safetensors").write_bytes(b"")
    search = results / "tuning/tiny/.trials.ft.json"  # of a study that was not finished
    search.parent.mkdir(parents=True)
    search.write_text("{}")
    told = found(results)
    assert {k: len(v) for k, v in told.items()} == {"left behind": 3}
    assert str(search.relative_to(results)) in told["left behind"]


class Malice:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_pickle_named_like_an_artifact_is_refused_and_not_run(results: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    bomb = pickle.dumps(Malice(mark))
    (results / GA / "model.safetensors").write_bytes(bomb)
    (results / GA / "predictions.npz").write_bytes(bomb)
    np.savez(results / GA / "mask.npz", lacuna=np.array(Malice(mark), dtype=object))
    assert found(results)["damaged"] == {f"{GA}/{n}" for n in ("model.safetensors", "predictions.npz", "mask.npz")}
    for read, kind, name in ((read_tensors, "model", "model.safetensors"), (read_npz, "mask", "mask.npz")):
        with pytest.raises(LacunaError, match="not a usable"):
            read(results / GA / name, kind)
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists(), "the bomb works: it was never lit"


@pytest.mark.parametrize("folder", ["nowhere", "empty", "kept/cells", "kept/tables/tiny", "."])
def test_a_folder_that_is_none_is_refused(
    results: Path, tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["verify", str(tmp_path / folder)]) == 2
    said = capsys.readouterr().err
    why = "no such folder; allowed: a results folder" if folder == "nowhere" else "no results tree; allowed: the folder"
    assert said.startswith(f"lacuna: {tmp_path / folder}: {why}") and said.count("\n") == 1


def test_a_reader_that_goes_away_and_a_terminal_without_signs_are_no_errors(results: Path) -> None:
    (results / GA / "naïve ± é").write_text("")
    command = [sys.executable, "-m", "lacuna", "verify", str(results)]
    plain = os.environ | {"PYTHONIOENCODING": "ascii"}
    told = subprocess.run(command, capture_output=True, env=plain, check=False)
    assert (told.returncode, b"na?ve +- ?" in told.stdout, b"Traceback" in told.stderr) == (1, True, False)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert b"rror" not in process.stderr.read()
