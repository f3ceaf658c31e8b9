"""Boundary shrinking: labels of the nearest class."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lacuna.models.inference import copy_of
from lacuna.unlearning import base
from lacuna.unlearning.methods.boundary_shrink import BoundaryShrink
from unit.unlearning.methods.edits import SOURCE, everything_of, working


@pytest.mark.parametrize("epsilon", [0.0, 0.03, 0.1, 0.5, 5.0])
def test_nearest_class_is_the_wrong_one_that_wins_after_the_step(trained, epsilon):
    """Sample by sample, with the step taken on pixels in [0, 1]."""
    model = copy_of(trained)
    found = BoundaryShrink(epsilon=epsilon, batch_size=5).begin(model, SOURCE, working(model))
    forget = SOURCE.index("forget")
    others = torch.ones(len(SOURCE.labels), dtype=torch.bool)
    others[forget] = False
    assert torch.equal(found.labels[others], SOURCE.labels[others])
    assert (found.labels[forget] != SOURCE.labels[forget]).all()
    model.eval()
    stayed = 0
    for i in forget:
        pixels = (SOURCE.images[i : i + 1].double() / 255).requires_grad_()
        loss = cross_entropy(model((pixels - 0.4) / 0.3), SOURCE.labels[i : i + 1])
        loss.backward()
        moved = (pixels.detach() + epsilon * pixels.grad.sign()).clamp(0, 1)
        scores = model((moved - 0.4) / 0.3)[0]
        stayed += int(scores.argmax() == SOURCE.labels[i])
        scores[SOURCE.labels[i]] = -torch.inf
        assert found.labels[i] == scores.argmax()
    if epsilon == 0:
        assert stayed > 0, "the true label wins somewhere, and yet it is never taken"


def test_step_is_taken_on_pixels_and_clipped_to_their_range(trained):
    model, seen = copy_of(trained).eval(), []
    model.register_forward_pre_hook(lambda _, given: seen.append((given[0].detach() * 0.3 + 0.4).numpy()))
    x, y = everything_of(SOURCE, "forget")
    BoundaryShrink(epsilon=0.4).nearest(model, x, y, SOURCE)
    before, after = seen
    assert (before.min(), before.max()) != (after.min(), after.max()) == pytest.approx((0, 1), abs=1e-12)
    inside = (after > 1e-9) & (after < 1 - 1e-9)
    assert 0 < inside.mean() < 1
    moved = np.abs(after - before)[inside]
    assert ((np.abs(moved - 0.4) < 1e-9) | (moved < 1e-9)).all()
    assert (moved > 0.1).any()
    # images that are given as floats have no known range
    floats = dataclasses.replace(SOURCE, images=x, mean=(0.0,), std=(1.0,))
    seen.clear()
    BoundaryShrink(epsilon=9.0).nearest(model, x, y, floats)
    assert np.abs(seen[1] - seen[0]).max() == pytest.approx(9.0 * 0.3)


def test_nearest_labels_are_those_of_theta_o_in_every_epoch(trained):
    seen = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(BoundaryShrink):
        def loss(self, model, forget):
            seen.append(dict(zip(forget.index.tolist(), forget.y.tolist(), strict=True)))
            return super().loss(model, forget)

    base.run(Watched, trained, SOURCE, epochs=3, lr=0.5, batch_size=100)
    expected = BoundaryShrink().begin(copy_of(trained), SOURCE, working(trained)).labels
    forget = SOURCE.index("forget").tolist()
    assert seen == [{i: int(expected[i]) for i in sorted(epoch, key=list(epoch).index)} for epoch in seen]
    assert [sorted(epoch) for epoch in seen] == [sorted(forget)] * 3
