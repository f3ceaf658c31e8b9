"""A loss and the SGD that minimises it: what a method or a recipe is to the loop."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, Fraction, Index, NonNegative, Positive, UnitHalfOpen
from lacuna.models.modes import Precision, autocasts
from lacuna.training.state import LoopState

STREAMS = ("retain", "forget", "mixed")
Schedule = Literal["constant", "multistep", "cosine", "triangular"]
Execution = Literal["auto", "eager", "captured", "compiled"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A loss and the SGD that minimises it.

    epochs: passes over the stream.
    lr: learning rate after warm-up and before any decay.
    batch_size: samples.
    momentum: of SGD.
    weight_decay: of SGD, added at each step to the gradient of every parameter.
    schedule: constant; multistep, lr × gamma from each epoch in milestones on; cosine, to 0 at the last step;
    triangular, linearly from 0 to lr and back to 0, each step at the value of its middle.
    milestones: epochs, counted from 0.
    gamma: the factor at each milestone.
    peak: share of all steps after which triangular has reached lr.
    warmup_epochs: linear rise of lr from 0, step by step.
    precision: fp32 computes in single precision, on a GPU that has TF32 with convolutions in it, as PyTorch does;
    fp32_strict without; bf16 runs the forward pass in bfloat16 autocast (docs/results/memorising.md compares three
    seeds of either on a CPU); auto does so on a GPU that has it.
    execution: how a step runs on a GPU. captured: as one CUDA graph, where the loss reads the streams alone and the
    method has no hook per step; compiled: the forward pass by torch.compile; eager: kernel by kernel, as on a CPU
    always. auto is captured for runs of 50 steps or more. Whatever cannot run so is eager, with one line in the log.

    The parameters of `loss` name what it reads: the streams retain, forget and mixed, `epoch` (from 0), `work`.
    """

    epochs: Count = 10
    lr: Positive = 0.1
    batch_size: Count = 256
    momentum: UnitHalfOpen = 0.9
    weight_decay: NonNegative = 5e-4
    schedule: Schedule = "constant"
    milestones: tuple[Index, ...] = ()
    gamma: Positive = 0.1
    peak: Fraction = 0.2
    warmup_epochs: Index = 0
    precision: Precision = "fp32"
    execution: Execution = "auto"

    streams: ClassVar[tuple[str, ...]] = ()
    freezes_batchnorm: ClassVar[bool] = False
    _wants: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("loss", "losses"):
            if name in vars(cls):
                wanted = tuple(inspect.signature(vars(cls)[name]).parameters)[2:]
                cls.streams = tuple(p for p in wanted if p in STREAMS)
                cls._wants = wanted
                if unknown := set(wanted) - {*STREAMS, "epoch", "work"}:
                    raise TypeError(
                        f"{cls.__name__}.{name} wants {sorted(unknown)}; it may name {STREAMS}, epoch, work"
                    )

    loss: ClassVar[Callable[..., Tensor]]

    # ---- what a method may add to the loop; each does nothing unless a method says otherwise

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        """Before the first step: change the model or `work.mask`, fill `work.memory`; returns the data to train on.

        Must depend on its arguments and `work.seed` alone: a resumed run calls it again.
        """
        return data

    def trainable(self, model: nn.Module, work: LoopState) -> set[str] | None:
        """Names of the parameters that move (None: all); the others, and their batch norm, stay as they are."""
        return None

    def movable(self, model: nn.Module, data: UnlearningData, work: LoopState) -> dict[str, Tensor] | None:
        """Bool tensors by parameter name: entries that are false keep the value they have at the first step."""
        return None

    def plan(self, epoch: int, passes: dict[str, int]) -> list[tuple[str, ...]]:
        """The streams that each step of an epoch reads; passes: steps in one pass over each stream.

        The default reads every stream at every step, as long as the longest lasts; a shorter one starts over.
        """
        return [self.streams] * max(passes.values())

    def backward(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> Tensor:
        """Leave the gradient in the parameters; returns the loss that is shown. The default derives `loss` once."""
        loss: Tensor = self._call(self.loss, model, batches, work)
        loss.backward()
        return loss.detach()

    def after_step(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> None:
        """After the weights moved and the mask was enforced; weights changed here are masked again."""

    def after_epoch(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        """After the last step of an epoch."""

    def done(self, work: LoopState) -> bool:
        """After each epoch: true ends the run before its last one. Must depend on `work.tensors` alone."""
        return False

    def finish(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        """After the last epoch: a final edit of the model or of `work.mask`."""

    def _call(self, loss: Callable[..., Any], model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> Any:
        """`loss` with what its parameters name; a stream that this step does not read is None."""
        offered = {"epoch": work.epoch, "work": work, **dict.fromkeys(self.streams), **batches}
        half = autocasts(self.precision, work.device)
        with torch.autocast(work.device.type, torch.bfloat16, enabled=half):
            return loss(model, **{name: offered[name] for name in self._wants})

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted from 0 over the whole run."""
        epoch, total = step // steps_per_epoch, self.epochs * steps_per_epoch
        lr = self.lr
        if self.schedule == "multistep":
            lr *= self.gamma ** sum(m <= epoch for m in self.milestones)
        elif self.schedule == "cosine":
            lr *= 0.5 * (1 + math.cos(math.pi * step / total))
        elif self.schedule == "triangular":
            share = (step + 0.5) / total
            lr *= min(share / self.peak, (1 - share) / (1 - self.peak))
        return lr * min(1.0, (step + 1) / (self.warmup_epochs * steps_per_epoch)) if self.warmup_epochs else lr
