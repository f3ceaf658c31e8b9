"""What the methods that edit once have in common: masks, networks, random streams, the right samples."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from places import ROOT, TESTS
from tiny import half, same, state
from torch import nn
from unit.gradients.networks import SOURCE, close, made
from unit.unlearning.methods.second_order import METHODS, SPARSE, run

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.inference import copy_of
from lacuna.unlearning import unlearn

ALL = pytest.mark.parametrize("case", METHODS)


@SPARSE
@ALL
def test_masked_weights_are_exactly_zero_and_the_others_are_not(trained_model, case, sparse):
    mask = half(trained_model) if sparse else None
    weights = run(case, trained_model, mask=mask).model.state_dict()
    for name in mask or ():
        assert not weights[name][~mask[name]].any()
        assert weights[name][mask[name]].all()
    statistics = {k: v for k, v in weights.items() if "running" in k or "num_batches" in k}
    assert all(torch.equal(v, trained_model.state_dict()[k]) for k, v in statistics.items())
    assert not same(weights, state(trained_model))


@pytest.mark.parametrize("name", ["scaled", "recurrent"])
@ALL
def test_methods_work_on_any_network(case, name):
    model = made(name)
    outcome = run(case, model, log=lambda line: None)
    assert not same(state(outcome.model), state(model))


@ALL
def test_seed_alone_decides_and_the_global_generator_rests(trained_model, case):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(run(case, trained_model, seed=5).model)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(state(run(case, trained_model, seed=5).model), first)
    drawn = case.startswith("ff") or case in ("iu-few", "ssd-batch")
    assert same(state(run(case, trained_model, seed=6).model), first) != drawn


@ALL
def test_layout_and_precision_of_the_weights_do_not_matter(trained_model, case):
    ours = run(case, trained_model, mask=half(trained_model))
    theirs = run(case, copy_of(trained_model).to(memory_format=torch.channels_last), mask=half(trained_model))
    single = run(case, copy_of(trained_model).float(), mask=half(trained_model))
    for name, a in ours.model.state_dict().items():
        close(theirs.model.state_dict()[name], a, rtol=1e-6, atol=1e-9, msg=name)
        assert single.model.state_dict()[name].dtype in (torch.float32, torch.int64)
        close(single.model.state_dict()[name], a, rtol=1e-2, atol=1e-4, msg=name)


@ALL
def test_user_model_without_batch_norm_and_float_images(case):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3))
    x, y = torch.randn(30, 2, 6, 6, generator=generator), torch.arange(30) % 3
    source = UnlearningData.from_tensors(retain=(x[:20], y[:20]), forget=(x[20:], y[20:]))
    outcome = run(case, model, source)
    assert outcome.model(x).shape == (30, 3)
    assert outcome.fit.seconds > 0


@pytest.mark.parametrize(("part", "labels"), [("forget", False), ("forget", True), ("retain", False), ("retain", True)])
@ALL
def test_only_the_right_samples_have_influence(trained_model, case, part, labels):
    """Labels never for lfssd; images of D_f never for ff, whose Fisher information needs no labels either."""
    images, y, index = SOURCE.images.clone(), SOURCE.labels.clone(), SOURCE.parts[part]
    if labels:
        y[index] = (y[index] + 1) % 3
    else:
        images[index] = 255 - images[index]
    changed = dataclasses.replace(SOURCE, images=images, labels=y)
    blind = {"lfssd": labels, "ff": labels or part == "forget"}.get(case.partition("-")[0], False)
    assert same(state(run(case, trained_model, changed).model), state(run(case, trained_model).model)) == blind


@ALL
def test_data_without_a_forget_set_is_refused(trained_model, case):
    source = dataclasses.replace(SOURCE, parts={"retain": SOURCE.parts["retain"]})
    with pytest.raises(LacunaError, match="the data has no 'forget' samples; it has: retain"):
        run(case, trained_model, source)


def test_a_result_that_is_not_finite_is_refused(trained_model):
    with pytest.raises(LacunaError, match=r"^iu: a weight is not finite after the edit; try a weaker one$"):
        unlearn("iu", copy_of(trained_model).float(), SOURCE, alpha=1e38, damping=1e-10)


def test_compiler_is_not_loaded():
    """Neither torch's compiler nor sympy, on networks of known layers and on others."""
    script = """
import sys, torch
from tiny import data, network
from lacuna.unlearning import unlearn
torch.set_num_threads(1)
other = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding="same"), torch.nn.Flatten(), torch.nn.Linear(108, 3))
for method, options in eval(sys.argv[1]):
    unlearn(method, network(), data(), **options)
    unlearn(method, other, data(), **options)
print([m for m in ("torch._dynamo", "torch._inductor", "sympy", "torchvision") if m in sys.modules])
"""
    paths = {"PYTHONPATH": f"{TESTS}:{ROOT / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", script, repr(list(METHODS.values()))],
        capture_output=True,
        text=True,
        check=True,
        env=paths,
    )
    assert done.stdout == "[]\n"
