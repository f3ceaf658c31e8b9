"""`lacuna verify`: a finished tree is in order, and each kind of harm done to it is named."""

import csv
import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from lacuna.__main__ import main
from lacuna.artifacts import read_npz, read_tensors, write_tensors
from lacuna.errors import LacunaError
from lacuna.verify import verify

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
    told = found(results)
    assert told.pop("damaged") == {f"{GA}/{f.name}" for f in (model, predictions, job)}
    assert told == {"stale": {f"{GA}/metrics/tiny.json"}}, "made from the job.json before; damaged arrays are said once"
    assert main(["verify", str(results)]) == 1
    assert f"damaged: {model}: not a usable model file (its checksum" in capsys.readouterr().out


def test_masked_weight_that_is_not_zero_is_damage(results: Path) -> None:
    path = results / GA / "model.safetensors"
    arrays, about = read_tensors(path, "model")
    arrays = {k: v + (v == 0) if k == "stem.0.weight" else v for k, v in arrays.items()}
    write_tensors(path, "model", arrays, **about)
    finding, measured, origin = verify(results)
    assert (finding.kind, finding.path) == ("damaged", path)
    assert finding.why.startswith("mask violated: 'stem.0.weight' has ")
    assert measured.kind == "stale", "the distance to the oracles was measured on other weights"
    assert (origin.kind, origin.path.name) == ("stale", "provenance.csv")
    assert origin.why.startswith(f"model_sha256 of {results / GA} is ")


def test_what_is_gone_is_missing(results: Path) -> None:
    (results / GA / "history.csv").unlink()
    shutil.rmtree(results / MODELS / "dense")
    shutil.rmtree(results / GA.replace("/ga", "/original") / "metrics")
    gone = {f"{GA}/history.csv", f"{GA.replace('/ga', '/original')}/metrics"} | {
        f"{MODELS}/dense/{n}.safetensors" for n in ("model", "rewind", "initial")
    }
    assert found(results)["missing"] >= gone


def test_what_was_made_from_another_file_is_stale(results: Path) -> None:
    path = results / MODELS / "omp-0.90/model.safetensors"
    arrays, about = read_tensors(path, "model")
    write_tensors(path, "model", {k: v * 2 for k, v in arrays.items()}, **about)
    assert found(results) == {"stale": {f"{GA}/job.json", f"{GA.replace('/ga', '/original')}/job.json"}}


def test_number_of_a_table_that_its_cell_does_not_hold_is_stale(results: Path) -> None:
    path = results / "tables/tiny/cells.csv"
    rows = list(csv.reader(path.open(newline="")))
    rows[1][-1] = "1234.5"
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_text(text.getvalue())
    assert found(results) == {"stale": {"tables/tiny/cells.csv"}}


def test_origin_that_the_job_does_not_tell_is_stale(results: Path) -> None:
    path = results / "tables/tiny/provenance.csv"
    rows = list(csv.DictReader(path.open(newline="")))
    rows[0]["device"], rows[1]["unlearner"] = "another", "gone"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    told = [(f.kind, f.path.name, f.why.split(" ")[0]) for f in verify(results)]
    assert told == [("stale", path.name, "device"), ("missing", "job.json", str(path))]


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


def test_a_folder_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert (
        capsys.readouterr().err
        == f"lacuna: {tmp_path / 'nowhere'}: no such folder; allowed: a results folder of lacuna\n"
    )
