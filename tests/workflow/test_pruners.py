"""Every pruner through the pipeline: its masks, its oracles, its shared rounds; and what no pruner may do."""

from __future__ import annotations

import csv
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from lacuna.artifacts.files import read_npz, read_tensors, unpack_bits

from .project import Done, Project, changed

PRUNERS = ("omp", "random", "taylor", "snip", "grasp", "synflow", "imp")
MODELS = "results/models/digits/resnet8/brief/seed0"
CELLS = "results/cells/digits/resnet8/brief/seed0/class"
# one pruner that trains first was run with the rest of the experiment; these are the other two ways
ORACLES = {"snip": ("retrain", "retrain_b", "retrain_exact", "retrain_exact_b"), "imp": ("retrain", "retrain_exact")}
OPTIONS = {"imp": {"rate": 0.6}, "synflow": {"rounds": 10}, "snip": {"samples_per_class": 2}}
TWINS = {"retrain_b": {"method": "retrain"}, "retrain_exact_b": {"method": "retrain_exact"}}


def experiment(*sparsities: float) -> dict:
    pruners = {name: OPTIONS.get(name, {}) for name in PRUNERS}
    return changed(pruners=pruners, unlearners=TWINS, sparsities=["dense", *sparsities])


def targets(sparsity: str) -> list[str]:
    """The models of every pruner, and the oracles of two of them."""
    cells = [f"{CELLS}/{pruner}-{sparsity}/{oracle}" for pruner, oracles in ORACLES.items() for oracle in oracles]
    return [f"{place}/model.safetensors" for place in [*(f"{MODELS}/{p}-{sparsity}" for p in PRUNERS), *cells]]


@pytest.fixture(scope="module")
def pruned(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Done]:
    """The finished tree, with the other pruners run in it."""
    project = finished.copy(tmp_path_factory.mktemp("pruned") / "clone")
    project.choose(experiment(0.9))
    done = project.run(*targets("0.90"))
    assert done.code == 0, done.output
    return project, done


def weights_and_mask(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    weights, _ = read_tensors(folder / "model.safetensors", "model")
    return weights, unpack_bits(read_npz(folder / "mask.npz", "mask"))


def test_what_ran_is_what_was_missing(pruned: tuple[Project, Done]) -> None:
    """One job for each new mask, two rounds of imp for the model and for its exact oracle; nothing dense but a twin."""
    _, done = pruned
    assert done.counts == {"prune": 6 + 2, "retrain": 3, "retrain_exact": 3 + 2, "retrain_exact_dense": 1}


@pytest.mark.parametrize("pruner", PRUNERS)
def test_model_is_as_sparse_as_asked_and_zero_elsewhere(pruned: tuple[Project, Done], pruner: str) -> None:
    """Nine tenths of the prunable weights, to the weight, are exactly 0 in the model and in its oracles."""
    project, _ = pruned
    folders = [project / f"{CELLS}/{pruner}-0.90/{oracle}" for oracle in ORACLES.get(pruner, ())]
    for folder in [project / f"{MODELS}/{pruner}-0.90", *folders]:
        weights, mask = weights_and_mask(folder)
        removed, total = sum(int((~kept).sum()) for kept in mask.values()), sum(kept.size for kept in mask.values())
        assert abs(removed - 0.9 * total) <= 0.5
        assert all((weights[layer][~kept] == 0).all() for layer, kept in mask.items())
        assert all(np.isfinite(w).all() for w in weights.values())


def test_pruners_disagree(pruned: tuple[Project, Done]) -> None:
    """No two pruners find the same mask."""
    project, _ = pruned
    assert len({(project / f"{MODELS}/{pruner}-0.90/mask.npz").read_bytes() for pruner in PRUNERS}) == len(PRUNERS)


@pytest.mark.parametrize("pruner", ORACLES)
def test_oracles_take_the_mask_or_find_their_own(pruned: tuple[Project, Done], pruner: str) -> None:
    """retrain has the mask of the state, retrain_exact another, each twin other weights than its like."""
    project, _ = pruned
    given = weights_and_mask(project / f"{MODELS}/{pruner}-0.90")[1]
    found = {}
    for oracle in ORACLES[pruner]:
        weights, mask = weights_and_mask(project / f"{CELLS}/{pruner}-0.90/{oracle}")
        same = all(np.array_equal(mask[layer], given[layer]) for layer in given)
        assert same == ("exact" not in oracle)
        found[oracle] = weights["classifier.weight"].tobytes()
    assert len(set(found.values())) == len(found)


def test_a_round_prunes_within_the_one_before(pruned: tuple[Project, Done]) -> None:
    """imp at rate 0.6 passes 0.6 and 0.84 on the way to 0.9; each mask lies within the last."""
    project, _ = pruned
    for pattern in (f"{MODELS}/{{}}", f"{CELLS}/{{}}/retrain_exact"):
        names = ("imp-round01", "imp-round02", "imp-0.90")
        masks = [weights_and_mask(project / pattern.format(name))[1] for name in names]
        for level, mask in zip((0.6, 0.84, 0.9), masks, strict=True):
            assert abs(sum(int((~k).sum()) for k in mask.values()) / sum(k.size for k in mask.values()) - level) < 1e-4
        for before, after in itertools.pairwise(masks):
            assert not any((after[layer] & ~before[layer]).any() for layer in after)


def test_an_exact_oracle_costs_the_rounds_before_it(pruned: tuple[Project, Done]) -> None:
    """The seconds of imp's exact oracle add up along its chain; pruning at initialisation has no training before it."""
    project, _ = pruned

    def seconds(state: str) -> tuple[float, float]:
        """In job.json, and of the last training alone."""
        folder = project / f"{CELLS}/{state}/retrain_exact"
        with open(folder / "history.csv", encoding="utf-8") as file:
            own = float(list(csv.DictReader(file))[-1]["seconds"])
        return json.loads((folder / "job.json").read_text())["seconds"], own

    chain = [seconds(state) for state in ("dense", "imp-round01", "imp-round02", "imp-0.90")]
    for (before, _), (after, own) in itertools.pairwise(chain):
        assert after >= before + own
    assert seconds("snip-0.90")[0] < chain[0][0] + seconds("snip-0.90")[1]


def test_another_sparsity_shares_the_rounds(pruned: tuple[Project, Done], tmp_path: Path) -> None:
    """0.70 lies between two rounds of imp: only its own last step is planned, and one job for every other mask."""
    project = pruned[0].view(tmp_path / "clone")
    project.choose(experiment(0.7, 0.9))
    plan = project.plan(*targets("0.70"), *targets("0.90"))
    assert plan.code == 0, plan.output
    assert plan.counts == {"prune": len(PRUNERS), "retrain": 3, "retrain_exact": 3}
    assert not any("round" in job for job in plan.jobs)


# ---- what may not be -------------------------------------------------------------------------------------------------

LEAKY = '''"""Writes where nothing is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.unlearning.base import EditUnlearner, RunOptions, register


@register("leaky")
@dataclass(frozen=True, kw_only=True)
class Leaky(EditUnlearner):
    """θ ← θ + 1."""

    @torch.no_grad()
    def edit(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> None:
        model.groups[1][0].conv2.weight.add_(1.0)
'''
FLAT = '''"""A network without convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lacuna.registry import register


@register("flat")
@dataclass(frozen=True, kw_only=True)
class Flat:
    """Two linear layers on 64 pixels."""

    def build(self, classes: int, channels: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, 16), nn.ReLU(), nn.Linear(16, classes))
'''


def test_a_revived_weight_fails_the_job(finished: Project, tmp_path: Path) -> None:
    """A method that writes behind the mask ends with one sentence that names the tensor, and leaves no model."""
    project = finished.copy(tmp_path / "clone")
    (project / "src/lacuna/unlearning/methods/leaky.py").write_text(LEAKY, encoding="utf-8")
    project.choose(changed(unlearners={"leaky": {}}))
    done = project.run(f"{CELLS}/omp-0.90/leaky/model.safetensors")
    assert done.code != 0
    assert re.search(
        r"lacuna: unlearn .*: mask violated: 'groups\.1\.0\.conv2\.weight' has \d+ masked weights", done.output
    )
    assert not project.made(f"{CELLS.removeprefix('results/')}/omp-0.90/leaky/*")


def test_a_model_without_prunable_layers_is_refused(fresh: Project, tmp_path: Path) -> None:
    """Before any job, with one sentence; its hidden layer can be pruned if the pruner may."""
    project = fresh.view(tmp_path / "clone")
    project.own("src")
    (project / "src/lacuna/models/architectures/flat.py").write_text(FLAT, encoding="utf-8")
    grid = changed()["grid"] | {"models": {"flat": {}}}
    project.choose(changed() | {"grid": grid})
    done = project.plan()
    assert done.code != 0
    (line,) = [line for line in done.output.splitlines() if line and not line.startswith("Using profile")]
    assert re.match(
        r"lacuna: experiment\.yaml, line \d+: grid\.pruners\.omp: flat on digits cannot be pruned to 0\.90: ", line
    )
    assert "Sequential has no prunable" in line
    project.choose(changed() | {"grid": grid | {"pruners": {"omp": {"include_linear": True}}}})
    assert project.plan().code == 0
