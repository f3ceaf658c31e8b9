"""A user's folder of images and list of indices go all the way to predictions; what changed in them is noticed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from lacuna.artifacts.files import read_npz, read_tensors

from .project import EXPERIMENT, Done, Project

PREDICTIONS = "results/cells/photos/resnet8/brief/seed0/list/dense/original/predictions.npz"
PLACE = "list, dense, photos, seed 0"
LISTED = list(range(0, 40, 2))
FOLDERS = EXPERIMENT | {
    "images": "host",
    "grid": EXPERIMENT["grid"]
    | {
        "datasets": {"photos": {"method": "image_folder", "root": "photos", "size": 8}},
        "scenarios": {"list": {"method": "indices", "path": "forget.csv"}},
        "unlearners": {"original": {}, "retrain": {}},
    },
}


def picture(project: Project, part: str, name: str, number: int) -> None:
    path = project / f"photos/{part}/{name}/{number:03d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def run(fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """One cell; then dry runs: all as it was, another list, an image more."""

    def work() -> tuple[Project, Done, list[Done]]:
        project = fresh.copy(tmp_path_factory.mktemp("folders") / "clone")
        project.choose(FOLDERS)
        for i in range(60):
            picture(project, "train", "cat" if i < 30 else "dog", i)
        for i in range(60, 70):
            picture(project, "val", "cat" if i < 65 else "dog", i)
        (project / "forget.csv").write_text("\n".join(map(str, LISTED)))
        done = project.run(PREDICTIONS)
        plans = [project.plan(PREDICTIONS)]
        (project / "forget.csv").write_text("\n".join(map(str, LISTED[1:])))
        plans.append(project.plan(PREDICTIONS))
        picture(project, "val", "dog", 70)
        plans.append(project.plan(PREDICTIONS))
        return project, done, plans

    return workers.submit(work)


def test_folder_and_list_become_predictions(run: Future) -> None:
    """Images in the order of folders and names; what is listed is forgotten, but for what is for validation."""
    project, done, _ = run.result()
    assert done.code == 0, done.output
    stored, _ = read_tensors(project / "results/data/photos/images.safetensors", "images")
    assert stored["x"].shape == (70, 3, 8, 8)
    assert stored["y"].tolist() == [0] * 30 + [1] * 30 + [0] * 5 + [1] * 5
    predictions = read_npz(project / PREDICTIONS, "predictions")
    held_out = set(predictions["index/val"].tolist())
    assert len(held_out) == 6
    assert predictions["index/forget"].tolist() == [i for i in LISTED if i not in held_out]
    log = (project / "results/logs/splits/photos/seed0/forget/list.log").read_text()
    assert f"{len(set(LISTED) & held_out)} of 20 indices left out" in log
    assert np.isfinite(predictions["logits/test"]).all()


def test_only_what_a_change_touches_runs_again(run: Future) -> None:
    """Another list: its forget set and its cell, no training. Another image: everything."""
    _, done, (same, another_list, another_image) = run.result()
    assert same.nothing_to_do, same.output
    assert another_list.jobs == {"choose the forget set: list of photos, seed 0", f"original: {PLACE}"}
    assert another_image.jobs == done.jobs
    assert "ingest photos" in done.jobs
