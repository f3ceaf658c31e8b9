"""States whose networks run without their removed filters."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from lacuna.artifacts.files import read_json, read_npz, read_tensors
from lacuna.data.batches import UnlearningData
from lacuna.models.files import load_into, new_model
from lacuna.models.inference import logits
from lacuna.sparsity.compaction import compact
from lacuna.sparsity.files import load_mask

from .project import Project, changed

STATE = "small-0.50"
CELLS = "results/cells/digits/resnet8/brief/seed0/class"
TARGET = f"{CELLS}/{STATE}/ft/metrics/tiny.json"
MADE = ("ft", "retrain", "retrain_exact")


def with_filters(**options: object) -> dict:
    return changed(
        pruners={"small": {"method": "filter_l2", **options}},
        sparsities=["dense", 0.5],
        unlearners={"ft": {"epochs": 1}},
    )


def test_a_compact_state_from_pruning_to_metrics(finished: Project, tmp_path: Path) -> None:
    """Every network of the state runs small, is stored whole, and is the same function when it is compacted again."""
    project = finished.copy(tmp_path / "clone")
    project.choose(with_filters(compact=True))
    done = project.run(TARGET)
    assert done.code == 0, done.output
    assert done.counts == {"prune": 1, "unlearn": 1, "retrain": 1, "retrain_exact": 1, "evaluate": 1}
    metrics = json.loads((project / TARGET).read_text())["metrics"]
    assert metrics["sparsity"] == 0.5
    assert metrics["mask_iou/retrain"] == 1.0
    assert metrics["inference_ms"] > 0

    arrays, _ = read_tensors(project / "results/data/digits/images.safetensors", "images")
    meta = read_json(project / "results/data/digits/meta.json")
    dense = json.loads((project / f"{CELLS}/dense/retrain/job.json").read_text())["network"]
    for unlearner in MADE:
        cell = project / f"{CELLS}/{STATE}/{unlearner}"
        network = json.loads((cell / "job.json").read_text())["network"]
        # resnet8 of width 4 on one channel of 8×8 with half of all channels is resnet8 of width 2
        half = new_model({"method": "resnet8", "width": 2}, meta, torch.device("cpu"))
        assert network["parameters"] == sum(p.numel() for p in half.parameters()) < dense["parameters"]
        assert network["macs"] < 0.3 * dense["macs"]
        whole = load_into(
            new_model({"method": "resnet8", "width": 4}, meta, torch.device("cpu")), cell / "model.safetensors"
        )
        small = compact(whole, load_mask(cell / "mask.npz"), meta["shape"])
        assert sum(p.numel() for p in small.parameters()) == network["parameters"]
        stored = read_npz(cell / "predictions.npz", "predictions")
        data = UnlearningData.from_arrays(arrays, meta, {"test": stored["index/test"]})
        torch.testing.assert_close(
            logits(small, data, "test"), torch.from_numpy(stored["logits/test"]), rtol=1e-4, atol=1e-5
        )
    assert metrics["parameters"] == network["parameters"]
    assert metrics["macs"] == network["macs"]

    assert project.plan(TARGET).nothing_to_do
    project.choose(with_filters(compact=False))
    assert project.plan(TARGET).counts == done.counts
    project.choose(with_filters(compact=True))
    project.edit("src/lacuna/sparsity/compaction.py", lambda text: text.replace("TOLERANCE = 1e-6", "TOLERANCE = 1e-7"))
    again = project.plan(TARGET, f"{CELLS}/omp-0.90/ga/metrics/tiny.json")
    assert again.counts == done.counts, "cells of other states do not depend on it"
