"""MGDA: the shortest vector of the segment."""

import torch
from hypothesis import given

from unit.unlearning.methods.surgery import direction, method, pairs


@given(pairs())
def test_mgda_is_the_shortest_vector_of_the_segment(gradients):
    g_f, g_r = gradients
    d = direction(method("mgda"), g_f, g_r)
    size = float(torch.maximum(g_f.norm(), g_r.norm()))
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
    shortest = float((grid * g_f + (1 - grid) * g_r).norm(dim=1).min())
    assert float(d.norm()) <= shortest + 1e-12 * size
    assert float(d.norm()) >= shortest - 1e-3 * size, "on the segment, not beyond"
    for g in (g_f, g_r):  # the variational inequality of the projection of 0
        assert float(g @ d) >= float(d @ d) - 1e-12 * (1 + size**2)
