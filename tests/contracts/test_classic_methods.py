"""What the methods that fine-tune have in common: masks hold, the right data has influence, a stopped run goes on."""

import copy
import dataclasses
import os
import signal

import pytest
import torch
from tiny import data, network, same, state
from torch import nn
from unit.unlearning.methods.classic import QUICK, magnitude_mask

from lacuna import unlearn
from lacuna.data.batches import Augment
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.init import reinitialise
from lacuna.training.checkpoints import Checkpoint, Interrupted
from lacuna.training.loop import fit
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.base import LossUnlearner

FAMILY = ("neggrad_plus", "l1_sparse", "l1_sparse_ga", "cf_k", "eu_k", "scrub", "bad_teacher", "delete")


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("method", FAMILY)
def test_mask_and_given_model_are_kept_and_the_weights_move(method, masked, original):
    mask = magnitude_mask(original) if masked else None
    before, randomness = state(original), torch.get_rng_state()
    outcome = unlearn(method, original, data(), mask=mask, **QUICK)
    assert outcome.mask is mask
    assert same(state(original), before)
    assert torch.equal(torch.get_rng_state(), randomness), "the global random stream was used"
    assert all(p.requires_grad for p in outcome.model.parameters())
    assert not same(state(outcome.model), before)
    for name in mask or ():
        weight = outcome.model.state_dict()[name]
        assert not weight[~mask[name]].any()
        assert weight[mask[name]].any()


@pytest.mark.parametrize("method", FAMILY)
def test_runs_in_double_channels_last_with_augmentation_and_bf16(method):
    """resnet8 is channels-last and has shortcuts; the same seed gives the same bits."""
    model = build(MODELS["resnet8"], {"width": 2}).build(3, 1)
    reinitialise(model, 0)
    mask = magnitude_mask(model)
    given = data(augment=Augment(crop=1, flip=True))
    options = QUICK | {"epochs": 1, "mask": mask}
    first, second = (unlearn(method, model.double(), given, **options) for _ in range(2))
    assert same(state(first.model), state(second.model))
    assert all(v.dtype != torch.float32 for v in first.model.state_dict().values())
    mask.check(first.model)
    mask.check(unlearn(method, model.float(), given, precision="bf16", **options).model)


@pytest.mark.parametrize("method", FAMILY)
def test_works_without_batch_norm(method):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    outcome = unlearn(method, model, data(), mask=magnitude_mask(model), **QUICK)
    assert not same(state(outcome.model), state(model))


# whose images, and whose labels, decide the result; bad_teacher learns from teachers alone
READS = {
    "neggrad_plus": ("retain forget", "retain forget"),
    "l1_sparse": ("retain", "retain"),
    "l1_sparse_ga": ("forget", "forget"),
    "cf_k": ("retain", "retain"),
    "eu_k": ("retain", "retain"),
    "scrub": ("retain forget", "retain"),
    "bad_teacher": ("retain forget", ""),
    "delete": ("forget", "forget"),
}


@pytest.mark.parametrize("method", FAMILY)
def test_only_the_data_that_it_reads_has_influence(method, original):
    given = data()
    end = state(unlearn(method, original, given, **QUICK).model)
    for part in ("retain", "forget", "val", "test"):
        index = given.parts[part]
        images, labels = given.images.clone(), given.labels.clone()
        images[index], labels[index] = 255 - images[index], (labels[index] + 1) % 3
        changed = {"images": images}, {"labels": labels}
        for change, read in zip(changed, READS[method], strict=True):
            moved = not same(state(unlearn(method, original, dataclasses.replace(given, **change), **QUICK).model), end)
            assert moved == (part in read.split()), f"{list(change)} of {part}"


INTERRUPTED = [(m, {}) for m in FAMILY] + [
    ("scrub", {"rewind": True, "msteps": 1}),
    ("scrub", {"order": "passes", "schedule": "cosine", "msteps": 1}),
    ("l1_sparse", {"threshold_to": 0.8}),
]


@pytest.mark.parametrize("where", ["mid-epoch", "end of epoch 1"])
@pytest.mark.parametrize(("method", "options"), INTERRUPTED, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_interrupted_run_ends_with_the_same_bits(method, options, where, original, tmp_path):
    options = QUICK | options
    given = data()
    straight = unlearn(method, original, given, **options)
    per_epoch = first_epoch_steps(method, options, given)
    step = per_epoch - 1 if where == "end of epoch 1" else per_epoch + 1
    halted = []

    def after_step(self, model, batches, work):
        if work.step == step and not halted:
            halted.append(work.step)
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = type("Stopped", (UNLEARNERS[method],), {"after_step": after_step})
    objective = build(stopped, options, method)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    model = copy.deepcopy(original)
    with pytest.raises(Interrupted):
        fit(model, objective, given, seed=0, checkpoint=checkpoint)
    assert checkpoint.path.exists()
    model = copy.deepcopy(original)
    done = fit(model, objective, given, seed=0, checkpoint=checkpoint)
    assert halted == [step]
    assert done.steps == straight.fit.steps
    assert done.mask == straight.mask
    assert same(state(model), state(straight.model))
    assert [r["loss"] for r in done.history] == [r["loss"] for r in straight.fit.history]


def first_epoch_steps(method, options, given):
    objective = build(UNLEARNERS[method], options, method)
    given = objective.begin(copy.deepcopy(network()), given, LoopState(0, torch.device("cpu"), 3))
    return len(objective.plan(0, {s: given.steps(s, objective.batch_size) for s in objective.streams}))


@pytest.mark.parametrize("method", FAMILY)
def test_docstring_names_every_own_field(method):
    cls = UNLEARNERS[method]
    shared = {f.name for f in dataclasses.fields(LossUnlearner)}
    own = cls.__mro__[: cls.__mro__.index(LossUnlearner)]
    lines = [line.strip() for c in own for line in c.__doc__.splitlines()]
    for field in dataclasses.fields(cls):
        if field.name not in shared:
            assert sum(line.startswith(f"{field.name}: ") for line in lines) == 1, field.name
    for word in ("Published values", "Cost: ", "Source: "):
        assert sum(line.startswith(word) for line in lines) == 1, word
