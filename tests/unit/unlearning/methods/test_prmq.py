"""PRMQ: the smallest weights drawn again, and losses that match entropies."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tiny import half, network, same, state
from torch.nn.functional import cross_entropy, softmax

from lacuna.models.inference import copy_of
from lacuna.unlearning import base
from lacuna.unlearning.methods.prmq import Prmq, entropy
from unit.unlearning.methods.edits import QUICK, SOURCE, close, one_batch, run, working


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("share", [0.29, 0.7, 0.99])
def test_prmq_draws_its_share_of_the_smallest_weights_again(trained, share, sparse):
    model = copy_of(trained)
    mask = half(model) if sparse else None
    if mask is not None:
        mask.apply(model)
    before = state(model)
    Prmq(share=share).begin(model, SOURCE, working(model, mask))
    after = state(model)
    names = ["conv1.weight", "conv2.weight", "fc.weight"]
    assert all(torch.equal(after[name], before[name]) for name in before if name not in names)
    old, new = (torch.cat([s[name].flatten() for name in names]) for s in (before, after))
    exists = old != 0
    drawn = old != new
    assert int(drawn.sum()) == int(round(100 * share) * int(exists.sum())) // 100
    assert not drawn[~exists].any()
    assert old[drawn].abs().max() <= old[exists & ~drawn].abs().min()


def test_prmq_loss_matches_entropies(trained):
    model, method = network(seed=7).double().eval(), Prmq()
    work = working(model)
    work.memory["original"] = copy_of(trained).eval()
    given = one_batch(SOURCE, "retain")
    with torch.no_grad():
        p, q = (softmax(m(given.x), 1).numpy() for m in (model, work.memory["original"]))
    h_p, h_q = (-(r * np.log(r)).sum(1) for r in (p, q))
    expected = -np.log(p[np.arange(len(p)), given.y]).mean() + ((h_p - h_q) ** 2).mean()
    assert method.loss(model, given, work).item() == pytest.approx(expected, rel=1e-9)
    # with the original itself only the cross-entropy is left
    own = method.loss(work.memory["original"], given, work)
    close(own, cross_entropy(work.memory["original"](given.x), given.y))


def test_entropy_of_a_certain_prediction_is_zero_and_finite():
    logits = torch.tensor([[500.0, 0.0, -500.0], [0.0, 0.0, 0.0]])
    close(entropy(logits), torch.tensor([0.0, np.log(3)], dtype=torch.float32))


def test_prmq_ends_in_half_precision_if_asked(trained):
    rounded = state(run("prmq", trained).model)
    whole = state(run("prmq", trained, quantise=False).model)
    for name, value in rounded.items():
        assert torch.equal(value, value.half().to(value.dtype)) or not value.is_floating_point()
        assert torch.equal(value, whole[name].half().to(value.dtype)) or not value.is_floating_point()
    assert not same(rounded, whole)


def test_prmq_teacher_is_the_original_and_never_moves(trained):
    works = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(Prmq):
        def finish(self, model, data, work):
            works.append(work)

    base.run(Watched, trained, SOURCE, **QUICK)
    assert same(state(works[0].memory["original"]), state(trained))
