"""What methods ask of a network, whoever wrote it."""

from __future__ import annotations

from typing import Any

from torch import nn

from lacuna.errors import LacunaError


def classifier(model: nn.Module) -> tuple[str, nn.Linear]:
    """The classifier with its name: the last Linear layer of `model.classifier`, or without one of the whole network.

    Raises LacunaError if there is no Linear layer.
    """
    inside = getattr(model, "classifier", None)
    for part in (inside, model):
        if isinstance(part, nn.Module):
            layers = [module for module in part.modules() if isinstance(module, nn.Linear)]
            if layers:
                return next((name, m) for name, m in model.named_modules() if m is layers[-1])
    raise LacunaError(
        f"{type(model).__name__} has no classifier: it holds no Linear layer; allowed: a network with one"
    )


def weights(model: nn.Module, kinds: Any) -> dict[str, nn.Parameter]:
    """The weights of modules of these types, by the name that `named_parameters` has for them, in the network's order.

    A weight that several modules share is there once. One that is computed from other parameters (by a
    parametrization such as spectral norm) is no parameter, and not there.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    wanted = {module.weight for module in model.modules() if isinstance(module, kinds) and module.weight in names}
    return {name: parameter for parameter, name in names.items() if parameter in wanted}


def computed_weights(model: nn.Module, kinds: Any) -> list[str]:
    """The weights of modules of these types that are computed from other parameters, by module name."""
    own = {*model.parameters()}
    return [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, kinds) and module.weight not in own
    ]
