"""GraSP: the gradient flow without a weight."""

import pytest
import torch
from tiny import network

from lacuna.pruning.criteria.base import balanced
from unit.pruning.criteria.scores import SOURCE, loss_on, moved, score, some_entries, worn


def gradient_flow(model, chosen):
    """½ gᵀg over all parameters, of logits/200."""
    gradients = torch.autograd.grad(loss_on(model, chosen, 200.0), list(model.parameters()))
    return sum(float(g.square().sum()) for g in gradients) / 2


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_grasp_is_what_removing_a_weight_does_to_the_gradient_flow(mode):
    """θ ∂(½ gᵀg)/∂θ by central differences: the flow that is lost, to first order, when a weight goes."""
    model = worn(network()).double().train(mode == "train")
    chosen = balanced(SOURCE, 4, seed=9)
    scores = score("grasp", model, seed=9, samples_per_class=4, batchnorm=mode)
    largest = max(float(s.abs().max()) for s in scores.values())
    for name, entry in some_entries(model):
        up, down = (gradient_flow(moved(model, name, entry, 1 + e), chosen) for e in (1e-4, -1e-4))
        assert float(scores[name].flatten()[entry]) == pytest.approx((up - down) / 2e-4, rel=1e-4, abs=1e-5 * largest)
