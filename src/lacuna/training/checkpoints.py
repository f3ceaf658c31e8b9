"""The state of an unfinished run on disk, and the signals that ask for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lacuna.artifacts.files import read_tensors, sha256_of_arrays, write_tensors
from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import values_of
from lacuna.models.inference import State, load_tensors, state_of
from lacuna.training.objective import Objective
from lacuna.training.sgd import Sgd
from lacuna.training.state import LoopState, TrainingResult

# what a checkpoint keeps of a TrainingResult, next to its snapshot
_PROGRESS = ("history", "seconds", "steps", "samples", "forwards", "backwards")


class Interrupted(LacunaError):
    """A signal asked the job to stop; the checkpoint is written."""

    def __init__(self, name: str, where: str):
        super().__init__(f"stopped by {name} {where}; run the same command to continue")


@dataclass(frozen=True)
class Checkpoint:
    """Where a long run keeps its state, and how often (seconds); the file is removed when the run is done."""

    path: Path
    every: float = 120.0


@contextlib.contextmanager
def signals(catch: bool) -> Iterator[list[str]]:
    """Collects the names of signals that ask to stop, so that the loop can finish its step first and keep its state.

    Without a place for the state (catch false), and outside the main thread, signals do what they always do.
    """
    caught: list[str] = []
    if not catch or threading.current_thread() is not threading.main_thread():
        yield caught
        return
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    before = {n: signal.signal(n, lambda number, _: caught.append(signal.Signals(number).name)) for n in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fingerprint(model: nn.Module, objective: Objective, data: UnlearningData, work: LoopState, start_epoch: int) -> str:
    """Names a run by all that decides its result: a checkpoint of any other run is not resumed."""
    parts = [
        type(objective).__name__,
        json.dumps(values_of(objective), sort_keys=True),
        sha256_of_arrays({k: v.numpy() for k, v in state_of(model).items()}),
        data.fingerprint(),
        work.mask.digest() if work.mask is not None else "no mask",
        f"{work.seed} {start_epoch}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def save(
    checkpoint: Checkpoint,
    fingerprint: str,
    model: nn.Module,
    optimizer: Sgd,
    run: TrainingResult,
    work: LoopState,
    loss_sum: Tensor,
) -> None:
    """Write all that a run needs to end with the same bits, in place of the last checkpoint; momentum and work too."""
    tensors = {f"model/{k}": v for k, v in state_of(model).items()}
    for name, parameter in model.named_parameters():
        if parameter in optimizer.momentum:
            tensors[f"momentum/{name}"] = optimizer.momentum[parameter].cpu()
    tensors |= {f"snapshot/{k}": v for k, v in (run.snapshot or {}).items()}
    tensors |= {f"work/{k}": v.detach().cpu() for k, v in work.tensors.items()}
    tensors["loss_sum"] = loss_sum.cpu()
    progress = {name: getattr(run, name) for name in _PROGRESS}
    write_tensors(
        checkpoint.path,
        "checkpoint",
        {k: v.numpy() for k, v in tensors.items()},
        fingerprint=fingerprint,
        progress=json.dumps(progress),
    )


def resume(
    checkpoint: Checkpoint, fingerprint: str, model: nn.Module, optimizer: Sgd, run: TrainingResult, work: LoopState
) -> float | None:
    """Load the state of the same run, if there is one; the loss of the unfinished epoch so far."""
    if not checkpoint.path.exists():
        return None
    try:
        arrays, metadata = read_tensors(checkpoint.path, "checkpoint")
    except LacunaError:
        return None  # an unusable checkpoint only costs time
    progress = json.loads(metadata.get("progress", "{}"))
    if metadata.get("fingerprint") != fingerprint or set(progress) != set(_PROGRESS):
        return None
    tensors = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}

    def under(prefix: str) -> State:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    load_tensors(model, under("model/"))
    parameters = dict(model.named_parameters())
    for name, momentum in under("momentum/").items():
        parameter = parameters[name]
        # the layout of the parameter, as the optimizer itself would have made it
        optimizer.momentum[parameter] = torch.empty_like(parameter, requires_grad=False).copy_(momentum)
    for name in _PROGRESS:
        setattr(run, name, progress[name])
    run.snapshot = under("snapshot/") or run.snapshot
    work.tensors = {k: v.to(work.device) for k, v in under("work/").items()}
    return float(tensors["loss_sum"])
