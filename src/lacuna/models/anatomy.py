"""What methods ask of a network, whoever wrote it."""

from __future__ import annotations

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
    raise LacunaError(f"{type(model).__name__} has no classifier: it holds no Linear layer")
