"""The implicit weight: where it converges to, and the released variants."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import data, network

from lacuna import unlearn
from lacuna.data.batches import Batch
from lacuna.training.loop import fit
from lacuna.training.state import LoopState
from lacuna.unlearning.methods.eupmu import EUPMU
from lacuna.unlearning.methods.eupmu_fast import EUPMUFast
from unit.unlearning.methods.surgery import (
    FORMS,
    PLAIN,
    QUICK,
    A,
    Adam,
    B,
    Plane,
    by_hand,
    direction,
    formed,
    method,
    on_a_plane,
    only,
    probe,
    without_val,
)


def drifted(model):
    """Other weights, so that a second look sees other losses."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.sin(torch.arange(p.numel(), dtype=p.dtype)).view(p.shape))


@pytest.mark.parametrize("lacks", ["forget", "retain", None])
@pytest.mark.parametrize(("name", "variant"), [("eupmu", "paper"), ("eupmu", "released"), ("famo", None)])
def test_weights_follow_only_losses_that_the_batch_holds(name, variant, lacks):
    """λ stays without a sample of D_r, FAMO's w without one of either; Adam's moments and count stay with them."""
    model = network().double()
    options = {"variant": variant, "weight_init": 5.0} if variant else {}
    unlearner, work, batches = probe(name, model, data(), batch_size=30, **options)
    mixed = batches["mixed"]
    if lacks is not None:
        batches = {"mixed": only(mixed, ~mixed.forgotten if lacks == "forget" else mixed.forgotten)}
    unlearner.backward(model, batches, work)
    drifted(model)
    before = {k: v.clone() for k, v in work.tensors.items()}
    unlearner.after_step(model, batches, work)
    moves = lacks is None or (lacks == "forget" and name == "eupmu")
    key = "w" if name == "famo" else "lambda"
    assert torch.equal(work.tensors[key], before[key]) == (not moves)
    assert bool(torch.isfinite(work.tensors[key]).all())
    if variant != "paper":
        assert bool(work.tensors[f"{key}.steps"].any()) == moves
        assert bool(work.tensors[f"{key}.square"].any()) == moves


def weight_after(unlearner, model, given):
    """λ at the end of a run."""
    seen = []

    class Watched(type(unlearner)):
        def finish(self, model, data, work):
            seen.append(float(work.tensors["lambda"]))

    fit(model, Watched(**vars(unlearner)), without_val(given), seed=0)
    return seen[0]


@pytest.mark.parametrize("epsilon", [0.0, 0.2, -0.3, 5.0])
@pytest.mark.parametrize("cls", [EUPMU, EUPMUFast])
def test_on_linear_losses_the_weight_converges_to_that_of_the_closed_form(cls, epsilon):
    options = {"epochs": 30, "lr": 1e-4, "batch_size": 16, "epsilon": epsilon, "beta": 0.7} | PLAIN
    found = weight_after(on_a_plane(cls)(**options, weight_init=0.5), Plane(), data())
    expected = float(method("ungrad", epsilon=epsilon).multiplier(A, B))
    assert (expected == 0) == (epsilon == 5.0), "one case has an idle constraint"
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("form", [FORMS[0], FORMS[-1]], ids="-".join)
@pytest.mark.parametrize("log_losses", [False, True])
@pytest.mark.parametrize("cls", [EUPMU, EUPMUFast])
def test_with_a_network_that_stands_still_the_weight_converges_to_that_of_the_closed_form(cls, log_losses, form):
    """lr 1e-7: θ hardly moves while the difference of the losses, divided by lr, tells ⟨g_r, d⟩."""
    # one batch of all samples, always in the same order; frozen labels
    given = data(retain=24, forget=12, shuffle=False)
    model = network(seed=2).double()

    class Fixed(cls):
        def backward(self, model, batches, work):
            again = {}
            for stream, b in batches.items():
                generator = torch.Generator().manual_seed(0)
                again[stream] = Batch(b.x, b.y, b.index, b.forgotten, b.classes, generator)
            return super().backward(model, again, work)

    options = {"epochs": 40, "lr": 1e-7, "batch_size": 36, "log_losses": log_losses} | PLAIN | formed(form)
    unlearner, work, batches = probe("eupmu", model, given, batch_size=36, **formed(form))
    for batch in batches.values():
        batch.generator.manual_seed(0)
    unlearner.backward(model, batches, work)
    g_f, g_r, l_f, l_r = by_hand(model, unlearner, work, batches)
    if log_losses:
        g_f, g_r = g_f / (l_f + 1e-8), g_r / (l_r + 1e-8)
    # a demand that plain descent on L_f does not meet
    epsilon = -(float(g_r @ g_f) + 0.3 * float(g_r @ g_r))
    expected = float(method("ungrad", epsilon=epsilon).multiplier(g_f, g_r))
    assert expected == pytest.approx(0.3, rel=1e-9)
    beta = 0.5 / float(g_r @ g_r)
    found = weight_after(Fixed(**options, epsilon=epsilon, beta=beta), model, given)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_implicit_direction_at_the_limit_is_the_explicit_one():
    expected = direction(method("ungrad", epsilon=0.1), A, B)
    options = {"epochs": 30, "lr": 1e-4, "batch_size": 16, "epsilon": 0.1, "beta": 0.7} | PLAIN
    weight = weight_after(on_a_plane(EUPMU)(**options), Plane(), data())
    assert torch.allclose(A + weight * B, expected, atol=1e-6)


def moved(weight, before, after, lr=0.1, **options):
    """λ after one look."""
    unlearner = method("eupmu", **options)
    work = SimpleNamespace(tensors={"lambda": torch.tensor(weight, dtype=torch.float64)})
    unlearner.reweigh(torch.tensor(before).double(), torch.tensor(after).double(), lr, work)
    return float(work.tensors["lambda"])


def test_the_weight_grows_when_the_retain_loss_rose_by_more_than_tolerated():
    assert moved(1.0, 0.5, 0.6) == pytest.approx(2.0), "δ = −0.1 / 0.1"
    assert moved(1.0, 0.5, 0.6, beta=0.5) == pytest.approx(1.5)
    assert moved(1.0, 0.5, 0.6, epsilon=1.0) == pytest.approx(1.0), "exactly what ε allows"
    assert moved(1.0, 0.5, 0.5, epsilon=0.25) == pytest.approx(0.75)
    assert moved(1.0, 0.5, 0.5, epsilon=-0.25) == pytest.approx(1.25), "a decrease was demanded"
    assert moved(0.5, 0.6, 0.5) == 0, "never below 0"
    assert moved(1.0, 0.5, 0.6, log_losses=True) == pytest.approx(1 + 10 * math.log(0.6 / 0.5), rel=1e-6)


def test_released_variant_is_adam_on_differences_of_logarithms():
    error = 0.01  # the option of the released code: a decrease that is required
    unlearner = method("eupmu", variant="released", epsilon=-error)
    work = SimpleNamespace(tensors={"lambda": torch.zeros((), dtype=torch.float64)})
    reference = Adam([0.0], lr=1.0, decay=0.01)
    rng = np.random.default_rng(0)
    below = 0
    for before, after in rng.uniform(0.05, 2, (40, 2)):
        unlearner.reweigh(torch.tensor(before), torch.tensor(after), 1e-3, work)
        reference.step([math.log(before + 1e-8) - math.log(after + 1e-8) - error])
        assert float(work.tensors["lambda"]) == pytest.approx(reference.x[0], rel=1e-9, abs=1e-12)
        below += reference.x[0] < 0
    assert below > 0, "λ itself may be negative"
    l_f, l_r = torch.tensor(2.0), torch.tensor(0.5)
    for weight, expected in ((-3.0, 2.0), (3.0, 2.0 + 3 * 0.5)):  # below 0 it counts as 0
        work.tensors["lambda"] = torch.tensor(weight)
        assert float(unlearner.weighted(l_f, l_r, work)) == pytest.approx(expected, rel=1e-6), "the losses themselves"
    logarithmic = method("eupmu", variant="released", log_losses=True)
    assert float(logarithmic.weighted(l_f, l_r, work)) == pytest.approx(math.log(2) + 3 * math.log(0.5), rel=1e-6)


def test_released_fast_variant_divides_both_weights_by_their_sum():
    unlearner = method("eupmu_fast", variant="released", beta=1.0)
    work = LoopState(0, torch.device("cpu"), 3)
    work.memory["forgotten"] = torch.tensor([True, False])
    for weight, expected in ((3.0, (2.0 + 3 * 0.5) / 4), (-3.0, 2.0)):
        work.tensors = {"lambda": torch.tensor(weight)}
        assert float(unlearner.weighted(torch.tensor(2.0), torch.tensor(0.5), work)) == pytest.approx(expected)
    paper = method("eupmu_fast")
    work.tensors = {"lambda": torch.tensor(3.0)}
    assert float(paper.weighted(torch.tensor(2.0), torch.tensor(0.5), work)) == pytest.approx(2.0 + 3 * 0.5)


@pytest.mark.parametrize("name", ["eupmu", "eupmu_fast"])
def test_released_variant_may_ascend_on_the_forgotten(name):
    """Only L_r has a logarithm there."""
    outcome = unlearn(name, network(), data(), variant="released", forget_loss="ascent", **QUICK)
    assert all(bool(torch.isfinite(p).all()) for p in outcome.model.parameters())
