"""FAMO: weighted logarithms, and the derivative of their decrease."""

import pytest
import torch
from tiny import data, network

from lacuna.training.loop import fit
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS
from unit.unlearning.methods.surgery import (
    PLAIN,
    Adam,
    Plane,
    by_hand,
    flat,
    method,
    on_a_plane,
    probe,
    vector,
    without_val,
)


@pytest.mark.parametrize("normalised", [True, False])
def test_famo_gradient_is_that_of_the_weighted_logarithms(normalised):
    model = network().double()
    options = {"normalised": normalised, "forget_bound": 0.03, "retain_bound": 0.1}
    unlearner, work, batches = probe("famo", model, data(), **options)
    work.tensors["w"] = vector([0.7, -0.4])
    unlearner.backward(model, batches, work)
    g_f, g_r, l_f, l_r = by_hand(model, unlearner, work, batches)
    z = work.tensors["w"].softmax(0)
    weights = z / (torch.stack([l_f - 0.03, l_r - 0.1]) + 1e-8)
    if normalised:
        weights = weights / weights.sum()
        assert float(unlearner.factors(l_f, l_r, work).sum()) == pytest.approx(1)
    expected = weights[0] * g_f + weights[1] * g_r
    assert torch.allclose(flat(p.grad for p in model.parameters()), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("slow", [0, 1])
def test_famo_gives_weight_to_the_loss_that_falls_more_slowly(slow):
    unlearner, work = look_at({slow: 0.95, 1 - slow: 0.5})
    z = work.tensors["w"].softmax(0)
    assert float(z.sum()) == pytest.approx(1)
    assert float(z[slow]) > 0.5
    assert float(work.tensors["w"][slow]) == pytest.approx(unlearner.weight_lr, rel=1e-3), "Adam's first step"


def look_at(kept):
    """FAMO after one step that left this share of L_f (0) and of L_r (1)."""
    unlearner = method("famo")
    work = LoopState(0, torch.device("cpu"), 3)
    work.tensors["w"] = torch.zeros(2, dtype=torch.float64)
    work.memory |= {"losses": vector([2.0, 0.7]).unbind(), "forgotten": torch.tensor([True, False])}
    now = [work.memory["losses"][i] * kept[i] for i in (0, 1)]

    class Stub(type(unlearner)):
        def losses_now(self, model, batches, work):
            return now

    Stub(**vars(unlearner)).after_step(None, {}, work)
    return unlearner, work


def test_famo_follows_the_derivative_of_the_weighted_decrease():
    cls = on_a_plane(UNLEARNERS["famo"])
    model, seen = Plane(), []

    class Watched(cls):
        def after_step(self, model, batches, work):
            before = [float(l) for l in work.memory["losses"]]
            super().after_step(model, batches, work)
            after = [float(l.detach()) for l in self.losses(model, None, None, None, work)]
            seen.append((before, after, work.tensors["w"].clone()))

    fit(model, Watched(epochs=6, lr=0.05, batch_size=26, **PLAIN), without_val(data()), seed=0)
    reference = Adam([0.0, 0.0], lr=0.025, decay=1e-5)
    for before, after, found in seen:
        fell = (vector(before) / vector(after)).log()
        w = vector(reference.x).requires_grad_()
        reference.step(torch.autograd.grad(w.softmax(0) @ fell, w)[0].tolist())
        assert found.tolist() == pytest.approx(reference.x, rel=1e-6, abs=1e-9)
    assert len(seen) == 12
