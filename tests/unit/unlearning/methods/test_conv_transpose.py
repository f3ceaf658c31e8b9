"""Transposed kernels."""

import pytest
import torch
from tiny import half, same, state
from torch import nn

from lacuna.errors import LacunaError
from lacuna.models.inference import copy_of
from lacuna.unlearning import unlearn
from lacuna.unlearning.methods.conv_transpose import transpose
from unit.unlearning.methods.edits import SOURCE, close, everything_of, run


def test_transposing_twice_is_the_identity(trained):
    model, mask = copy_of(trained), half(trained)
    mask.apply(model)
    before = state(model)
    once = transpose(model, mask)
    assert once != mask
    assert not same(state(model), before)
    once.check(model)
    assert transpose(model, once) == mask
    assert same(state(model), before)


def test_transposed_network_sees_transposed_images(trained):
    """f_Wᵀ(xᵀ) = f_W(x): every kernel was turned, and nothing else."""
    model = copy_of(trained).eval()
    x = everything_of(SOURCE, "forget")[0]
    with torch.no_grad():
        expected, plain = model(x), model(x.mT)
        assert transpose(model, None) is None
        close(model(x.mT), expected, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(plain, expected, atol=1e-3)


def test_transposed_mask_is_the_outcome(trained):
    mask = half(trained)
    outcome = run("conv_transpose", trained, mask=mask)
    for name in mask:
        assert torch.equal(outcome.mask[name], mask[name].transpose(2, 3))


def test_kernel_that_is_not_square_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    with pytest.raises(LacunaError, match=r"^conv_transpose: '0.weight' has a 1×3 kernel; allowed: square kernels$"):
        unlearn("conv_transpose", model, SOURCE)
