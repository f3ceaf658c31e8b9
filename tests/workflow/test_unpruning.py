"""Un-pruning in the pipeline: a cell beside its unlearner, with its metrics and the bound of gradient ascent."""

from __future__ import annotations

import copy
import json
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from lacuna.artifacts.files import read_npz, read_tensors, unpack_bits

from .project import EXPERIMENT, Done, Project

CELLS = "results/cells/own/resnet8/brief/seed0/random/omp-0.90"
STATE = "results/models/own/resnet8/brief/seed0/omp-0.90"
LABEL = "unprune.ga.p20.r2"
TARGETS = [f"{CELLS}/{label}/metrics/tiny.json" for label in ("ga", LABEL)]
PLACE = "random, omp-0.90, own, seed 0"
UNPRUNING = EXPERIMENT | {
    "metrics": ["UA", "mask_iou", "mask_iom", "parameter_distance", "sparsity", "error_bound", "error_bound_sigma"],
    "grid": EXPERIMENT["grid"]
    | {
        "datasets": {"own": {"method": "npz", "path": "own.npz"}},
        "scenarios": {"random": {"fraction": 0.2}},
        "sparsities": [0.9],
        "unlearners": {"retrain": {}, "ga": {"epochs": 2, "lr": 1e-3}, "ft": {"epochs": 1}},
        "unprune": [{"unlearner": "ga", "p": [20, 30], "rounds": 2}, {"unlearner": "ft"}],
    },
}


@pytest.fixture(scope="module")
def run(fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """Two cells on a few images; then a dry run with another learning rate of the unlearner inside."""

    def work() -> tuple[Project, Done, Done, Done]:
        project = fresh.copy(tmp_path_factory.mktemp("unprune") / "clone")
        project.choose(UNPRUNING)
        rng = np.random.default_rng(0)
        arrays = {"x_train": rng.random((90, 8, 8)), "y_train": np.arange(90) % 3}
        np.savez(project / "own.npz", **arrays, x_test=rng.random((12, 8, 8)), y_test=np.arange(12) % 3)
        done = project.run(*TARGETS)
        same = project.plan(*TARGETS)
        other = copy.deepcopy(UNPRUNING)
        other["grid"]["unlearners"]["ga"]["lr"] = 2e-3
        project.choose(other)
        return project, done, same, project.plan(*TARGETS)

    return workers.submit(work)


def test_cell_is_grown_and_pruned_back_to_its_density(run: Future) -> None:
    project, done, _, _ = run.result()
    assert done.code == 0, done.output
    before, after = (unpack_bits(read_npz(project / path / "mask.npz", "mask")) for path in (STATE, f"{CELLS}/{LABEL}"))
    assert sum(m.sum() for m in after.values()) == sum(m.sum() for m in before.values())
    facts = json.loads((project / CELLS / LABEL / "job.json").read_text())
    assert facts["facts"]["grown"] > 0
    assert facts["facts"]["exchanged"] == sum((after[n] & ~before[n]).sum() for n in after) > 0
    assert facts["parameters"]["unprune"]["p"] == 20
    weights, _ = read_tensors(project / CELLS / LABEL / "model.safetensors", "model")
    assert all(not weights[n][~after[n]].any() for n in after)


def test_metrics_compare_masks_and_weights_layer_by_layer(run: Future) -> None:
    project, _, _, _ = run.result()
    plain, grown = (json.loads((project / target).read_text()) for target in TARGETS)
    assert plain["metrics"]["mask_iou/retrain"] == 1
    assert grown["metrics"]["mask_iou/retrain"] < 1
    for result in (plain, grown):
        iou, iom = (result["metrics"][f"mask_{m}/retrain"] for m in ("iou", "iom"))
        assert iou == pytest.approx(iom / (2 - iom)), "equal sparsity"
        assert set(result["layers"]) == {
            "mask_iou/retrain",
            "mask_iom/retrain",
            "parameter_distance/retrain",
            "sparsity",
        }
    layers = plain["layers"]["parameter_distance/retrain"]
    assert "conv1.weight" in "".join(layers)
    # batch norm and classifier are of no layer that can be pruned
    assert 0 < sum(v**2 for v in layers.values()) < plain["metrics"]["parameter_distance/retrain"] ** 2


def test_bound_stands_beside_the_measured_distance(run: Future) -> None:
    project, _, _, _ = run.result()
    plain, grown = (json.loads((project / target).read_text()) for target in TARGETS)
    curvature = json.loads((project / STATE / "curvature.json").read_text())
    dense = json.loads((project / STATE).with_name("dense").joinpath("job.json").read_text())
    assert curvature["steps"] == dense["steps"], "rewound: as many as the dense training, not those of ga"
    expected = dense["parameters"]["recipe"]["lr"] ** 2 * dense["steps"] * curvature["distance"] * curvature["sigma"]
    assert plain["metrics"]["error_bound"] == pytest.approx(expected)
    assert plain["metrics"]["error_bound_sigma"] == curvature["sigma"] > 0
    assert grown["absent"]["error_bound"] == "the bound is of gradient ascent (ga) alone"


def test_unlearner_inside_decides_what_runs_again(run: Future) -> None:
    _, _, same, after = run.result()
    assert same.nothing_to_do, same.output
    cells = {f"{label}: {PLACE}" for label in ("ga", LABEL)}
    assert after.jobs == cells | {f"evaluate {job}" for job in cells}
