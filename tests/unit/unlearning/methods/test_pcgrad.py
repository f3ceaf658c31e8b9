"""PCGrad: both gradients of a conflict are projected."""

import torch
from hypothesis import given

from unit.unlearning.methods.surgery import direction, method, pairs


@given(pairs())
def test_pcgrad_projects_both_gradients_of_a_conflict_and_only_adds_the_others(gradients):
    g_f, g_r = gradients
    d = direction(method("pcgrad"), g_f, g_r)
    inner = float(g_f @ g_r)
    if inner >= 0:
        assert torch.equal(d, g_f + g_r)
        return
    f, r = g_f - inner / float(g_r @ g_r) * g_r, g_r - inner / float(g_f @ g_f) * g_f
    assert torch.allclose(d, f + r, rtol=1e-12, atol=1e-14)
    tolerance = 1e-12 * (1 + float(g_f.norm() * g_r.norm()))
    assert abs(float(f @ g_r)) <= tolerance
    assert float(d @ g_f) >= -tolerance, "neither loss rises"
    assert float(d @ g_r) >= -tolerance
