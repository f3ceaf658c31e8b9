"""Models to and from files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lacuna.artifacts.files import check_beside, read_tensors, write_tensors
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.inference import State, load_tensors


def new_model(entry: Mapping[str, Any], meta: Mapping[str, Any], device: torch.device) -> nn.Module:
    """The network of a grid entry (`method` and its options) for a dataset's classes and channels."""
    options = {k: v for k, v in entry.items() if k != "method"}
    network: nn.Module = build(MODELS[entry["method"]], options).build(meta["classes"], meta["shape"][0])
    return network.to(device)


def save_state(path: str | Path, state: State) -> None:
    """Write parameters and buffers; the same state gives the same bytes."""
    write_tensors(path, "model", {k: v.numpy() for k, v in state.items()})


def load_state(path: str | Path) -> State:
    """The state that `save_state` wrote. Raises LacunaError for an unusable file."""
    arrays, _ = read_tensors(path, "model")
    check_beside(path)
    return {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}


def load_into(model: nn.Module, path: str | Path) -> nn.Module:
    """The model with the stored state. Raises LacunaError if the file is unusable or of another architecture."""
    try:
        load_tensors(model, load_state(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise LacunaError(
            f"{path}: holds another architecture ({reason}); delete it and run the same command again"
        ) from None
    return model
