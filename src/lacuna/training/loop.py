"""The one training loop: steps, schedule, mask, checkpoint, progress. No method writes a loop of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lacuna.artifacts.files import read_tensors, sha256_of_arrays, write_tensors
from lacuna.artifacts.writing import remove
from lacuna.data.batches import Augment, Batch, Draw, UnlearningData
from lacuna.errors import Diverged, LacunaError
from lacuna.fields import Count, Fraction, Index, NonNegative, Positive, UnitHalfOpen, values_of
from lacuna.models.inference import State, accuracy, answers_finite, load_tensors, state_of
from lacuna.models.modes import Precision, arithmetic, autocasts
from lacuna.randomness import derive, seed_streams, seeded
from lacuna.registry import Registry, register
from lacuna.training.captured import Captured, Compiled, own_stream

if TYPE_CHECKING:
    from lacuna.sparsity.mask import Mask

RECIPES: Registry = Registry("lacuna.training", "recipe", str(Path(__file__).parent))
STREAMS = ("retain", "forget", "mixed")
# what a checkpoint keeps of a Fit, beside its snapshot
_PROGRESS = ("history", "seconds", "steps", "samples", "forwards", "backwards")
Execution = Literal["auto", "eager", "captured", "compiled"]
# runs of fewer steps end before a graph has paid for itself
_WORTH = 50
Schedule = Literal["constant", "multistep", "cosine", "triangular"]


@dataclass
class Work:
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
    fp32_strict without; bf16 runs the forward pass in bfloat16 autocast; auto does so on a GPU that has it.
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

    def begin(self, model: nn.Module, data: UnlearningData, work: Work) -> UnlearningData:
        """Before the first step: change the model or `work.mask`, fill `work.memory`; returns the data to train on.

        Must depend on its arguments and `work.seed` alone: a resumed run calls it again.
        """
        return data

    def trainable(self, model: nn.Module, work: Work) -> set[str] | None:
        """Names of the parameters that move (None: all); the others, and their batch norm, stay as they are."""
        return None

    def movable(self, model: nn.Module, data: UnlearningData, work: Work) -> dict[str, Tensor] | None:
        """Bool tensors by parameter name: entries that are false keep the value they have at the first step."""
        return None

    def plan(self, epoch: int, passes: dict[str, int]) -> list[tuple[str, ...]]:
        """The streams that each step of an epoch reads; passes: steps in one pass over each stream.

        The default reads every stream at every step, as long as the longest lasts; a shorter one starts over.
        """
        return [self.streams] * max(passes.values())

    def backward(self, model: nn.Module, batches: Mapping[str, Batch], work: Work) -> Tensor:
        """Leave the gradient in the parameters; returns the loss that is shown. The default derives `loss` once."""
        loss = self._call(self.loss, model, batches, work)
        loss.backward()
        return loss.detach()

    def after_step(self, model: nn.Module, batches: Mapping[str, Batch], work: Work) -> None:
        """After the weights moved and the mask was enforced; weights changed here are masked again."""

    def after_epoch(self, model: nn.Module, data: UnlearningData, work: Work) -> None:
        """After the last step of an epoch."""

    def done(self, work: Work) -> bool:
        """After each epoch: true ends the run before its last one. Must depend on `work.tensors` alone."""
        return False

    def finish(self, model: nn.Module, data: UnlearningData, work: Work) -> None:
        """After the last epoch: a final edit of the model or of `work.mask`."""

    def _call(self, loss: Callable[..., Any], model: nn.Module, batches: Mapping[str, Batch], work: Work) -> Any:
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


@register("sgd")
@dataclass(frozen=True, kw_only=True)
class Recipe(Objective):
    """Training from scratch with cross-entropy on the retained samples (all of them, for the original model).

    The defaults are the published CIFAR setting: lr 0.1, batch 256, 182 epochs, × 0.1 at 91 and 136, crop 4, flip.
    rewind_epoch: pruning restarts from the weights after this many epochs (0: the initialisation).
    crop: pixels of padding for random crops; flip: mirror half of the images. Both also serve every unlearner.
    """

    epochs: Count = 182
    schedule: Schedule = "multistep"
    milestones: tuple[Index, ...] = (91, 136)
    rewind_epoch: Index = 8
    crop: Index = 4
    flip: bool = True

    @property
    def augment(self) -> Augment:
        return Augment(self.crop, self.flip)

    def loss(self, model: nn.Module, retain: Batch) -> Tensor:
        return cross_entropy(model(retain.x), retain.y)


@register("standard")
@dataclass(frozen=True, kw_only=True)
class Standard(Recipe):
    """The published CIFAR setting by a name of its own: what `sgd` is without options."""


@register("fast")
@dataclass(frozen=True, kw_only=True)
class Fast(Recipe):
    """A tenth of the steps: large batches, a triangular learning rate, bfloat16 where the GPU has it; the same loss.

    Values of Page, "How to train your ResNet" (2018), for CIFAR-10, without its cutout, Nesterov momentum and network.
    """

    epochs: Count = 24
    lr: Positive = 0.4
    batch_size: Count = 512
    schedule: Schedule = "triangular"
    milestones: tuple[Index, ...] = ()
    peak: Fraction = 0.2
    precision: Precision = "auto"
    rewind_epoch: Index = 1


class Sgd:
    """SGD with momentum and weight decay: v ← μv + (g + wd·θ), θ ← θ − lr·v (v starts at the first gradient).

    Written out here because torch.optim loads the compiler when it is first used, which costs every short job
    more than its training; and because this is the place where a mask must hold.
    """

    def __init__(self, parameters: list[nn.Parameter], momentum: float, weight_decay: float):
        self.parameters, self.mu, self.weight_decay = parameters, momentum, weight_decay
        self.momentum: dict[Tensor, Tensor] = {}
        self._kept: list[tuple[nn.Parameter, Tensor]] = []
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []

    def keep(self, pairs: list[tuple[nn.Parameter, Tensor]]) -> None:
        """Hold the weights and their momentum at exactly 0 where the 0/1 mask of a pair is 0, after every step."""
        self._kept = pairs

    def hold(self, parameter: Tensor, movable: Tensor) -> None:
        """Hold the entries where the bool tensor is false at the value they have now, bit for bit, momentum at 0."""
        self._held.append((parameter, movable, parameter.detach().clone()))

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, lr: float | Tensor) -> None:
        """One step on the gradients in the parameters; lr as a tensor is read when the step runs, as a graph needs."""
        active: list[Tensor] = [p for p in self.parameters if p.grad is not None]
        if not active:
            return
        update = [p.grad for p in active if p.grad is not None]
        if self.weight_decay:
            update = list(torch._foreach_add(update, active, alpha=self.weight_decay))
        if self.mu:
            known = [(p, u) for p, u in zip(active, update, strict=True) if p in self.momentum]
            if known:
                velocities = [self.momentum[p] for p, _ in known]
                torch._foreach_mul_(velocities, self.mu)
                torch._foreach_add_(velocities, [u for _, u in known])
            for p, u in zip(active, update, strict=True):
                if p not in self.momentum:
                    self.momentum[p] = u.clone()
            update = [self.momentum[p] for p in active]
        if isinstance(lr, Tensor):
            torch._foreach_sub_(active, torch._foreach_mul(update, lr))
        else:
            torch._foreach_add_(active, update, alpha=-lr)
        self.enforce()

    @torch.no_grad()
    def enforce(self) -> None:
        """Put masked and held entries where they belong."""
        for parameter, movable, anchor in self._held:
            parameter.copy_(torch.where(movable, parameter, anchor))
            if parameter in self.momentum:
                self.momentum[parameter].mul_(movable)
        if self._kept:
            masks = [keep for _, keep in self._kept]
            torch._foreach_mul_([weight for weight, _ in self._kept], masks)
            moving = [(self.momentum[w], keep) for w, keep in self._kept if w in self.momentum]
            if moving:
                torch._foreach_mul_([v for v, _ in moving], [keep for _, keep in moving])


class Passes:
    """Counts what goes through a network and back while it is open, its copies (teachers) included.

    samples: rows of the forward passes. A backward pass is a gradient that arrives at an output: one forward pass from
    which two losses are derived apart counts two.
    Each pass gets images of its own: a network that writes into its input changes nobody else's, nor its next pass's.
    """

    def __init__(self, model: nn.Module):
        self.forwards = self.backwards = self.samples = 0
        self.open = True
        self._handles = [model.register_forward_pre_hook(self._own), model.register_forward_hook(self)]

    def _own(self, model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return tuple(x.clone() if isinstance(x, Tensor) else x for x in given) if self.open else None

    def __call__(self, model: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if self.open:
            self.forwards += 1
            # under vmap one tensor stands for as many as there are samples
            self.samples += len(given[0]) * (_all(given[0]).numel() // max(1, given[0].numel()))
            if isinstance(output, Tensor) and _all(output).requires_grad:
                _all(output).register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self.backwards += self.open

    def __deepcopy__(self, memo: dict[int, Any]) -> Passes:
        return self  # a copy of the network counts with it

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not counted."""
        self.open = False
        try:
            yield
        finally:
            self.open = True

    def __enter__(self) -> Passes:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self.open = False


def _all(x: Tensor) -> Tensor:
    while torch._C._functorch.is_batchedtensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x


class Interrupted(LacunaError):
    """A signal asked the job to stop; the checkpoint is written."""

    def __init__(self, name: str, where: str):
        super().__init__(f"stopped by {name} {where}; the same command continues from there")


@dataclass(frozen=True)
class Checkpoint:
    """Where a long run keeps its state, and how often (seconds); the file is removed when the run is done."""

    path: Path
    every: float = 120.0


@dataclass
class Fit:
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


def fit(
    model: nn.Module,
    objective: Objective,
    data: UnlearningData,
    *,
    seed: int,
    mask: Mask | None = None,
    start_epoch: int = 0,
    snapshot_epoch: int | None = None,
    checkpoint: Checkpoint | None = None,
    log: Callable[[str], None] | None = None,
    name: str = "training",
) -> Fit:
    """Minimise `objective` on `data`, in place, keeping masked weights and their momentum at exactly 0.

    seed: names the random stream of order and augmentation. start_epoch: epochs of the schedule already spent.
    snapshot_epoch: keep a copy of the state after this many epochs. log: gets one line per epoch.
    Ends with the same bits whether or not it was interrupted and resumed from `checkpoint` (CPU).

    Raises LacunaError if the loss is no longer finite, if a weight or a logit is not or a masked weight is not 0 at the
    end, and for a batch of one sample that batch norm cannot normalise; with a checkpoint Interrupted after SIGTERM,
    SIGUSR1 or SIGINT, once it is written.
    """
    device = next(model.parameters()).device
    rules, noise = arithmetic(objective.precision, device), seeded(derive(seed, "noise"), device)
    with Passes(model) as passes_made, noise, rules, own_stream(device):
        return _fit(model, objective, data, passes_made, seed, mask, start_epoch, snapshot_epoch, checkpoint, log, name)


def _fit(
    model: nn.Module,
    objective: Objective,
    data: UnlearningData,
    passes_made: Passes,
    seed: int,
    mask: Mask | None,
    start_epoch: int,
    snapshot_epoch: int | None,
    checkpoint: Checkpoint | None,
    log: Callable[[str], None] | None,
    name: str,
) -> Fit:
    clock = saved_at = time.perf_counter()
    paused = 0.0  # seconds spent on what is not the method: validation, checkpoints
    first = next(model.parameters())
    work = Work(seed, first.device, data.classes, mask)
    fingerprint = "" if checkpoint is None else _fingerprint(model, objective, data, seed, start_epoch, mask)
    data = objective.begin(model, data, work)
    moving = objective.trainable(model, work)
    parameters = [p for name, p in model.named_parameters() if moving is None or name in moving]
    optimizer = Sgd(parameters, objective.momentum, objective.weight_decay)
    if work.mask is not None:
        work.mask.apply(model)
        optimizer.keep([pair for pair in work.mask.pairs(model) if any(pair[0] is p for p in parameters)])
    named = dict(model.named_parameters())
    for name_of, movable in (objective.movable(model, data, work) or {}).items():
        optimizer.hold(named[name_of], movable)

    passes = {s: data.steps(s, objective.batch_size) for s in objective.streams}
    per_epoch = len(objective.plan(start_epoch, passes))
    plans = [objective.plan(epoch, passes) for epoch in range(start_epoch, objective.epochs)]
    run = Fit(precision=objective.precision, snapshot=state_of(model) if snapshot_epoch == start_epoch else None)
    loss_sum = torch.zeros((), dtype=torch.float64, device=work.device)
    look = Look(work.device)
    resumed = None if checkpoint is None else _resume(checkpoint, fingerprint, model, optimizer, run, work)
    total = sum(map(len, plans))
    if resumed is not None:
        loss_sum += resumed
        # what `begin` did is in the stored counts and seconds already
        passes_made.forwards, passes_made.backwards = run.forwards, run.backwards
        clock = time.perf_counter()
        _say(log, f"{name}: continues after {run.steps} of {total} steps")
    done_before = run.seconds

    validate = "val" in data.parts and len(data.parts["val"]) > 0
    steps = _Steps(model, objective, data, optimizer, work, name)
    take = steps.execution(passes_made, total - run.steps)
    # a checkpoint after an epoch's last step has not closed that epoch yet: its row is still to be written
    first_epoch = start_epoch + len(run.history)
    skip = run.steps - sum(len(plan) for plan in plans[: len(run.history)])
    bar = tqdm(total=total, initial=run.steps, desc=name, unit="step", leave=False, disable=not sys.stderr.isatty())
    with bar, _signals(checkpoint is not None) as caught, steps.forward():
        for epoch in range(first_epoch, objective.epochs):
            _train_mode(model, objective, moving)
            work.epoch = epoch
            streams = {s: _cycle(data, s, objective.batch_size, seed, epoch) for s in objective.streams}
            plan = plans[epoch - start_epoch]
            for step, wanted in enumerate(plan):
                draws = {s: next(streams[s]) for s in wanted}
                if step < skip:
                    continue
                work.step = start_epoch * per_epoch + run.steps
                # by the share of this epoch that is done: a plan may give epochs of unequal length
                work.lr = objective.lr_at(epoch * len(plan) + step, len(plan))
                work.noise = derive(seed, "noise", epoch, step)
                loss_sum += take(draws, work.lr)
                run.steps += 1
                run.samples += sum(len(d.index) for d in draws.values())
                bar.update()
                now = time.perf_counter()
                if checkpoint is not None and (caught or now - saved_at > checkpoint.every):
                    run.seconds = done_before + now - clock - paused
                    run.forwards, run.backwards = passes_made.forwards, passes_made.backwards
                    _save(checkpoint, fingerprint, model, optimizer, run, work, loss_sum)
                    saved_at = time.perf_counter()
                    paused += saved_at - now
                if caught:
                    raise Interrupted(caught[0], f"in epoch {epoch + 1} of {name}")
                if run.steps % 50 == 0:
                    _refuse_divergence(look(loss_sum), name, epoch, objective)
            skip = 0
            objective.after_epoch(model, data, work)
            look.forget()
            loss = float(loss_sum)  # here the host waits for the device
            _refuse_divergence(loss, name, epoch, objective)
            now = time.perf_counter()
            with passes_made.paused():
                val_accuracy = accuracy(model, data, "val") if validate else math.nan
            row = {
                "epoch": epoch + 1,
                "lr": objective.lr_at((epoch + 1) * len(plan) - 1, len(plan)),
                "loss": loss / len(plan),
                "val_accuracy": val_accuracy,
                "seconds": done_before + now - clock - paused,
            }
            run.history.append(row)
            loss_sum.zero_()
            shown = f"loss {row['loss']:.4f}" + (f", val accuracy {row['val_accuracy']:.2f} %" if validate else "")
            bar.set_postfix_str(f"epoch {epoch + 1}/{objective.epochs}, {shown}")
            _say(log, f"{name}: epoch {epoch + 1}/{objective.epochs}, {shown}, {row['seconds']:.1f} s")
            if snapshot_epoch == epoch + 1:
                run.snapshot = state_of(model)
            paused += time.perf_counter() - now
            if objective.done(work):
                break
    optimizer.zero_grad()
    run.execution, run.why = steps.told()
    if run.why:
        _say(log, f"{name}: steps are {run.execution} ({run.why})")
    objective.finish(model, data, work)
    run.seconds = done_before + time.perf_counter() - clock - paused
    run.forwards, run.backwards = passes_made.forwards, passes_made.backwards
    run.mask, run.facts = work.mask, work.facts
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        raise _diverged(name, objective.epochs - 1, objective, "a weight is not finite")
    with passes_made.paused():
        if not answers_finite(model, data):
            raise _diverged(name, objective.epochs - 1, objective, "a logit is not finite")
    if work.mask is not None:
        work.mask.check(model)
    if checkpoint is not None:
        remove(checkpoint.path)
    return run


class Look:
    """The sum of losses every so often. A GPU's is the one of the look before, so that nothing waits for the device."""

    def __init__(self, device: torch.device):
        self.host = torch.zeros((), dtype=torch.float64, pin_memory=True) if device.type == "cuda" else None
        self.copied: torch.cuda.Event | None = None

    def __call__(self, loss_sum: Tensor) -> float:
        if self.host is None:
            return float(loss_sum)
        value = 0.0
        if self.copied is not None:
            self.copied.synchronize()
            value = float(self.host)
        self.host.copy_(loss_sum, non_blocking=True)
        self.copied = torch.cuda.Event()
        self.copied.record()
        return value

    def forget(self) -> None:
        """The sum starts anew."""
        self.copied = None


def seed_noise(work: Work) -> None:
    """What the network draws by itself (dropout) starts as at the beginning of the step."""
    seed_streams(work.noise, work.device)


def _cycle(data: UnlearningData, stream: str, batch_size: int, seed: int, epoch: int) -> Iterator[Draw]:
    """Draws of a stream without end: a stream shorter than the epoch starts over in a new order."""
    turn = 0
    while True:
        yield from data.draws(stream, batch_size, seed, epoch + 1_000_000 * turn)
        turn += 1


class _Steps:
    """The step of a run, and how it is executed."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        data: UnlearningData,
        optimizer: Sgd,
        work: Work,
        name: str,
    ):
        self.model, self.objective, self.data = model, objective, data
        self.optimizer, self.work, self.name = optimizer, work, name
        self.dtype = next(model.parameters()).dtype
        self.generators = {s: torch.Generator(data.device) for s in objective.streams}
        self.hooked = type(objective).after_step is not Objective.after_step
        self.captured: Captured | None = None
        self.compiled: Compiled | None = None
        self.why = ""

    def execution(self, passes: Passes, steps: int) -> Callable[[Mapping[str, Draw], float], Tensor]:
        """The function that takes a step; steps: how many there will be."""
        asked = self.objective.execution
        if self._on_gpu():  # kernels are tried where their shapes come again
            torch.backends.cudnn.benchmark = steps >= _WORTH
        if asked in ("eager", "compiled") or (asked == "auto" and not self._on_gpu()):
            return self._eager
        if reason := self._reason(steps):
            self.why = reason
            return self._eager
        exact = not autocasts(self.objective.precision, self.work.device)
        self.captured = Captured(
            self.model,
            self._body,
            lambda: seed_noise(self.work),
            self.generators,
            self._state,
            passes,
            0.01 if exact else 0.1,
        )
        return self.captured.take

    def _on_gpu(self) -> bool:
        return self.work.device.type == "cuda"

    def _reason(self, steps: int) -> str:
        """Why no graph can hold this step; empty if one may."""
        method = type(self.objective)
        if not self._on_gpu():
            return "there is no CUDA graph on a CPU"
        if method.backward is not Objective.backward:
            return "the method derives its loss itself"
        if self.hooked:
            return "the method has a hook after each step"
        if other := [name for name in method._wants if name not in STREAMS]:
            return f"the loss reads {' and '.join(other)}, which a graph would keep as at its capture"
        if steps < _WORTH and self.objective.execution == "auto":
            return f"fewer than {_WORTH} steps"
        images = self.data.images
        if not isinstance(getattr(images, "images", images), Tensor):
            return "the images come from the host"
        return ""

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """The network's forward pass, compiled if that is asked for."""
        if self.objective.execution != "compiled":
            yield
            return
        with Compiled(self.model) as self.compiled:
            yield

    def told(self) -> tuple[str, str]:
        """How the steps ran, and why not as asked for."""
        if self.compiled is not None:
            return ("eager", self.compiled.refused) if self.compiled.refused else ("compiled", "")
        if self.captured is None:
            return "eager", self.why
        return ("captured" if self.captured.replays else "eager"), self.captured.refused or ""

    def _eager(self, draws: Mapping[str, Draw], lr: float) -> Tensor:
        for stream, draw in draws.items():
            self.generators[stream].manual_seed(draw.seed)
        seed_noise(self.work)
        return self._body(draws, lr)

    def _body(self, draws: Mapping[str, Draw], lr: float | Tensor) -> Tensor:
        """Batches, loss, gradient, weights; what draws starts at the step's own streams."""
        batches = {s: self.data.assembled(d, self.dtype, self.generators[s]) for s, d in draws.items()}
        self.optimizer.zero_grad()
        with _named_single_samples(self.objective, batches, self.name):
            loss = self.objective.backward(self.model, batches, self.work)
        self.optimizer.step(lr)
        if self.hooked:
            self.objective.after_step(self.model, batches, self.work)
            self.optimizer.enforce()
        return loss

    def _state(self) -> list[Tensor]:
        parameters = [p.data for p in self.model.parameters()]
        return [*parameters, *self.model.buffers(), *self.optimizer.momentum.values()]


def _train_mode(model: nn.Module, objective: Objective, moving: set[str] | None) -> None:
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            still = moving is not None and not any(f"{name}.{p}" in moving for p, _ in module.named_parameters())
            if objective.freezes_batchnorm or still:
                module.eval()


@contextlib.contextmanager
def _named_single_samples(objective: Objective, batches: Mapping[str, Batch], name: str) -> Iterator[None]:
    """Batch norm cannot normalise one sample on maps of 1×1: said by the key that helps."""
    try:
        yield
    except ValueError as error:
        alone = [stream for stream, batch in batches.items() if len(batch.y) == 1]
        if not alone or "more than 1 value per channel" not in str(error):
            raise
        why = f"batch_size is {objective.batch_size}" if objective.batch_size == 1 else f"'{alone[0]}' has one sample"
        frozen = "batchnorm: frozen, or " if any(f.name == "batchnorm" for f in dataclasses.fields(objective)) else ""
        raise LacunaError(
            f"{name}: {why}, and batch norm in training has no variance of one sample where its maps are 1×1; "
            f"allowed: {frozen}batches of at least 2 samples"
        ) from None


def _say(log: Callable[[str], None] | None, line: str) -> None:
    if log is not None:
        log(line)


def diverged(name: str, what: str) -> LacunaError:
    """The error of a run that turned out to have diverged; what: the sign of it."""
    return Diverged(f"{name}: diverged ({what}); try a smaller lr or fewer epochs")


def _diverged(name: str, epoch: int, objective: Objective, what: str) -> LacunaError:
    return Diverged(
        f"{name}: diverged in epoch {epoch + 1} ({what}) with lr {objective.lr:g}; try a smaller lr or fewer epochs"
    )


def _refuse_divergence(value: float, name: str, epoch: int, objective: Objective) -> None:
    if not math.isfinite(value):
        raise _diverged(name, epoch, objective, f"the loss is {value}")


@contextlib.contextmanager
def _signals(catch: bool) -> Iterator[list[str]]:
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


def _fingerprint(
    model: nn.Module, objective: Objective, data: UnlearningData, seed: int, start_epoch: int, mask: Mask | None
) -> str:
    """Names a run by all that decides its result: a checkpoint of any other run is not resumed."""
    parts = [
        type(objective).__name__,
        json.dumps(values_of(objective), sort_keys=True),
        sha256_of_arrays({k: v.numpy() for k, v in state_of(model).items()}),
        data.fingerprint(),
        mask.digest() if mask is not None else "no mask",
        f"{seed} {start_epoch}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _save(
    checkpoint: Checkpoint,
    fingerprint: str,
    model: nn.Module,
    optimizer: Sgd,
    run: Fit,
    work: Work,
    loss_sum: Tensor,
) -> None:
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


def _resume(
    checkpoint: Checkpoint, fingerprint: str, model: nn.Module, optimizer: Sgd, run: Fit, work: Work
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
