"""What was damaged, exchanged or deleted is found and made anew by the same command, and then nothing tells of it."""

import os
from pathlib import Path

from lacuna.artifacts.files import content_digest
from lacuna.commands.verify import verify

from .project import STATES, UNLEARNERS, Project
from .test_verify import flipped

CELLS = "results/cells/digits/resnet8/brief/seed0/class"


def contents(project: Project) -> dict[str, str]:
    """Models, masks, predictions and splits by their content."""
    kept = {name: path for name, path in project.made("**/*").items() if path.suffix in (".safetensors", ".npz")}
    return {name: content_digest(path) for name, path in kept.items()}


def test_what_was_deleted_is_made_again(finished: Project, tmp_path: Path) -> None:
    """Though no later file waits for it: the default target asks for every file of the experiment."""
    project = finished.view(tmp_path / "view")
    project.own("results")
    assert project.plan().nothing_to_do
    for name in ("dense/ga/history.csv", "omp-0.90/ga/model.safetensors", "omp-0.90/original/metrics/tiny.json"):
        (project / CELLS / name).unlink()
    counts = project.plan().counts
    # an unlearned model is nobody's oracle
    assert (counts["unlearn"], counts["evaluate"], counts["aggregate"]) == (2, 3, 1)
    assert not counts.keys() & {"train", "prune", "retrain", "retrain_exact", "retrain_exact_dense"}
    models = finished.view(tmp_path / "models")
    models.own("results")
    os.unlink(models / "results/models/digits/resnet8/brief/seed0/omp-0.90/job.json")
    assert models.plan().counts["prune"] == 1
    assert models.plan("tables").nothing_to_do, "the tables alone need it no more"


def test_harm_of_every_kind_is_mended_by_the_same_command(finished: Project, tmp_path: Path) -> None:
    """A flipped result, predictions and whole cells that changed places, a job's file replaced, a table edited."""
    project = finished.copy(tmp_path / "clone")
    flipped(project / CELLS / "dense/original/metrics/tiny.json")
    names = [project / CELLS / f"omp-0.90/{label}/predictions.npz" for label in ("ga", "original")]
    first, second = (path.read_bytes() for path in names)
    names[0].write_bytes(second)
    names[1].write_bytes(first)
    (project / CELLS / "omp-0.90/ga/metrics/tiny.json").unlink()
    (project / CELLS / "dense/ga").rename(project / CELLS / "dense/x")
    (project / CELLS / "dense/original").rename(project / CELLS / "dense/ga")
    (project / CELLS / "dense/x").rename(project / CELLS / "dense/original")
    for table in ("cells", "summary"):
        (project / f"results/tables/tiny/{table}.csv").unlink()
    for _ in range(3):
        done = project.run()
        assert "Traceback" not in done.output
        if done.code == 0:
            break
        assert "run the same command again to make it anew" in done.output
    assert done.code == 0, done.output
    assert contents(project) == contents(finished)
    assert list(verify(project / "results")) == []
    assert len(project.made(f"{CELLS.removeprefix('results/')}/*/*/job.json")) == len(STATES) * len(UNLEARNERS)
