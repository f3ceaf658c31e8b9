"""The one training loop: steps, schedule, mask, checkpoint, progress. No method writes a loop of its own."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypedDict, Unpack

import torch
from torch import nn
from tqdm import tqdm

from lacuna.artifacts.writing import remove
from lacuna.data.batches import Draw, UnlearningData
from lacuna.errors import Diverged, LacunaError
from lacuna.models.inference import accuracy, answers_finite, state_of
from lacuna.models.modes import arithmetic, could_autocast, finished
from lacuna.randomness import derive, seeded
from lacuna.sparsity.mask import Mask
from lacuna.training.captured import own_stream
from lacuna.training.checkpoints import Checkpoint, Interrupted, fingerprint, resume, save, signals
from lacuna.training.counting import PassCounter
from lacuna.training.divergence import Look
from lacuna.training.objective import Objective
from lacuna.training.sgd import Sgd
from lacuna.training.state import LoopState, TrainingResult
from lacuna.training.steps import Steps

# seconds that are left from which a training is worth a hint
LONG = 600


class Options(TypedDict, total=False):
    """What a run may be told beside its seed and its mask; see `fit`."""

    start_epoch: int
    snapshot_epoch: int | None
    checkpoint: Checkpoint | None
    log: Callable[[str], None] | None
    name: str


def check_options(function: str, options: Options) -> None:
    """Raise TypeError for a keyword that `fit` does not have, as a call of any function does."""
    if other := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"{function}() got an unexpected keyword argument '{sorted(other)[0]}'")


def fit(
    model: nn.Module,
    objective: Objective,
    data: UnlearningData,
    *,
    seed: int,
    mask: Mask | None = None,
    **options: Unpack[Options],
) -> TrainingResult:
    """Minimise `objective` on `data`, in place, keeping masked weights and their momentum at exactly 0.

    seed: names the random stream of order and augmentation. start_epoch: epochs of the schedule already spent (0).
    snapshot_epoch: keep a copy of the state after this many epochs (None). log: gets one line per epoch (None).
    checkpoint: where an unfinished run keeps its state (None). name: of the run, in lines and errors ("training").
    Ends with the same bits whether or not it was interrupted and resumed from `checkpoint` (CPU).

    Raises LacunaError if the loss is no longer finite, if a weight or a logit is not or a masked weight is not 0 at the
    end, and for a batch of one sample that batch norm cannot normalise; with a checkpoint Interrupted after SIGTERM,
    SIGUSR1 or SIGINT, once it is written.
    """
    check_options("fit", options)
    device = next(model.parameters()).device
    noise, unwritten = seeded(derive(seed, "noise"), device), data.read_only(options.get("name", "training"))
    with unwritten, PassCounter(model) as counter, noise, arithmetic(objective.precision, device), own_stream(device):
        run = _Run(model, objective, data, LoopState(seed, device, data.classes, mask), counter, options)
        with run.bar, run.interruptible(), run.steps.forward():
            for epoch in run.epochs():
                for draws in run.draws(epoch):
                    run.take(draws)
                    run.save_if_due()
                run.close(epoch)
                if objective.done(run.work):
                    break
        return run.result()


class _Run:
    """A run of `fit` from its first step, or from the one after its checkpoint."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        data: UnlearningData,
        work: LoopState,
        counter: PassCounter,
        options: Options,
    ):
        self.clock = _Clock()
        self.hinted = False
        self.model, self.objective, self.work, self.counter = model, objective, work, counter
        self.start_epoch = options.get("start_epoch", 0)
        self.snapshot_epoch, self.checkpoint = options.get("snapshot_epoch"), options.get("checkpoint")
        self.log, self.name = options.get("log"), options.get("name", "training")
        # of the model as it came, before `begin`
        self.fingerprint = (
            "" if self.checkpoint is None else fingerprint(model, objective, data, work, self.start_epoch)
        )
        self.data = objective.begin(model, data, work)
        self.moving = objective.trainable(model, work)
        self.optimizer = self._optimizer()
        passes = {s: self.data.steps(s, objective.batch_size) for s in objective.streams}
        self.per_epoch = len(objective.plan(self.start_epoch, passes))
        self.plans = {epoch: objective.plan(epoch, passes) for epoch in range(self.start_epoch, objective.epochs)}
        self.fit = TrainingResult(precision=objective.precision)
        if self.snapshot_epoch == self.start_epoch:
            self.fit.snapshot = state_of(model)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=work.device)
        self.look = Look(work.device)
        self._resume()
        self.steps = Steps(model, objective, self.data, self.optimizer, work, self.name)
        self._take = self.steps.execution(counter, self.total)
        self.validates = len(self.data.parts.get("val", ())) > 0
        self.caught: list[str] = []
        shown = sys.stderr.isatty()
        self.bar = tqdm(
            total=self.total, initial=self.fit.steps, desc=self.name, unit="step", leave=False, disable=not shown
        )

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return sum(map(len, self.plans.values()))

    def _optimizer(self) -> Sgd:
        """SGD on the parameters that move, with masked entries at zero and frozen ones where they are."""
        parameters = [p for name, p in self.model.named_parameters() if self.moving is None or name in self.moving]
        optimizer = Sgd(parameters, self.objective.momentum, self.objective.weight_decay)
        if self.work.mask is not None:
            self.work.mask.apply(self.model)
            pairs = self.work.mask.pairs(self.model)
            optimizer.mask_to_zero([pair for pair in pairs if any(pair[0] is p for p in parameters)])
        named = dict(self.model.named_parameters())
        for name, movable in (self.objective.movable(self.model, self.data, self.work) or {}).items():
            optimizer.freeze(named[name], movable)
        return optimizer

    def _resume(self) -> None:
        """Go on from the checkpoint of the same run, if there is one."""
        if self.checkpoint is None:
            return
        loss = resume(self.checkpoint, self.fingerprint, self.model, self.optimizer, self.fit, self.work)
        if loss is None:
            return
        self.loss_sum += loss
        # what `begin` did is in the stored counts and seconds already
        self.counter.forwards, self.counter.backwards = self.fit.forwards, self.fit.backwards
        self.clock = _Clock(self.fit.seconds)
        self._say(f"continues after {self.fit.steps} of {self.total} steps")

    def _say(self, line: str) -> None:
        if self.log is not None:
            self.log(f"{self.name}: {line}")

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """With a checkpoint, signals wait until the step is done and its state is kept."""
        with signals(self.checkpoint is not None) as self.caught:
            yield

    def epochs(self) -> Iterator[int]:
        """The epochs that are left."""
        # a checkpoint after an epoch's last step has not closed that epoch yet: its row is still to be written
        for epoch in range(self.start_epoch + len(self.fit.history), self.objective.epochs):
            _train_mode(self.model, self.objective, self.moving)
            self.work.epoch = epoch
            self.steps.begin_epoch()
            yield epoch

    def draws(self, epoch: int) -> Iterator[Mapping[str, Draw]]:
        """What each step of an epoch reads that is not done yet; sets the step's rate and noise."""
        work, objective, plan = self.work, self.objective, self.plans[epoch]
        streams = {s: _cycle(self.data, s, objective.batch_size, work.seed, epoch) for s in objective.streams}
        done = self.fit.steps - sum(len(self.plans[e]) for e in range(self.start_epoch, epoch))
        for step, wanted in enumerate(plan):
            draws = {s: next(streams[s]) for s in wanted}
            if step < done:
                continue
            work.step = self.start_epoch * self.per_epoch + self.fit.steps
            # by the share of this epoch that is done: a plan may give epochs of unequal length
            work.lr = objective.lr_at(epoch * len(plan) + step, len(plan))
            work.noise = derive(work.seed, "noise", epoch, step)
            yield draws

    def take(self, draws: Mapping[str, Draw]) -> None:
        """One step: batches, gradient, weights, mask."""
        self.loss_sum += self._take(draws, self.work.lr)
        self.fit.steps += 1
        self.fit.samples += sum(len(d.index) for d in draws.values())
        self.bar.update()

    def save_if_due(self) -> None:
        """Keep the state if a signal or the time asks for it; raises Interrupted after a signal."""
        if self.checkpoint is not None and (self.caught or self.clock.since_mark() > self.checkpoint.every):
            self._cost()
            with self.clock.paused():
                save(
                    self.checkpoint,
                    self.fingerprint,
                    self.model,
                    self.optimizer,
                    self.fit,
                    self.work,
                    self.loss_sum,
                )
            self.clock.mark()
        if self.caught:
            raise Interrupted(self.caught[0], f"in epoch {self.work.epoch + 1} of {self.name}")
        if self.fit.steps % 50 == 0:
            self._refuse_divergence(self.look(self.loss_sum))

    def close(self, epoch: int) -> None:
        """The end of an epoch: its row of the history, its validation, its snapshot."""
        self.objective.after_epoch(self.model, self.data, self.work)
        self.look.forget()
        loss = float(self.loss_sum)  # here the host waits for the device
        self._refuse_divergence(loss)
        with self.clock.paused() as seconds:
            row = self._row(epoch, loss, seconds)
            self.fit.history.append(row)
            self.loss_sum.zero_()
            shown = f"loss {row['loss']:.4f}"
            if self.validates:
                shown += f", val accuracy {row['val_accuracy']:.2f} %"
            self.bar.set_postfix_str(f"epoch {epoch + 1}/{self.objective.epochs}, {shown}")
            self._say(f"epoch {epoch + 1}/{self.objective.epochs}, {shown}, {row['seconds']:.1f} s")
            self._hint(row["seconds"], epoch)
            if self.snapshot_epoch == epoch + 1:
                self.fit.snapshot = state_of(self.model)

    def _hint(self, seconds: float, epoch: int) -> None:
        """Of a long training on a CPU that has faster numbers, say so once; results differ, so the user decides."""
        left = seconds * (self.objective.epochs - epoch - 1)
        if not self.hinted and left > LONG and could_autocast(self.objective.precision, self.work.device):
            self.hinted = True
            self._say(
                f"about {left / 60:.0f} minutes to go; 'precision: bf16' takes about 0.7 times as long on this CPU, "
                "with other rounding (docs/results/memorising.md compares the results)"
            )

    def _row(self, epoch: int, loss: float, seconds: float) -> dict[str, float]:
        steps = len(self.plans[epoch])
        with self.counter.paused():
            validated = accuracy(self.model, self.data, "val") if self.validates else math.nan
        return {
            "epoch": epoch + 1,
            "lr": self.objective.lr_at((epoch + 1) * steps - 1, steps),
            "loss": loss / steps,
            "val_accuracy": validated,
            "seconds": seconds,
        }

    def result(self) -> TrainingResult:
        """The end of a run: the method's last edit, what it cost, and whether it holds."""
        self.optimizer.zero_grad()
        self.fit.execution, self.fit.why = self.steps.told()
        if self.fit.why:
            self._say(f"steps are {self.fit.execution} ({self.fit.why})")
        self.objective.finish(self.model, self.data, self.work)
        self._cost()
        self.fit.mask, self.fit.facts = self.work.mask, self.work.facts
        last = self.objective.epochs - 1
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            raise self._diverged(last, "a weight is not finite")
        with self.counter.paused():
            if not answers_finite(self.model, self.data):
                raise self._diverged(last, "a logit is not finite")
        if self.work.mask is not None:
            self.work.mask.check(self.model)
        if self.checkpoint is not None:
            remove(self.checkpoint.path)
        return self.fit

    def _cost(self) -> None:
        finished(self.work.device)
        self.fit.seconds = self.clock.seconds()
        self.fit.forwards, self.fit.backwards = self.counter.forwards, self.counter.backwards

    def _refuse_divergence(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise self._diverged(self.work.epoch, f"the loss is {loss}")

    def _diverged(self, epoch: int, sign: str) -> LacunaError:
        lr = f"{self.objective.lr:g}"
        return Diverged(
            f"{self.name}: diverged in epoch {epoch + 1} ({sign}) with lr {lr}; try a smaller lr or fewer epochs"
        )


class _Clock:
    """Seconds of the method alone: validation and checkpoints are not counted."""

    def __init__(self, before: float = 0.0):
        self.before, self.start, self.pauses = before, time.perf_counter(), 0.0
        self.mark()

    def seconds(self) -> float:
        """Since the first step of the run, over all its jobs."""
        return self.before + time.perf_counter() - self.start - self.pauses

    @contextlib.contextmanager
    def paused(self) -> Iterator[float]:
        """What happens inside is not counted; gives the seconds until then."""
        start, seconds = time.perf_counter(), self.seconds()
        try:
            yield seconds
        finally:
            self.pauses += time.perf_counter() - start

    def mark(self) -> None:
        """Start to count for the next checkpoint."""
        self.marked = time.perf_counter()

    def since_mark(self) -> float:
        """Seconds since the last checkpoint, or the start."""
        return time.perf_counter() - self.marked


def _cycle(data: UnlearningData, stream: str, batch_size: int, seed: int, epoch: int) -> Iterator[Draw]:
    """Draws of a stream without end: a stream shorter than the epoch starts over in a new order."""
    turn = 0
    while True:
        yield from data.draws(stream, batch_size, seed, epoch + 1_000_000 * turn)
        turn += 1


def _train_mode(model: nn.Module, objective: Objective, moving: set[str] | None) -> None:
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            still = moving is not None and not any(f"{name}.{p}" in moving for p, _ in module.named_parameters())
            if objective.freezes_batchnorm or still:
                module.eval()
