"""Shadow models through the real pipeline: their values in the tables, their figure, and what runs again."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch

from lacuna.artifacts.files import read_npz, read_tensors, write_json
from lacuna.commands.verify import verify
from lacuna.data.batches import Augment, UnlearningData
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.experiment.shadow_plan import half_of
from lacuna.models.files import new_model
from lacuna.models.inference import state_of
from lacuna.procedures.shadows import answers, initialise, restricted
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import unlearn

from .project import EXPERIMENT, Project

ORIGINALS = "shadow originals"
CELL = "results/cells/digits/resnet8/brief/seed0/class/omp-0.90"
UNLEARNERS = {"original": {}, "retrain": {}, "retrain_exact": {}}
ORACLES = ("retrain", "retrain_exact")


def with_shadows(**shadows: int) -> dict:
    """The tiny experiment, one sparse state and two unlearners, with shadow models."""
    experiment = copy.deepcopy(EXPERIMENT)
    experiment["grid"] |= {"sparsities": [0.9], "unlearners": UNLEARNERS, "shadows": shadows}
    return experiment


@pytest.fixture(scope="module")
def attacked(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished tree in which shadow models ran too, as far as the table and their figure."""
    project = finished.copy(tmp_path_factory.mktemp("attacked") / "clone")
    project.choose(with_shadows(models=6, per_job=6))
    done = project.run("results/tables/tiny/cells.csv", "results/figures/tiny/roc.svg")
    assert done.code == 0, done.output
    return project


def test_population_metrics_stand_in_the_table(attacked: Project) -> None:
    """Every cell has every population metric, finite and in its range; the oracle is at no distance from itself."""
    cells = pd.read_csv(attacked / "results/tables/tiny/cells.csv", dtype={"sparsity": str})
    expected = set()
    for name, metric in POPULATION_METRICS.items():
        expected |= {f"{name}/{oracle}" for oracle in ORACLES} if metric.about["oracle"] else {name}
    for unlearner in UNLEARNERS:
        rows = cells[(cells["unlearner"] == unlearner) & cells["metric"].isin(expected)]
        assert set(rows["metric"]) == expected and len(rows) == len(expected)
        assert set(rows["sparsity"]) == {"0.90"} and set(rows["pruner"]) == {"omp"}
        for name, value in rows[["metric", "value"]].itertuples(index=False):
            about = POPULATION_METRICS[name.partition("/")[0]].about
            assert about["low"] <= value <= (np.inf if about["high"] is None else about["high"])
    own = cells[(cells["unlearner"] == "retrain_exact") & (cells["metric"] == "klom/retrain_exact")]
    assert own["value"].tolist() == [0.0]


def test_files_hold_answers_but_no_unlearned_weights(attacked: Project) -> None:
    """Originals are packed in one file a job, masked as the state says; answers are of complementary halves."""
    folder = attacked / CELL
    assert sorted(p.name for p in (folder / "original/shadows").iterdir()) == ["0-5.json", "0-5.npz"]
    arrays = read_npz(folder / "original/shadows/0-5.npz", "shadows")
    assert arrays["models"].tolist() == list(range(6))
    for part in ("retain", "forget"):
        member = arrays[f"member/{part}"]
        assert (member[::2] != member[1::2]).all()
    assert arrays["phi/forget"].dtype == np.float32
    split = read_npz(attacked / "results/splits/digits/seed0/forget/class.npz", "split")
    np.testing.assert_array_equal(arrays["index/forget"], split["forget"])
    job = json.loads((folder / "original/shadows/0-5.json").read_text())
    assert len(set(job["random_streams"].values())) == 6
    originals, _ = read_tensors(
        attacked / "results/shadows/digits/resnet8/brief/seed0/omp-0.90/0-5.safetensors", ORIGINALS
    )
    weights = {k: v for k, v in originals.items() if k.startswith("3/final/") and v.ndim == 4}
    removed, total = (sum(f(v) for v in weights.values()) for f in (lambda v: int((v == 0).sum()), np.size))
    assert removed == round(0.9 * total)


def test_a_shadow_model_is_retrained_from_the_initialisation_of_its_own_original(attacked: Project) -> None:
    """The library ends with the same answers from there, under the original's mask and on its half without D_f."""
    results, place = attacked / "results", ("digits", "resnet8", "brief")
    job = json.loads((attacked / CELL / "retrain/shadows/0-5.json").read_text())
    given = {k: v for k, v in job["parameters"]["unlearner"].items() if k != "method"}
    meta = json.loads((results / "data/digits/meta.json").read_text())
    images, _ = read_tensors(results / "data/digits/images.safetensors", "images")
    parts = read_npz(results / "splits/digits/seed0/forget/class.npz", "split")
    whole = UnlearningData.from_arrays(images, meta, parts, augment=Augment(given["crop"], given["flip"]))
    half = half_of(np.concatenate([parts["retain"], parts["forget"]]), 3, 0, "digits")
    originals, _ = read_tensors(results / "shadows" / "/".join(place) / "seed0/omp-0.90/0-5.safetensors", ORIGINALS)
    mask = {k.removeprefix("3/mask/"): v for k, v in originals.items() if k.startswith("3/mask/")}
    network = new_model(job["parameters"]["model"], meta, torch.device("cpu"))
    initialise(network, derive(0, "shadow", 3, "train", *place))
    more = {"mask": Mask.unpack(mask), "seed": job["random_streams"]["3"]}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        origin = StartingPoint(initial=state_of(network))
        model = unlearn("retrain", network, restricted(whole, half, ""), origin=origin, **more, **given).model
        found = answers(model, whole, "")
    finally:
        torch.set_num_threads(threads)
    stored = read_npz(attacked / CELL / "retrain/shadows/0-5.npz", "shadows")
    assert given["start"] == "theta0"
    assert (stored["phi/forget"][3] == found["phi/forget"]).all()


def test_figure_and_table_of_curves_are_there(attacked: Project) -> None:
    curves = pd.read_csv(attacked / "results/tables/tiny/roc.csv")
    assert set(curves["attack"]) == {"u_lira", "rmia"} and set(curves["unlearner"]) == set(UNLEARNERS)
    assert b"</svg>" in (attacked / "results/figures/tiny/roc.svg").read_bytes()
    assert not [path for path in attacked.made("**/*") if "/." in path], "no debris"


def test_more_models_add_jobs_and_keep_those_that_are_there(attacked: Project, tmp_path) -> None:
    """Only the new models are trained, pruned and unlearned; what is read from all of them is made again."""
    project = attacked.view(tmp_path / "clone")
    project.choose(with_shadows(models=12, per_job=6))
    plan = project.plan("results/figures/tiny/roc.svg")
    new = {"shadow_train": 1, "shadow_prune": 1, "shadow_unlearn": 2, "shadow_retrain_exact": 1}
    assert plan.counts == new | {"population": 3, "table": 1, "figure": 1}


def test_a_method_more_runs_on_the_originals_that_are_there(attacked: Project, tmp_path) -> None:
    project = attacked.view(tmp_path / "clone")
    experiment = with_shadows(models=6, per_job=6)
    experiment["grid"]["unlearners"] = UNLEARNERS | {"ga": {"epochs": 2, "lr": 1e-3}}
    project.choose(experiment)
    plan = project.plan("results/figures/tiny/roc.svg")
    assert plan.counts == {"shadow_unlearn": 1, "population": 1, "table": 1, "figure": 1}


def test_tree_with_shadow_models_is_verified(attacked: Project) -> None:
    """`lacuna verify` finds nothing wrong, and sees an altered answer."""
    results = attacked / "results"
    tables = [f for f in verify(results) if "original/" in str(f) or "shadow" in str(f) or "population" in str(f)]
    assert tables == []
    told = attacked / CELL / "original/population.json"
    before = told.read_text()
    try:
        told.write_text(json.dumps(json.loads(before) | {"metrics": {}}))
        assert {f.path.name for f in verify(results) if f.kind == "damaged"} == {"population.json"}
        facts = json.loads(before)
        facts.pop("checksum")
        facts["metrics"]["u_lira_auc"] += 0.01
        write_json(told, facts)
        assert "value of u_lira_auc in line " in next(f.why for f in verify(results) if f.path.name == "cells.csv")
    finally:
        told.write_text(before)


def test_nothing_runs_twice(attacked: Project) -> None:
    assert attacked.plan("results/tables/tiny/cells.csv", "results/figures/tiny/roc.svg").nothing_to_do
