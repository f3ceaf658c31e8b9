"""Initialisation from a named random stream."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from lacuna.errors import LacunaError
from lacuna.randomness import seeded


def reinitialise(model: nn.Module, seed: int) -> None:
    """Draw every parameter again, in place, from `seed` alone, be it with PyTorch, NumPy or Python's `random`.

    Their global random states are left as they were.
    A module that defines `reset_parameters` does it for itself and all below it.
    Raises LacunaError for a module that has parameters but no such method: it would keep what it has learned.
    """
    device = next(model.parameters()).device
    model.cpu()
    with seeded(seed):
        # always drawn on the CPU, so that every device starts from the same numbers
        _reset(model)
    model.to(device)


def _reset(module: nn.Module) -> None:
    if is_parametrized(module):
        _reset_parametrized(module)
    elif callable(reset := getattr(module, "reset_parameters", None)):
        reset()
    elif callable(reset := _of_torch(module)):
        # of its own parameters alone, so after those below it
        for child in module.children():
            _reset(child)
        reset()
    elif own := [name for name, _ in module.named_parameters(recurse=False)]:
        raise LacunaError(
            f"{type(module).__name__} has parameters of its own ({', '.join(own)}) but no reset_parameters method; "
            "a model to be trained anew needs one; allowed: that method in this class or in one around it"
        )
    else:
        for child in module.children():
            _reset(child)


def _of_torch(module: nn.Module) -> Any:
    """The method of torch's own attention and transformers: they have it under a name with an underscore."""
    if type(module).__module__.startswith("torch.nn.modules."):
        return getattr(module, "_reset_parameters", None)
    return None


@torch.no_grad()
def _reset_parametrized(module: Any) -> None:
    """A module with tensors that are computed from others (spectral norm): drawn as without, then taken apart again."""
    parametrizations = module.parametrizations
    shapes = copy.deepcopy(module).eval()
    for parameter in shapes.parameters():
        parameter.zero_()
    # the class of such a module is its own, and a copy shares it: so the plain one is put together by hand
    kind: Any = type(module).__bases__[0]
    plain = kind.__new__(kind)
    plain.__dict__.update(module.__dict__)
    plain._modules = {name: copy.deepcopy(m) for name, m in module._modules.items() if name != "parametrizations"}
    own = {name: p for name, p in module._parameters.items() if p is not None}
    own |= {name: getattr(shapes, name) for name in parametrizations}
    plain._parameters = dict(module._parameters)
    plain._parameters |= {name: nn.Parameter(torch.full_like(value, torch.nan)) for name, value in own.items()}
    _reset(plain)
    for name, value in plain.named_parameters():
        if name not in parametrizations:
            module.get_parameter(name).copy_(value)
            continue
        try:
            setattr(module, name, value.detach())
        except (NotImplementedError, RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise LacunaError(
                f"the parametrization {type(parametrizations[name][-1]).__name__} of '{name}' cannot take a value that "
                f"is drawn anew ({reason}); allowed: one with a right_inverse"
            ) from None


@torch.no_grad()
def check_initialisation(model: nn.Module) -> None:
    """Raise LacunaError unless `reinitialise` draws every parameter anew, and the same from the same seed.

    Leaves the model newly initialised.
    """
    for parameter in model.parameters():
        parameter.fill_(torch.nan)
    reinitialise(model, 0)
    if unset := [name for name, parameter in model.named_parameters() if bool(parameter.isnan().any())]:
        raise LacunaError(
            f"{type(_resetting(model, unset[0])).__name__}.reset_parameters leaves '{unset[0]}' as it is; allowed: a "
            "method that draws every parameter below it anew"
        )
    first = {name: parameter.clone() for name, parameter in model.named_parameters()}
    reinitialise(model, 0)
    if other := [name for name, parameter in model.named_parameters() if not torch.equal(parameter, first[name])]:
        raise LacunaError(
            f"{type(_resetting(model, other[0])).__name__}.reset_parameters draws '{other[0]}' differently from the "
            "same seed; allowed: a method that draws from the global streams of torch, NumPy or Python's random"
        )


def _resetting(model: nn.Module, parameter: str) -> nn.Module:
    """The outermost module around a parameter that initialises itself and all below it."""
    *path, _ = parameter.split(".")
    inside = [model.get_submodule(".".join(path[:depth])) for depth in range(len(path) + 1)]
    return next((module for module in inside if callable(getattr(module, "reset_parameters", None))), inside[-1])


def he_initialisation(network: nn.Module) -> None:
    """He initialisation of convolutions (fan out), batch norm at the identity, PyTorch's default for Linear layers."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d | nn.Linear):
            module.reset_parameters()
