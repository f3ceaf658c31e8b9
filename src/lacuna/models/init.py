"""Initialisation from a named random stream."""

from __future__ import annotations

import torch
from torch import nn

from lacuna.errors import LacunaError


def reinitialise(model: nn.Module, seed: int) -> None:
    """Draw every parameter again, in place, from `seed` alone; the global random state is left as it was.

    A module that defines `reset_parameters` does it for itself and all below it.
    Raises LacunaError for a module that has parameters but no such method: it would keep what it has learned.
    """
    device = next(model.parameters()).device
    model.cpu()
    with torch.random.fork_rng(devices=[]):
        # always drawn on the CPU, so that every device starts from the same numbers
        torch.manual_seed(seed)
        _reset(model)
    model.to(device)


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    if own := [name for name, _ in module.named_parameters(recurse=False)]:
        raise LacunaError(
            f"{type(module).__name__} has parameters of its own ({', '.join(own)}) but no reset_parameters method; "
            "a model to be trained anew needs one"
        )
    for child in module.children():
        _reset(child)
