"""A weighted sum of both losses."""

from dataclasses import dataclass

import pytest
import torch
from tiny import data, network, state
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Augment
from lacuna.training.loop import fit
from lacuna.unlearning.base import LossUnlearner
from lacuna.unlearning.methods.rl import RandomLabels
from unit.unlearning.methods.surgery import FORM, by_hand, flat, formed, method, probe, without_val


@FORM
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_linear_gradient_is_the_weighted_sum(weight, form):
    model = network().double()
    unlearner, work, batches = probe("linear", model, data(), retain_weight=weight, batch_size=16, **formed(form))
    unlearner.backward(model, batches, work)
    g_f, g_r, *_ = by_hand(model, unlearner, work, batches)
    assert torch.allclose(flat(p.grad for p in model.parameters()), weight * g_r + g_f, rtol=1e-9, atol=1e-12)


LABELS = RandomLabels(exclude_true=False)


@dataclass(frozen=True, kw_only=True)
class MeanLoss(LossUnlearner):
    """The mean cross-entropy of a mixed batch, forgotten samples with random labels."""

    def loss(self, model, mixed):
        return cross_entropy(model(mixed.x), torch.where(mixed.forgotten, LABELS.draw(mixed), mixed.y))


def test_published_linear_weighting_is_descent_on_the_mean_loss_of_mixed_batches():
    options = {"epochs": 3, "lr": 0.05, "batch_size": 8}
    ended = []
    for objective in (method("linear", **options), MeanLoss(**options)):
        model = network().double()
        fit(model, objective, without_val(data(augment=Augment(1))), seed=4)
        ended.append(state(model))
    for name in ended[0]:
        torch.testing.assert_close(ended[0][name], ended[1][name], rtol=1e-9, atol=1e-12)
