"""A network's state and copies of it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def state_of(model: nn.Module) -> State:
    """A copy of parameters and buffers on the CPU, contiguous, by name."""
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}


def load_tensors(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state into the model, in place; raises RuntimeError where it does not fit.

    A state from a file is tensors alone, but modules tell its form by the versions that the model's own carries.
    """
    given = OrderedDict(state)
    given._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(given)


def copy_of(model: nn.Module) -> nn.Module:
    """A model that shares nothing with the given one."""
    return copy.deepcopy(model)
