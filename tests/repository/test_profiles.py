"""The profiles know the rules, and stay clear of what the executor does wrong."""

from types import SimpleNamespace

import pytest
import yaml
from parsed import parsed
from places import ROOT
from snakemake.iocontainers import Namedlist

from lacuna.experiment.feasibility import Question, answer
from lacuna.models import MODELS

SLURM = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
LOCAL = yaml.safe_load((ROOT / "profiles/local/config.yaml").read_text())


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """The rules as Snakemake reads them, on a cluster with GPUs."""
    folder = tmp_path_factory.mktemp("parsed")
    with parsed(folder, ROOT / "config/experiments/population_digits.yaml", device="cuda") as workflow:
        yield {rule.name: rule for rule in workflow.rules}


def wanting_a_gpu(rules):
    return {name for name, rule in rules.items() if "gpu" in rule.resources and rule.resources["gpu"].value}


def test_every_rule_that_wants_a_gpu_has_the_gpu_partition(rules):
    """One block of the profile serves them all: a site is described once."""
    wanting = wanting_a_gpu(rules)
    assert {"train", "prune", "unlearn", "retrain"} <= wanting
    assert set(SLURM["set-resources"]) == wanting
    assert all(block == SLURM["set-resources"]["train"] for block in SLURM["set-resources"].values())
    assert SLURM["set-resources"]["train"]["slurm_partition"] != SLURM["default-resources"]["slurm_partition"]


def test_a_rule_that_wants_a_gpu_has_limits_from_sizes(rules):
    """Functions of them: twice the memory for the second attempt."""
    wildcards = Namedlist(fromdict={"dataset": "digits", "model": "resnet8", "recipe": "plain"})
    given = SimpleNamespace(images="no such file", models=["a start"])
    for name in wanting_a_gpu(rules):

        def asked(what, attempt, resources=rules[name].resources):
            return resources[what].evaluate(wildcards, input=given, attempt=attempt).value

        assert asked("mem_mb", 2) == 2 * asked("mem_mb", 1) > 0, name
        assert asked("runtime", 1) > 0, name


def test_every_rule_that_makes_files_says_what_a_queue_asks(rules):
    """Its log, its memory, its time, and whether it wants a GPU."""
    making = [rule for rule in rules.values() if rule.output]
    assert len(making) > 20
    for rule in making:
        assert rule.log and rule.message and rule.conda_env, rule.name
        assert {"mem_mb", "runtime", "gpu"} <= set(rule.resources), rule.name


def test_retries_are_the_profile_s(rules):
    """As a directive of a rule they multiply inside the allocation, and its resources do not grow."""
    assert SLURM["retries"] > 0
    assert not [name for name, rule in rules.items() if rule._restart_times]


def test_the_traps_of_the_executor_are_avoided(rules):
    assert not (ROOT / "profiles/default").exists()
    assert SLURM["jobs"] > 0
    assert SLURM["slurm-status-command"] == "squeue"
    # MinJobAge is 300 s where nobody changed it, and must be three times this
    assert 3 * SLURM["slurm-init-seconds-before-status-checks"] <= 300
    patience = SLURM["slurm-status-attempts"] / SLURM["max-status-checks-per-second"]
    assert patience >= 600
    assert not {"slurm-array-jobs", "slurm-requeue", "slurm-no-requeue", "groups"} & set(SLURM)
    assert not [name for name, rule in rules.items() if rule.group]


def test_one_gpu_is_shared_safely_on_one_machine():
    assert LOCAL["resources"] == ["gpu=1"]


@pytest.mark.parametrize(("model", "millions"), [("resnet20", 40.8), ("resnet18", 555.4)])
def test_what_a_network_takes(model, millions):
    """Multiplications of the published networks on a 32×32 image, and the parameters by another count."""
    (size,) = answer([Question({"method": model}, {"classes": 10, "shape": [3, 32, 32]})])
    assert size["multiplications_per_pixel"] * 1024 / 1e6 == pytest.approx(millions, rel=0.005)
    network = MODELS[model]().build(10, 3)
    assert size["parameters"] == sum(t.numel() for n, t in network.state_dict().items() if is_learned(n))


def is_learned(name):
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
