"""Filter pruning against the reference code."""

import numpy as np
import pytest
import torch

from lacuna.data.batches import UnlearningData
from lacuna.fields import build
from lacuna.pruning import PRUNERS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("groups", ["coupled", "layer"])
def test_filter_mask_is_the_reference_mask(reference, groups, dtype):
    file = reference("01_magnitude_masks")
    model = file.model(dtype)
    images = torch.from_numpy(file["x"])
    data = UnlearningData(images, torch.zeros(len(images), dtype=torch.int64), {}, classes=4)
    mask = build(PRUNERS["filter_l1"], {"groups": groups}).find_mask(model, "0.50", data, seed=0)
    for name in ("conv1.weight", "conv2.weight"):
        np.testing.assert_array_equal(mask.bits()[name], file[f"mask/filter_l1/0.50/{name}"].astype(bool))
        kept = file[f"kept/filter_l1/0.50/{name.removesuffix('.weight')}"].astype(bool)
        for norm in ("weight", "bias"):
            np.testing.assert_array_equal(mask.bits()[f"bn{name[4]}.{norm}"], kept)
