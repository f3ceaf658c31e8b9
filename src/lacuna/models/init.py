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
            "a model to be trained anew needs one; allowed: that method in this class or in one around it"
        )
    for child in module.children():
        _reset(child)


@torch.no_grad()
def check_initialisation(model: nn.Module) -> None:
    """Raise LacunaError unless `reinitialise` draws every parameter anew; leaves the model newly initialised."""
    for parameter in model.parameters():
        parameter.fill_(torch.nan)
    reinitialise(model, 0)
    if kept := [name for name, parameter in model.named_parameters() if bool(parameter.isnan().any())]:
        raise LacunaError(
            f"{type(model).__name__}.reset_parameters leaves '{kept[0]}' as it is; allowed: a method that draws every "
            "parameter below it anew"
        )


def he_initialisation(network: nn.Module) -> None:
    """He initialisation of convolutions (fan out), batch norm at the identity, PyTorch's default for Linear layers."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d | nn.Linear):
            module.reset_parameters()
