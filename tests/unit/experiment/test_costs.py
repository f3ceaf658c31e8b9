"""Estimates come from the nearest finished jobs, scaled by what is known, and from nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from places import ROOT

from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.config import load
from lacuna.experiment.costs import Costs, time_left
from lacuna.experiment.grid import Experiment
from lacuna.experiment.jobs import Job, Jobs

GRID = {
    "datasets": {"digits": {}},
    "models": {"resnet8": {"width": 4}},
    "recipes": {"short": {"epochs": 2, "rewind_epoch": 1}, "long": {"epochs": 20, "rewind_epoch": 1}},
    "seeds": [0, 1],
    "scenarios": {"class": {"forget_class": 3}, "random": {"fraction": 0.1}},
    "pruners": {"omp": {}},
    "sparsities": ["dense", 0.5],
    "unlearners": {"retrain": {}, "ga": {"epochs": 2}, "ga_long": {"method": "ga", "epochs": 6}, "ssd": {}},
}


@pytest.fixture(scope="module")
def experiment(known: Catalogue) -> Experiment:
    given = {"name": "x", "device": "cpu", "grid": GRID}
    return load([], given, ROOT / "workflow/schemas/config.schema.yaml", known)


def unlearn(unlearner: str, seed: int = 0, state: str = "dense", scenario: str = "class", recipe: str = "short") -> Job:
    place = {"dataset": "digits", "model": "resnet8", "recipe": recipe, "seed": str(seed), "scenario": scenario}
    return Job("unlearn", (*place.items(), ("state", state), ("unlearner", unlearner)))


def train(seed: int = 0, recipe: str = "short") -> Job:
    return Job("train", (("dataset", "digits"), ("model", "resnet8"), ("recipe", recipe), ("seed", str(seed))))


def test_nothing_is_estimated_from_nothing(experiment: Experiment) -> None:
    costs = Costs(experiment)
    assert costs.seconds(train()) is None
    costs.learn(train(), 10.0)
    assert costs.seconds(unlearn("ga")) is None, "a training says nothing of a method"
    costs.learn(unlearn("ssd"), 1.0)
    assert costs.seconds(unlearn("ga")) is None, "nor does another method"


def test_nearest_kind_counts(experiment: Experiment) -> None:
    costs = Costs(experiment)
    costs.learn(unlearn("ga"), 4.0)
    costs.learn(unlearn("ga", state="omp-0.50"), 8.0)
    assert costs.seconds(unlearn("ga", seed=1)) == 4.0
    assert costs.seconds(unlearn("ga", seed=1, state="omp-0.50")) == 8.0
    assert costs.seconds(unlearn("ga", scenario="random")) == 6.0, "another scenario: both"


def test_further_kinds_are_scaled_by_epochs(experiment: Experiment) -> None:
    costs = Costs(experiment)
    costs.learn(unlearn("ga"), 4.0)
    assert costs.seconds(unlearn("ga_long")) == pytest.approx(12.0), "6 epochs instead of 2"
    costs.learn(train(), 10.0)
    assert costs.seconds(train(recipe="long")) == pytest.approx(100.0), "20 epochs instead of 2"
    retrain = Job("retrain", unlearn("retrain", recipe="long").wildcards)
    assert costs.seconds(retrain) == pytest.approx(100.0), "an oracle is a training of the recipe"


def test_shadow_jobs_are_scaled_by_their_models_and_by_epochs(experiment: Experiment) -> None:
    def shadow(rule: str, like: Job, models: str) -> Job:
        return Job(rule, (*like.wildcards, ("shadows", models)))

    costs = Costs(experiment)
    costs.learn(shadow("shadow_train", train(), "0-3"), 40.0)
    assert costs.seconds(shadow("shadow_train", train(1), "4-4")) == pytest.approx(10.0), "one model instead of four"
    costs.learn(shadow("shadow_unlearn", unlearn("ga"), "0-3"), 8.0)
    assert costs.seconds(shadow("shadow_unlearn", unlearn("ga_long"), "0-1")) == pytest.approx(12.0), (
        "two models instead of four, 6 epochs instead of 2"
    )


def test_held_out_models_are_as_many_as_folds(experiment: Experiment) -> None:
    def held_out(folds: int) -> Job:
        return Job("difficulty_held_out", (*train().wildcards, ("folds", str(folds))))

    costs = Costs(experiment)
    costs.learn(held_out(5), 50.0)
    assert costs.seconds(held_out(2)) == pytest.approx(20.0)


def test_another_network_is_scaled_by_what_it_costs(experiment: Experiment) -> None:
    sizes = {("digits", name): {"multiplications_per_pixel": n} for name, n in (("resnet8", 100), ("wide", 400))}
    costs = Costs(dataclasses.replace(experiment, sizes=sizes))
    costs.learn(train(), 10.0)
    place = dict(train().wildcards)
    assert costs.seconds(Job("train", tuple({**place, "model": "wide"}.items()))) == pytest.approx(40.0)
    assert costs.seconds(Job("train", tuple({**place, "model": "unknown"}.items()))) is None


def test_every_job_of_a_grid_is_estimated_once_each_kind_has_finished(experiment: Experiment, known: Catalogue) -> None:
    costs = Costs(experiment)
    jobs = Jobs(experiment, known).reads
    for job in jobs:
        if dict(job.wildcards).get("seed", "0") == "0":
            costs.learn(job, 3.0)
    assert {costs.seconds(job) for job in jobs} == {3.0}


def test_time_left_is_bound_by_work_gpus_and_the_longest_chain() -> None:
    a, b, c, d = (Job("train", (("seed", name),)) for name in "abcd")
    reads: dict[Job, tuple[Job, ...]] = {a: (), b: (a,), c: (), d: ()}
    left = {a: 10.0, b: 10.0, c: 10.0, d: 10.0}
    assert time_left(left, reads, 1, None, set()) == 40.0
    assert time_left(left, reads, 4, None, set()) == 20.0, "b waits for a"
    assert time_left(left, reads, 4, 1, {a, b, c}) == 30.0, "one GPU for three of them"
    assert time_left({}, reads, 2, None, set()) == 0.0
