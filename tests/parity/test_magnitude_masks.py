"""One-shot magnitude pruning against the reference code."""

import numpy as np
import pytest
import torch

from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.sparsity.mask import Mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sparsity", ["0.50", "0.90", "0.95"])
def test_global_magnitude_mask_is_the_reference_mask(reference, sparsity, dtype):
    file = reference("01_magnitude_masks")
    mask = Mask.from_scores(magnitude(file.model(dtype)), sparsity)
    assert list(mask) == ["conv1.weight", "conv2.weight"]
    for name, bits in mask.bits().items():
        np.testing.assert_array_equal(bits, file[f"mask/global_l1/{sparsity}/{name}"].astype(bool))
    assert [int(bits.sum()) for bits in mask.bits().values()] == file[f"kept/global_l1/{sparsity}"].tolist()
