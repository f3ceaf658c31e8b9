"""Layers without a weight are counted, whatever the mask is of."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lacuna.evaluation import Cell
from lacuna.evaluation.cell import Absent
from lacuna.evaluation.metrics.collapse import collapsed_layers


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([(2, 3), (2, 1, 3, 3), (1, 1)])), min_size=1, max_size=6))
def test_layers_with_no_weight_are_counted(layers):
    """Of tensors with 0 to 3 kept weights, those with 0 count."""
    mask = {}
    for i, (kept, shape) in enumerate(layers):
        bits = np.arange(np.prod(shape)) < kept
        mask[f"layer{i}.weight"] = np.random.default_rng(i).permutation(bits).reshape(shape)
    assert collapsed_layers(Cell({}, mask=mask)) == sum(kept == 0 for kept, _ in layers)


def test_emptied_batch_norm_vectors_are_no_layers():
    """A filter mask covers batch norm too: an emptied layer counts once."""
    gone, bits = np.zeros((4, 2, 3, 3), bool), np.zeros(4, bool)
    assert collapsed_layers(Cell({}, mask={"conv.weight": gone, "bn.weight": bits, "bn.bias": bits})) == 1.0


def test_no_mask_no_count():
    assert collapsed_layers(Cell({})) == Absent("the mask is not known")
