"""NegGrad+: descent on what is retained, ascent on what is forgotten."""

import torch
from tiny import data
from torch.nn.functional import cross_entropy

from unit.unlearning.methods.classic import close, gradients, one_step, trained, whole


def test_neggrad_plus_steps_along_the_stated_combination():
    model, given = trained(dtype=torch.float64).double(), data()
    losses = {}
    for part in ("retain", "forget"):
        x, y = whole(given, part)
        losses[part] = gradients(model, cross_entropy(model(x), y))
    expected = [0.9 * r - 0.1 * f for r, f in zip(losses["retain"], losses["forget"], strict=True)]
    close(one_step("neggrad_plus", model, given, alpha=0.9), expected)
    close(one_step("neggrad_plus", model, given, alpha=1.0), losses["retain"])
