"""SFR-on: weights of the losses, ascents every k steps, averages of a round."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny import half, same
from torch.nn.functional import cross_entropy

from lacuna.gradients.per_sample import mean_squares
from lacuna.models.inference import copy_of
from lacuna.unlearning import base, unlearn
from lacuna.unlearning.methods.sfr_on import SFRon
from unit.unlearning.methods.edits import SOURCE, close, everything_of, one_batch, working


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_sfr_on_weighs_by_the_inverse_power_of_the_loss(exponent):
    losses = torch.tensor([0.1, 1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    values = losses.detach().numpy()
    weights = values**-exponent / (values**-exponent).sum()
    found = SFRon(exponent=exponent).weighted(losses)
    assert found.item() == pytest.approx((weights * values).sum(), rel=1e-12)
    found.backward()
    np.testing.assert_allclose(losses.grad, weights, rtol=1e-12, err_msg="the weights are constants for the gradient")


def test_sfr_on_survives_samples_without_loss():
    losses = torch.tensor([0.0, 1.0], requires_grad=True)
    found = SFRon().weighted(losses)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(losses.grad).all()


def test_sfr_on_ascends_every_k_retain_steps():
    steps = SFRon(every=3).plan(0, {"retain": 7, "forget": 2})
    f, r = ("forget",), ("retain",)
    assert steps == [f, r, r, r, f, r, r, r, f, r]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("clip", [1e9, 0.01])
def test_sfr_on_ascent_gradient(trained, sparse, clip):
    """−α_t M ⊙ ∇Σ w ℓ, clipped: entries outside M count neither for the step nor for the norm."""
    model, mask = copy_of(trained).eval(), half(trained) if sparse else None
    if mask is not None:
        mask.apply(model)
    method, work = SFRon(alpha=3.0, clip=clip, balance=0.8), working(model, mask)
    method.begin(model, SOURCE, work)
    forget, retain = (mean_squares(model, SOURCE, part) for part in ("forget", "retain"))
    work.lr = method.lr / 2
    given = one_batch(SOURCE, "forget")
    twin = copy_of(model)
    losses = cross_entropy(twin(given.x), given.y, reduction="none")
    weights = (losses.detach() ** -0.5) / (losses.detach() ** -0.5).sum()
    (-1.5 * (weights * losses).sum()).backward()
    expected, inside = {}, 0
    for name, p in twin.named_parameters():
        salient = forget[name] >= 0.8 * retain[name]
        if mask is not None and name in mask:
            salient &= mask[name]
        expected[name] = p.grad * salient
        inside += int(salient.sum())
    assert 10 < inside < 100, "a mask that says something"
    norm = torch.cat([g.flatten() for g in expected.values()]).norm()
    method.backward(model, {"forget": given}, work)
    for name, p in model.named_parameters():
        close(p.grad, expected[name] * min(1.0, clip / norm.item()), rtol=1e-3, atol=1e-12)


def test_sfr_on_retain_step_is_plain_descent(trained):
    model, twin, method = copy_of(trained), copy_of(trained), SFRon(clip=1e-6)
    work = working(model)
    method.begin(model, SOURCE, work)
    given = one_batch(SOURCE, "retain")
    method.backward(model, {"retain": given}, work)
    cross_entropy(twin(given.x), given.y).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("slow", [0.0, 0.25])
def test_sfr_on_averages_each_round_with_its_start(trained, slow):
    rounds = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(SFRon):
        def close_round(self, model, work):
            fast = {name: p.detach().clone() for name, p in model.named_parameters()}
            super().close_round(model, work)
            rounds.append((fast, {name: p.detach().clone() for name, p in model.named_parameters()}))

    outcome = base.run(Watched, trained, SOURCE, epochs=2, batch_size=10, every=2, slow=slow, lr=0.05)
    assert len(rounds) == 2 * 2 + 1, "four retain steps an epoch, two rounds, and the end"
    previous = dict(trained.named_parameters())
    for fast, after in rounds:
        for name, p in after.items():
            close(p, slow * previous[name] + (1 - slow) * fast[name], rtol=1e-9, atol=1e-12)
        previous = after
    assert same(previous, {name: p.detach() for name, p in outcome.model.named_parameters()})


def test_sfr_on_forgets_more_than_descent_alone(trained):
    def loss(model):
        x, y = everything_of(SOURCE, "forget")
        with torch.no_grad():
            return cross_entropy(model.eval()(x), y).item()

    options = {"epochs": 4, "batch_size": 16, "lr": 0.05, "every": 2}
    ascended, descended = (unlearn("sfr_on", trained, SOURCE, alpha=alpha, **options).model for alpha in (25.0, 0.0))
    assert loss(ascended) > loss(descended) + 0.1
