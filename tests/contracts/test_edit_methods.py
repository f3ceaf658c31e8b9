"""What the methods that edit before they train have in common: masks, shapes, random streams, a stopped run."""

import dataclasses
import signal
import subprocess
import sys

import pytest
import torch
from places import ROOT, TESTS
from tiny import half, same, state
from torch import nn
from unit.unlearning.methods.edits import METHODS, SOURCE, close, run

from lacuna.data.batches import UnlearningData
from lacuna.models.inference import copy_of
from lacuna.training.checkpoints import Checkpoint, Interrupted
from lacuna.unlearning import UNLEARNERS

ALL = pytest.mark.parametrize("case", METHODS)


@ALL
def test_masked_weights_are_exactly_zero_and_the_others_are_not(trained, case):
    given = half(trained)
    outcome = run(case, trained, mask=given)
    weights = outcome.model.state_dict()
    assert (outcome.mask == given) == (case != "conv_transpose")
    assert outcome.mask.sparsity == given.sparsity
    for name in outcome.mask:
        assert not weights[name][~outcome.mask[name]].any()
        assert weights[name][outcome.mask[name]].all()


@ALL
def test_shapes_names_and_types_stay(trained, case):
    outcome = run(case, trained)
    before, after = trained.state_dict(), outcome.model.state_dict()
    assert {k: (v.shape, v.dtype) for k, v in before.items()} == {k: (v.shape, v.dtype) for k, v in after.items()}
    assert all(p.requires_grad for p in outcome.model.parameters())
    assert not same(before, after)


@ALL
def test_seed_alone_decides_and_the_global_generator_rests(trained, case):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(run(case, trained, seed=5).model)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(state(run(case, trained, seed=5).model), first)
    assert not same(state(run(case, trained, seed=6).model), first)


@pytest.mark.parametrize("sparse", [False, True])
@ALL
def test_interrupted_run_ends_like_an_uninterrupted_one(trained, case, sparse, tmp_path):
    mask = half(trained) if sparse else None
    whole = run(case, trained, mask=mask)
    checkpoint = Checkpoint(tmp_path / "checkpoint", every=1e9)
    with pytest.raises(Interrupted):
        run(case, trained, mask=mask, checkpoint=checkpoint, log=lambda _: signal.raise_signal(signal.SIGTERM))
    resumed = run(case, trained, mask=mask, checkpoint=checkpoint)
    assert same(state(resumed.model), state(whole.model))
    assert resumed.mask == whole.mask
    assert [row["loss"] for row in resumed.fit.history] == [row["loss"] for row in whole.fit.history]


@ALL
def test_layout_of_the_weights_does_not_matter(trained, case):
    ours = run(case, trained, mask=half(trained))
    theirs = run(case, copy_of(trained).to(memory_format=torch.channels_last), mask=half(trained))
    assert ours.mask == theirs.mask
    for (name, a), b in zip(ours.model.state_dict().items(), theirs.model.state_dict().values(), strict=True):
        close(a, b, rtol=1e-6, atol=1e-9, msg=name)


@ALL
def test_user_model_without_batch_norm_and_float_images(case):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3))
    x, y = torch.randn(30, 2, 6, 6, generator=generator), torch.arange(30) % 3
    source = UnlearningData.from_tensors(retain=(x[:20], y[:20]), forget=(x[20:], y[20:]))
    outcome = run(case, model, source)
    assert outcome.model(x).shape == (30, 3)


def test_compiler_is_not_loaded():
    """Neither torch's compiler nor sympy: loading them costs more than a short job's whole training."""
    script = """
import sys, torch
from tiny import data, network
from lacuna.unlearning import unlearn
torch.set_num_threads(1)
for method, options in eval(sys.argv[1]):
    unlearn(method, network(), data(), epochs=1, **options)
print([m for m in ("torch._dynamo", "torch._inductor", "sympy", "torchvision") if m in sys.modules])
"""
    paths = {"PYTHONPATH": f"{TESTS}:{ROOT / 'src'}"}
    methods = repr(list(METHODS.values()))
    done = subprocess.run(
        [sys.executable, "-c", script, methods], capture_output=True, text=True, check=True, env=paths
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("part", "labels"), [("forget", False), ("forget", True), ("retain", False), ("retain", True)])
@ALL
def test_only_the_right_samples_have_influence(trained, case, part, labels):
    blind = {
        "boundary_expand": {"retain images", "retain labels", "forget labels"},
        "boundary_shrink": {"retain images", "retain labels"},
        "unsir": {"forget images"},
        "conv_transpose": {"forget images", "forget labels"},
        "prmq": {"forget images", "forget labels"},
        # random labels may be the true ones: only a saliency looks at them
        "salun_soft": {"forget labels"},
        "salun_soft-penalty": {"forget labels"},
    }
    images, y, index = SOURCE.images.clone(), SOURCE.labels.clone(), SOURCE.parts[part]
    if labels and case == "unsir" and part == "forget":
        index = index[y[index] == 0]  # for it a label is in D_f or not: take one out
    if labels:
        y[index] = (y[index] + 1) % 3
    else:
        images[index] = 255 - images[index]
    changed = dataclasses.replace(SOURCE, images=images, labels=y)
    unmoved = f"{part} {'labels' if labels else 'images'}" in blind.get(case, set())
    assert same(state(run(case, trained, changed).model), state(run(case, trained).model)) == unmoved


def test_streams_of_each_method():
    expected = {
        "boundary_expand": ("forget",),
        "boundary_shrink": ("forget",),
        "unsir": ("retain",),
        "msg": ("retain",),
        "conv_transpose": ("retain",),
        "prmq": ("retain",),
        "salun": ("forget", "retain", "mixed"),
        "salun_soft": ("forget", "retain", "mixed"),
        "sfr_on": ("retain", "forget"),
    }
    assert {method: UNLEARNERS[method].streams for method in expected} == expected
