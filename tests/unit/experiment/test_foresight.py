"""What a plan says that its result cannot show: one line for each lack, with what it takes."""

import subprocess
import sys

import pytest
import yaml
from places import ROOT

from lacuna.experiment import foresight
from lacuna.experiment.config import load
from lacuna.experiment.foresight import limits_of

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
TWIN = {"retrain_b": {"method": "retrain"}}


@pytest.fixture(scope="module")
def planned(tmp_path_factory, known):
    """planned(seeds, unlearners, **further keys of the grid) → the experiment."""
    path = tmp_path_factory.mktemp("experiment") / "config.yaml"

    def run(seeds, unlearners, **more):
        grid = {
            "datasets": {"digits": {}},
            "models": {"resnet8": {}},
            "recipes": {"short": {"epochs": 5, "rewind_epoch": 1}},
            "seeds": seeds,
            "scenarios": {"class": {"forget_class": 3}},
            "pruners": {"omp": {}},
            "sparsities": ["dense", 0.9],
            "unlearners": unlearners,
        }
        path.write_text(
            yaml.safe_dump({"name": "mine", "device": "cpu", "figures": [], "grid": grid | more}, sort_keys=False)
        )
        return load([path], {}, SCHEMA, known)

    return run


@pytest.fixture(scope="module")
def said(planned):
    """said(seeds, unlearners, **further keys of the grid) → the lines."""
    return lambda *about, **more: limits_of(planned(*about, **more))


def test_few_seeds_and_no_twin_are_one_line_with_what_they_take(said):
    assert said([0, 1], {"retrain": {}, "ga": {}}) == [
        "2 seeds, no second retrain: no interval, no test, no verdict will be made; "
        "needs seeds: [0, 1, 2] and retrain_b: {method: retrain}"
    ]
    assert said([7], {"retrain": {}, "ga": {}} | TWIN) == [
        "1 seed: no interval, no test, no verdict will be made; needs seeds: [0, 1, 7]"
    ]


def test_each_oracle_wants_a_twin_under_a_free_label(said):
    both = {"retrain": {}, "exact": {"method": "retrain_exact"}, "exact_b": {"method": "ga"}}
    assert said([0, 1, 2], both)[0] == (
        "no second exact, no second retrain: no noise floor, no verdict will be made; "
        "needs exact_c: {method: retrain_exact} and retrain_b: {method: retrain}"
    )


def test_a_twin_repeats_the_options_of_its_oracle(said):
    """With another start it would be a second run of another oracle."""
    both = {"retrain": {}, "fresh": {"method": "retrain", "start": "fresh"}} | TWIN
    needed = "needs fresh_b: {method: retrain, start: fresh}"
    assert said([0, 1, 2], both)[0] == f"no second fresh: no noise floor, no verdict will be made; {needed}"
    repeated = said([0, 1, 2], both | {"fresh_b": {"method": "retrain", "start": "fresh"}})
    assert not any("no second" in line for line in repeated)


@pytest.mark.parametrize(("n", "sd"), [(3, "8.7"), (5, "2.9"), (10, "1.4")])
def test_power_is_told_of_the_experiments_seeds_and_methods(said, n, sd):
    """Seven methods beside the oracle and its twin, the untouched model among them."""
    methods = {f"m{k}": {"method": "ga"} for k in range(6)} | {"original": {}}
    assert said(list(range(n)), {"retrain": {}} | TWIN | methods) == [
        f"{n} seeds, 7 methods: differences below {sd} standard deviations over the seeds cannot be shown"
        " (80 % power, Holm's first step)"
    ]


def test_what_the_grid_lacks_is_told(said):
    lines = said([0], {"retrain": {}, "ga": {}}, sparsities=[0.9])
    assert lines[1:] == ["no dense model: sparsity.csv will be empty; needs dense in sparsities"]
    few = said([0], {"retrain": {}, "ga": {}}, shadows={"models": 30, "per_job": 6})
    assert few[-1] == "30 shadow models, 15 a side: klom will be mostly bias; needs shadows: {models: 32}"
    assert len(few) == 1 + len(said([0], {"retrain": {}, "ga": {}}, shadows={"models": 32, "per_job": 8}))


def test_sentences_are_kept_for_the_same_values_and_found_out_anew_for_others(planned, tmp_path, monkeypatch):
    """A plan that has them does not load scipy."""
    two, three = (planned(seeds, {"retrain": {}, "ga": {}}) for seeds in ([0, 1], [0, 1, 2]))
    expected = {len(each.seeds): limits_of(each) for each in (two, three)}
    assert limits_of(two, tmp_path) == expected[2] != expected[3] == limits_of(three, tmp_path)
    monkeypatch.setattr(foresight, "_of_the_grid", lambda _: ["asked again"])
    assert limits_of(three, tmp_path) == expected[3]
    assert limits_of(two, tmp_path)[-1] == "asked again", "one experiment is kept"
    monkeypatch.setattr(foresight, "code_digest", lambda _: "other code")
    assert limits_of(two, tmp_path / "none") == limits_of(two, tmp_path)
    look = "import sys; import lacuna.experiment.foresight; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
