"""Unilateral gradient surgery: the conditions of its optimum."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from unit.unlearning.methods.surgery import direction, method, pairs


@given(pairs(), st.sampled_from([0.0, 0.01, 1.0, -0.5]))
def test_ungrad_satisfies_the_kkt_conditions(gradients, epsilon):
    g_f, g_r = gradients
    unlearner = method("ungrad", epsilon=epsilon)
    d, multiplier = direction(unlearner, g_f, g_r), unlearner.multiplier(g_f, g_r)
    assert bool(torch.isfinite(d).all())
    if not g_r.any():
        assert torch.equal(d, g_f), "no constraint can be acted on"
        return
    size = float(g_f.norm() + multiplier * g_r.norm())
    slack = float(g_r.dot(d)) + epsilon
    tolerance = 1e-12 * (1 + float(g_r.norm()) * size)
    assert float((d - g_f - multiplier * g_r).norm()) <= 1e-12 * (1 + size), "stationary"
    assert slack >= -tolerance, "primal feasible"
    assert float(multiplier) >= 0, "dual feasible"
    assert abs(float(multiplier) * slack) <= tolerance * (1 + float(multiplier)), "complementary"


@given(pairs())
def test_ungrad_without_tolerance_is_one_sided_pcgrad(gradients):
    g_f, g_r = gradients
    inner = float(g_f @ g_r)
    expected = g_f - inner / float(g_r @ g_r) * g_r if inner < 0 else g_f
    assert torch.allclose(direction(method("ungrad"), g_f, g_r), expected, rtol=1e-12, atol=1e-14)


@given(pairs())
def test_no_feasible_point_is_nearer_to_the_forget_gradient(gradients):
    g_f, g_r = gradients
    d = direction(method("ungrad", epsilon=0.1), g_f, g_r)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = d + torch.from_numpy(rng.normal(size=len(d))) * float(rng.choice([1e-3, 0.1, 1.0]))
        if float(g_r @ other) >= -0.1:
            assert float((other - g_f).norm()) >= float((d - g_f).norm()) - 1e-9
