"""MUNBa: the bargain, and the share without one."""

import math

import pytest
import torch
from hypothesis import given

from unit.unlearning.methods.surgery import direction, method, pairs, vector

EPS = torch.finfo(torch.float64).eps


@given(pairs())
def test_munba_solves_the_bargaining_equation_where_there_is_a_bargain(gradients):
    g_f, g_r = gradients
    unlearner = method("munba")
    d = direction(unlearner, g_f, g_r)
    alpha = torch.stack(unlearner.bargain(g_f, g_r))
    gram = torch.stack([torch.stack([a @ b for b in (g_f, g_r)]) for a in (g_f, g_r)])
    # 1 + cos without cancellation
    together = float((g_f / g_f.norm() + g_r / g_r.norm()).square().sum() / 2) if g_f.any() and g_r.any() else 0.0
    if together < EPS:
        assert torch.allclose(d, g_r + 0.1 * g_f, rtol=1e-12, atol=0), "no bargain: the fallback"
        return
    assert bool((alpha > 0).all())
    # of an almost opposite pair GᵀGα itself cancels
    lost = 100 * EPS / together
    assert torch.allclose(gram @ alpha * alpha, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-9 + lost)
    assert float(d.norm()) == pytest.approx(math.sqrt(2), rel=1e-9 + lost)
    assert torch.allclose(d, alpha[0] * g_f + alpha[1] * g_r)


def test_munba_falls_back_with_the_share_that_was_asked_for():
    g = vector([1.0, -2.0])
    assert torch.equal(direction(method("munba", fallback=0.5), -2 * g, g), g - g)
    assert torch.equal(direction(method("munba", fallback=0.0), -2 * g, g), g)
    assert torch.equal(direction(method("munba", fallback=0.3), torch.zeros(2).double(), g), g)
