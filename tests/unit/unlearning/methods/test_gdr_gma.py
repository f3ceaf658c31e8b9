"""GDR-GMA: the conflict removed, weighed by the retain loss."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from lacuna.unlearning.methods.pcgrad import rectified
from unit.unlearning.methods.surgery import direction, method, pairs, vector


@given(pairs(), st.floats(0, 2))
def test_gdr_gma_removes_the_conflict_and_weighs_by_the_retain_loss(gradients, l_r):
    g_f, g_r = gradients
    unlearner = method("gdr_gma")
    f, r = rectified(g_f, g_r), rectified(g_r, g_f)
    tolerance = 1e-12 * (1 + float(g_f.norm() * g_r.norm()))
    assert float(f @ g_r) >= -tolerance
    assert float(r @ g_f) >= -tolerance
    share = 1 / (1 + math.exp(min(700.0, 100 * (l_r - 0.02))))
    d = direction(unlearner, g_f, g_r, l_r=l_r)
    assert torch.allclose(d, (1 - share) * r + share * f, rtol=1e-9, atol=1e-12)


def test_gdr_gma_repairs_above_its_tolerance_and_forgets_below():
    g_f, g_r = vector([1.0, 0.0]), vector([0.0, 1.0])
    unlearner = method("gdr_gma", sharpness=1000.0, tolerance=0.5)
    assert torch.allclose(direction(unlearner, g_f, g_r, l_r=0.6), g_r)
    assert torch.allclose(direction(unlearner, g_f, g_r, l_r=0.4), g_f)
    assert torch.allclose(direction(unlearner, g_f, g_r, l_r=0.5), (g_f + g_r) / 2)
