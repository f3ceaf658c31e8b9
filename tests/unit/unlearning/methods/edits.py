"""What the tests of the methods that edit before they train share."""

import numpy as np
import torch
from tiny import data

from lacuna.training.state import LoopState
from lacuna.unlearning import unlearn

SOURCE = data()
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.05}
# methods with their options; the settings that change which code runs stand apart
METHODS = {
    "boundary_expand": ("boundary_expand", {}),
    "boundary_shrink": ("boundary_shrink", {}),
    "unsir": ("unsir", {"noise_samples": 8, "noise_steps": 5, "retain_per_class": 9}),
    "msg": ("msg", {}),
    "msg-global": ("msg", {"scope": "global"}),
    "conv_transpose": ("conv_transpose", {}),
    "prmq": ("prmq", {}),
    "salun": ("salun", {}),
    "salun-mixed": ("salun", {"order": "mixed", "exclude_true": True}),
    "salun_soft": ("salun_soft", {}),
    "salun_soft-penalty": ("salun_soft", {"penalty": 0.01}),
    "sfr_on": ("sfr_on", {}),
    "sfr_on-slow": ("sfr_on", {"slow": 0.5, "every": 2}),
}


def run(case, model, source=SOURCE, **more):
    method, options = METHODS[case]
    return unlearn(method, model, source, **(QUICK | options | more))


def working(model, mask=None, seed=0):
    return LoopState(seed=seed, device=torch.device("cpu"), classes=3, mask=mask)


def one_batch(source, part, dtype=torch.float64, epoch=0):
    return next(source.train_batches(part, 1000, 0, epoch, dtype))


def close(found, expected, rtol=1e-7, atol=0.0, msg=""):
    """As torch.testing.assert_close, which takes seconds to load."""
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=rtol, atol=atol, err_msg=msg)


def everything_of(source, part):
    return next(source.plain_batches(part, 1000, torch.float64))
