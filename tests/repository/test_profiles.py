"""The profiles know the rules, and stay clear of what the executor does wrong."""

import re

import pytest
import yaml
from places import ROOT

from lacuna.experiment.feasibility import Question, answer
from lacuna.models import MODELS

SLURM = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
LOCAL = yaml.safe_load((ROOT / "profiles/local/config.yaml").read_text())
RULES = {
    name: body
    for path in (ROOT / "workflow/rules").glob("*.smk")
    for name, body in re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", path.read_text(), re.MULTILINE)
}


def test_every_rule_that_wants_a_gpu_has_the_gpu_partition():
    """One block of the profile serves them all: a site is described once."""
    wanting = {name for name, body in RULES.items() if "gpu=GPU" in body}
    assert {"train", "prune", "unlearn", "retrain"} <= wanting
    assert set(SLURM["set-resources"]) == wanting
    assert all(block == SLURM["set-resources"]["train"] for block in SLURM["set-resources"].values())
    assert SLURM["set-resources"]["train"]["slurm_partition"] != SLURM["default-resources"]["slurm_partition"]


def test_a_rule_that_wants_a_gpu_has_limits_from_sizes():
    for name, body in RULES.items():
        if "gpu=GPU" in body:
            assert "mem_mb=model_memory" in body and "runtime=model_runtime" in body, name


def test_retries_are_the_profile_s():
    """As a directive of a rule they multiply inside the allocation, and its resources do not grow."""
    assert SLURM["retries"] > 0
    assert not [name for name, body in RULES.items() if re.search(r"^    retries:", body, re.MULTILINE)]


def test_the_traps_of_the_executor_are_avoided():
    assert not (ROOT / "profiles/default").exists()
    assert SLURM["jobs"] > 0
    assert SLURM["slurm-status-command"] == "squeue"
    # MinJobAge is 300 s where nobody changed it, and must be three times this
    assert 3 * SLURM["slurm-init-seconds-before-status-checks"] <= 300
    patience = SLURM["slurm-status-attempts"] / SLURM["max-status-checks-per-second"]
    assert patience >= 600
    assert not {"slurm-array-jobs", "slurm-requeue", "slurm-no-requeue", "groups"} & set(SLURM)
    assert not [name for name, body in RULES.items() if re.search(r"^    group:", body, re.MULTILINE)]


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
