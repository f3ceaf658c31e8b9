"""A user's own npz file and own network go all the way to metrics, and a change of either is noticed."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from lacuna.artifacts.files import read_npz, read_tensors

from .project import EXPERIMENT, Done, Project

CELL = "results/cells/own/mine/brief/seed0/random/dense/original"
# braces and their like, which Snakemake would take for wildcards
DATA = "images/my {set} #1 'own'.npz"
METRICS_FILE = f"{CELL}/metrics/tiny.json"
NETS = """
from torch import nn


def make(classes, channels, width):
    layers = [nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(width, classes))
"""
EXPERIMENT_ON_OWN = EXPERIMENT | {
    # the last two need what is made for no other metric
    "metrics": ["UA", "RA", "TA", "TA_forgotten", "MIA", "avg_gap", "ZRF", "AIN"],
    "relearning": {"lr": 0.1, "epochs": 2},
    "grid": EXPERIMENT["grid"]
    | {
        "datasets": {"own": {"method": "npz", "path": DATA}},
        "models": {"mine": {"import": "mynets:make", "kwargs": {"width": 4}}},
        "scenarios": {"random": {"fraction": 0.2}},
        "unlearners": {"original": {}, "retrain": {}},
    },
}


def arrays() -> dict[str, np.ndarray]:
    """Colour images of three classes, rows first, as many libraries store them."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (90, 8, 10, 3), dtype=np.uint8),
        "y_train": np.arange(90) % 3,
        "x_test": rng.integers(0, 256, (12, 8, 10, 3), dtype=np.uint8),
        "y_test": np.arange(12) % 3,
    }


@pytest.fixture(scope="module")
def run(fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """One cell on the user's images; then dry runs with the files as they were, with a line of the network changed and
    with an image changed."""

    def work() -> tuple[Project, Done, Done, Done, Done]:
        project = fresh.copy(tmp_path_factory.mktemp("own") / "clone")
        project.choose(EXPERIMENT_ON_OWN)
        (project / "images").mkdir()
        np.savez(project / DATA, **arrays())
        # the clock of another machine: newer than whatever a job makes of it
        os.utime(project / DATA, (time.time() + 86_400,) * 2)
        (project / "mynets.py").write_text(NETS)
        done = project.run(METRICS_FILE)
        (project / "mynets.py").write_text(f"# what I know of it\n{NETS}")
        same = project.plan(METRICS_FILE)
        (project / "mynets.py").write_text(NETS.replace("width, 3)", "width, 3, padding=1)"))
        network = project.plan(METRICS_FILE)
        (project / "mynets.py").write_text(NETS)
        np.savez(project / DATA, **arrays() | {"x_train": 255 - arrays()["x_train"]})
        os.utime(project / DATA, (1, 1))  # an older file in its place
        return project, done, same, network, project.plan(METRICS_FILE)

    return workers.submit(work)


def test_own_images_become_metrics(run: Future) -> None:
    """One cell of a user's data: its images and labels arrive as they are, and every metric is finite."""
    project, done, *_ = run.result()
    assert done.code == 0, done.output
    given = arrays()
    stored, _ = read_tensors(project / "results/data/own/images.safetensors", "images")
    assert np.array_equal(stored["x"][:90], given["x_train"].transpose(0, 3, 1, 2))
    assert np.array_equal(stored["y"], np.concatenate([given["y_train"], given["y_test"]]))
    meta = json.loads((project / "results/data/own/meta.json").read_text())
    assert (meta["classes"], meta["train"], meta["test"], meta["shape"]) == (3, 90, 12, [3, 8, 10])
    predictions = read_npz(project / CELL / "predictions.npz", "predictions")
    assert np.array_equal(predictions["labels/test"], given["y_test"])
    assert predictions["logits/test"].shape == (12, 3)
    assert np.isin(predictions["index/forget"], np.arange(90)).all()
    assert not np.intersect1d(predictions["index/forget"], predictions["index/retain"]).size
    result = json.loads((project / METRICS_FILE).read_text())
    metrics = result["metrics"]
    assert np.isfinite(list(metrics.values())).all()
    assert {"UA", "RA", "TA", "MIA", "avg_gap/retrain", "ZRF"} <= set(metrics)
    assert "TA_forgotten" in result["absent"]  # no class was forgotten
    relearnt = json.loads((project / CELL / "relearn.json").read_text())
    assert relearnt["epochs"] == 0, "the original model never forgot"
    assert relearnt["settings"]["lr"] == 0.1
    assert metrics.get("AIN/retrain", 0) == 0


def test_only_the_asked_cell_was_made(run: Future) -> None:
    """A target makes itself and what it needs: the dense model, the oracle, and no table."""
    project, done, *_ = run.result()
    place = "random, dense, own, seed 0"
    assert done.jobs == {
        "ingest own",
        "split own, seed 0",
        "choose the forget set: random of own, seed 0",
        "train mine on own, brief, seed 0",
        f"original: {place}",
        f"retrain: {place}",
        "predict with an untrained mine on own, brief, seed 0",
        f"relearn after original: {place}",
        f"relearn after retrain: {place}",
        f"evaluate original: {place}",
    }
    assert not project.made("tables/**/*")


def test_a_changed_file_is_ingested_again(run: Future) -> None:
    """With the user's file as it was there is nothing to do; after a change everything that hangs on it runs."""
    _, done, same, _, after = run.result()
    assert same.nothing_to_do, same.output
    assert after.code == 0, after.output
    assert after.jobs == done.jobs


def test_a_changed_network_is_trained_again(run: Future) -> None:
    """A line of the user's code, not a comment, runs whatever is made with it; images and splits stay."""
    _, done, _, network, _ = run.result()
    assert network.code == 0, network.output
    kept = {"ingest own", "split own, seed 0", "choose the forget set: random of own, seed 0"}
    assert network.jobs == done.jobs - kept
