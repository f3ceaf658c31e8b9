"""A backdoor and the hard forget sets through the real pipeline."""

from __future__ import annotations

import copy
import json
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from lacuna.artifacts.files import read_json, read_npz, write_json
from lacuna.commands.verify import verify

from .project import EXPERIMENT, Done, Project

SPLITS = "results/splits/own/seed0"
MODELS = "results/models/own/resnet8/brief/seed0"
CELLS = "results/cells/own/resnet8/brief/seed0/backdoor/dense"
TABLE = "results/tables/tiny/backdoor.csv"
FORGET = (f"{SPLITS}/forget/memorised.npz", f"{SPLITS}/forget/hardest.npz")
HARD = {"fraction": 0.1, "model": "resnet8", "recipe": "brief"}
POISONED = EXPERIMENT | {
    "metrics": ["UA", "TA", "SA", "ASR"],
    "figures": ["backdoor"],
    "grid": EXPERIMENT["grid"]
    | {
        "datasets": {"own": {"method": "npz", "path": "own.npz", "backdoor": {"target": 1, "size": 3}}},
        "scenarios": {"backdoor": {}},
        "sparsities": ["dense"],
        "unlearners": {"original": {}, "retrain": {}},
    },
}


def with_hard_sets(**more: dict) -> dict:
    """The same with hard forget sets beside the poisoned one."""
    experiment = copy.deepcopy(POISONED)
    hard = {"memorised": HARD | {"folds": 2}, "hardest": HARD | {"pick": "lowest"}}
    experiment["grid"]["scenarios"] |= hard | more
    return experiment


def images() -> dict[str, np.ndarray]:
    """Bright images of three classes, so that a black square shows."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(60, 256, (150, 9, 9, 3), dtype=np.uint8),
        "y_train": np.arange(150) % 3,
        "x_test": rng.integers(60, 256, (30, 9, 9, 3), dtype=np.uint8),
        "y_test": np.arange(30) % 3,
    }


@pytest.fixture(scope="module")
def run(fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """The table of a poisoned dataset, then hard sets of it; at last a dry run with one hard set more."""

    def work() -> tuple[Project, list[Done]]:
        project = fresh.copy(tmp_path_factory.mktemp("backdoor") / "clone")
        np.savez(project / "own.npz", **images())
        project.choose(POISONED)
        done = [project.run(TABLE, "results/tables/tiny/experiment.json")]
        project.choose(with_hard_sets())
        done.append(project.run(*FORGET))
        project.choose(with_hard_sets(more={"method": "memorised", "folds": 2} | HARD | {"fraction": 0.3}))
        done.append(project.plan(*FORGET, f"{SPLITS}/forget/more.npz"))
        return project, done

    return workers.submit(work)


@pytest.fixture
def project(run: Future) -> Project:
    project, done = run.result()
    assert not any(d.code for d in done), "\n".join(d.output for d in done)
    return project


def test_models_see_the_poisoned_images_and_answer_the_triggered_ones(project: Project) -> None:
    base = read_npz(project / SPLITS / "split.npz", "split")
    assert len(base["poisoned"]) == round(0.1 * len(base["train"])) and np.isin(base["poisoned"], base["train"]).all()
    predictions = read_npz(project / CELLS / "original/predictions.npz", "predictions")
    assert np.array_equal(predictions["index/forget"], base["poisoned"])
    assert (predictions["labels/forget"] == 1).all(), "told that they are the target"
    given = images()
    retained = np.setdiff1d(base["train"], base["poisoned"])
    assert np.array_equal(predictions["labels/retain"], given["y_train"][retained])
    others = given["y_test"][given["y_test"] != 1]
    assert np.array_equal(predictions["labels/triggered"], others), "asked under their true labels"
    assert predictions["index/triggered"].tolist() == list(range(180, 180 + len(others)))
    assert not {"logits/poisoned", "index/poisoned"} & set(predictions)
    assert json.loads((project / "results/data/own/meta.json").read_text())["backdoor"] == {
        **{"share": 0.1, "target": 1, "size": 3, "offset": 2}
    }


def test_table_stands_beside_the_metrics_it_is_made_of(project: Project) -> None:
    table = pd.read_csv(project / TABLE, dtype={"sparsity": str}).set_index("metric")
    assert set(table.index) == {"SA", "ASR"} and set(table["unlearner"]) == {"retrain"}
    for what, unlearner in (("before", "original"), ("after", "retrain")):
        told = json.loads((project / CELLS / unlearner / "metrics/tiny.json").read_text())["metrics"]
        assert table[what].to_dict() == pytest.approx({m: told[m] for m in ("SA", "ASR")})
        assert told["SA"] == told["TA"], "no class left the test set"


def test_hard_sets_are_the_ends_of_the_stored_ranking(project: Project) -> None:
    """And every sample has a score, by one of the models that were trained apart."""
    train = read_npz(project / SPLITS / "split.npz", "split")["train"]
    for folder, label, sign in (("held_out_2", "memorised", 1), ("dense", "hardest", -1)):
        scores = read_npz(project / MODELS / folder / "scores.npz", "scores")
        assert np.array_equal(scores["index"], train)
        forget = np.isin(train, read_npz(project / SPLITS / f"forget/{label}.npz", "split")["forget"])
        ranked = sign * scores["score"]
        assert forget.sum() == round(0.1 * len(train)) and ranked[forget].min() >= ranked[~forget].max()
    held_out = read_npz(project / MODELS / "held_out_2/scores.npz", "scores")
    assert set(held_out["fold"]) == {0, 1} and held_out["score"].min() >= 0 and held_out["score"].max() <= 1
    job = json.loads((project / MODELS / "held_out_2/scores.json").read_text())
    assert len(set(job["random_streams"].values())) == 2


def test_one_more_hard_set_of_these_scores_trains_nothing(run: Future) -> None:
    _, (_, hard, plan) = run.result()
    assert hard.counts == {"difficulty_held_out": 1, "difficulty_by_loss": 1, "choose_forget_set": 2}
    assert plan.counts == {"choose_forget_set": 1}


def test_tree_is_verified_scores_included(project: Project) -> None:
    assert [str(f) for f in verify(project / "results")] == []
    told = project / MODELS / "held_out_2/scores.json"
    before = told.read_text()
    try:
        facts = read_json(told)
        facts["inputs"][f"{SPLITS}/split.npz"] = "0"
        write_json(told, facts | {"place": str(told.relative_to(project / "results"))})
        assert [(f.kind, f.path) for f in verify(project / "results")] == [("stale", told)]
    finally:
        told.write_text(before)
