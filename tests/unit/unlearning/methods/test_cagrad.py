"""CAGrad: the best direction of a ball."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from unit.unlearning.methods.surgery import direction, method, pairs


@given(pairs(), st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_cagrad_stays_in_its_ball_and_nothing_there_is_better(gradients, c):
    g_f, g_r = gradients
    d = direction(method("cagrad", c=c), g_f, g_r)
    g_0 = (g_f + g_r) / 2
    radius, size = c * float(g_0.norm()), float(g_f.norm() + g_r.norm())
    assert float((d - g_0).norm()) <= radius + 1e-12 * (1 + size)
    worst = min(float(g_f @ d), float(g_r @ d))
    # the best direction lies in the plane of both gradients: search the circle, and the disc inside it
    basis, triangular = torch.linalg.qr(torch.stack([g_f, g_r], 1))
    del triangular
    angles = torch.linspace(0, 2 * math.pi, 1001, dtype=torch.float64)
    circle = torch.stack([angles.cos(), angles.sin()])[: basis.shape[1]]
    for share in (1.0, 0.7, 0.3, 0.0):
        others = g_0[:, None] + share * radius * basis @ circle
        best = float(torch.minimum(g_f @ others, g_r @ others).max())
        assert best <= worst + 1e-9 * (1 + size**2)
