"""What a run carries from step to step, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lacuna.models.inference import State
from lacuna.models.modes import Precision
from lacuna.randomness import seed_streams
from lacuna.sparsity.mask import Mask


@dataclass
class LoopState:
    """What a run carries from step to step.

    memory: whatever `begin` made (a teacher, a saliency mask). tensors: state that changes from step to step and
    must survive an interruption. epoch, step: counted from 0 over the whole schedule; lr: of the present step; noise:
    the seed of what the network draws by itself in it.
    facts: numbers about the run, set in `finish`, for whoever reads its result.
    """

    seed: int
    device: torch.device
    classes: int
    mask: Mask | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    tensors: State = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    epoch: int = 0
    step: int = 0
    lr: float = 0.0
    noise: int = 0


@dataclass
class TrainingResult:
    """What a run did: one history row per epoch, seconds of the method alone, steps and samples seen, snapshot.

    forwards, backwards: passes through the network and its copies; validation is not counted.
    mask: the mask at the end (a method may have changed it). facts: numbers that the method tells of the run.
    network: what ran, if it was the given model without its removed filters.
    execution: how the steps ran: eager, captured or compiled; why: the reason where it is not what was asked for.
    precision: of the method.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 0
    samples: int = 0
    forwards: int = 0
    backwards: int = 0
    snapshot: State | None = None
    mask: Mask | None = None
    facts: dict[str, float] = field(default_factory=dict)
    network: nn.Module | None = None
    execution: str = "eager"
    why: str = ""
    precision: Precision = "fp32"

    def add(self, cost: Mapping[str, float]) -> None:
        """Count an earlier run too that this one needed: its seconds, steps, samples, forwards and backwards."""
        self.seconds += cost["seconds"]
        self.steps += int(cost["steps"])
        self.samples += int(cost["samples"])
        self.forwards += int(cost["forwards"])
        self.backwards += int(cost["backwards"])


def seed_noise(work: LoopState) -> None:
    """What the network draws by itself (dropout) starts as at the beginning of the step."""
    seed_streams(work.noise, work.device)
