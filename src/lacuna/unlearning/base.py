"""The two kinds of unlearner, and what running one means."""

from __future__ import annotations

import dataclasses
import importlib
import math
import reprlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import Diverged, LacunaError, one_line
from lacuna.fields import build
from lacuna.models.inference import answers_finite, copy_of
from lacuna.models.modes import evaluating, finished
from lacuna.randomness import derive, seeded
from lacuna.registry import register as register
from lacuna.sparsity.mask import Mask
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.counting import PassCounter
from lacuna.training.loop import fit
from lacuna.training.objective import Objective
from lacuna.training.starting_point import StartingPoint
from lacuna.training.state import TrainingResult

BatchNorm = Literal["train", "frozen"]


@dataclass
class RunOptions:
    """What a method is given beside model and data; see `unlearn` for the meaning of each."""

    mask: Mask | None = None
    compact: bool = False
    seed: int = 0
    checkpoint: Checkpoint | None = None
    log: Callable[[str], None] | None = None
    name: str = "unlearning"
    pruner: Any = None
    sparsity: str | float | None = None
    origin: StartingPoint | None = None
    # the names of the hyper-parameters that the caller gave, defaults or not
    asked: frozenset[str] = frozenset()


@dataclass
class Unlearned:
    """The unlearned model, its mask, and what the run did; origin: where an oracle of its own came from."""

    model: nn.Module
    mask: Mask | None
    fit: TrainingResult = field(default_factory=TrainingResult)
    origin: StartingPoint | None = None

    def __repr__(self) -> str:
        mask = "no mask" if self.mask is None else f"a mask of sparsity {self.mask.sparsity:.4g}"
        size = sum(p.numel() for p in self.model.parameters())
        run = f"{self.fit.steps} steps, {self.fit.samples} samples, {self.fit.seconds:.3g} s"
        return f"Unlearned({type(self.model).__name__} of {size} parameters, {mask}; {run})"


class Unlearner:
    """A method with its hyper-parameters as dataclass fields; a subclass of one of the two kinds below.

    oracle: true for a model that the others are compared with. It follows the recipe, but for the fields `own`.
    scenarios: the scenario methods that it can work on; None means any.
    searched: the fields that tuning searches; None means those that `tuning.space_of` takes by their kinds.
    capped: a field and a value of `variant` with which the method can change nothing once the field times D_f's share
    of the training data is 1 or more; None: there is no such bound.
    keeps: true for the method that returns the model as it is.
    """

    name: ClassVar[str]
    oracle: ClassVar[bool] = False
    own: ClassVar[tuple[str, ...]] = ()
    scenarios: ClassVar[tuple[str, ...] | None] = None
    searched: ClassVar[tuple[str, ...] | None] = None
    capped: ClassVar[tuple[str, str] | None] = None
    keeps: ClassVar[bool] = False

    def check(self, model: nn.Module) -> None:
        """Raise LacunaError unless this method can work on such a network.

        Looks at names and shapes alone: the weights may be on the meta device. Asked of every model of a grid before
        the first job, and at the start of every run.
        """

    def prepare(self, model: nn.Module, run: RunOptions) -> None:
        """What must be done to the whole network, in place, before filters are taken out of it."""

    def run(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> Unlearned:
        raise NotImplementedError

    def describe(self, facts: Mapping[str, float]) -> str:
        """The method's own facts of a run in words, for the log; the default lists names and values."""
        return ", ".join(f"{name.replace('_', ' ')} {value:.6g}" for name, value in facts.items())


@dataclass(frozen=True, kw_only=True)
class LossUnlearner(Objective, Unlearner):
    """Gradient steps on a loss; the shared loop calls `loss` once per step and owns everything else.

    batchnorm: train updates the running statistics and normalises by the batch; frozen uses the stored ones.
    """

    batchnorm: BatchNorm = "train"

    @property
    def freezes_batchnorm(self) -> bool:  # type: ignore[override]
        return self.batchnorm == "frozen"

    @property
    def start_epoch(self) -> int:
        """Epochs of the schedule that the weights have behind them."""
        return 0

    def run(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> Unlearned:
        done = fit(
            model,
            self,
            data,
            mask=run.mask,
            seed=run.seed,
            start_epoch=self.start_epoch,
            checkpoint=run.checkpoint,
            log=run.log,
            name=run.name,
        )
        return Unlearned(model, done.mask, done)


@dataclass(frozen=True, kw_only=True)
class EditUnlearner(Unlearner):
    """One edit of the parameters, without a training loop.

    reads: the data that `edit` looks at, in words.
    """

    reads: ClassVar[str] = "nothing"

    def edit(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> dict[str, float] | None:
        """Change the model in place; masked weights must stay 0. May return facts about the edit."""
        raise NotImplementedError

    def run(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> Unlearned:
        start = time.perf_counter()
        with PassCounter(model) as passes, seeded(derive(run.seed, "noise"), next(model.parameters()).device):
            facts = self.edit(model, data, run)
            finished(next(model.parameters()).device)
        seconds = time.perf_counter() - start
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise Diverged(f"{run.name}: a weight is not finite after the edit; try a weaker one")
        if not answers_finite(model, data):
            raise Diverged(f"{run.name}: a logit is not finite after the edit; try a weaker one")
        done = TrainingResult(
            seconds=seconds, samples=passes.samples, forwards=passes.forwards, backwards=passes.backwards
        )
        if not isinstance(facts, Mapping | None):
            raise LacunaError(
                f"{run.name}: `edit` returns a {type(facts).__name__}; allowed: {{name: number}}, or None"
            )
        done.facts |= facts or {}
        return Unlearned(model, run.mask, done)


def run(method: type[Unlearner], model: nn.Module, data: UnlearningData, **options: Any) -> Unlearned:
    """Run a method class on a copy of `model`; options are RunOptions' fields and the method's hyper-parameters."""
    names = {f.name for f in dataclasses.fields(RunOptions)} - {"asked"}
    hyperparameters = {k: v for k, v in options.items() if k not in names}
    run = RunOptions(
        **{"name": method.name} | {k: v for k, v in options.items() if k in names}, asked=frozenset(hyperparameters)
    )
    unlearner = build(method, hyperparameters, method.name)
    _check_kinds(unlearner, model, data, run)
    unlearner.check(model)
    before, model = model, copy_of(model)
    check_answer(model, data)
    unlearner.prepare(model, run)
    if run.mask is not None:
        run.mask.apply(model)
    with data.read_only(run.name):
        outcome = _compacted(unlearner, model, data, run) if run.compact else unlearner.run(model, data, run)
    _check_facts(outcome.fit.facts, run.name)
    if outcome.mask is not None:
        outcome.mask.check(outcome.model)
    outcome.model.eval()
    _report(unlearner, before, outcome, run)
    return outcome


def _check_kinds(unlearner: Unlearner, model: nn.Module, data: UnlearningData, run: RunOptions) -> None:
    """Refuse what is no network, data or mask, and a network whose weights are computed from others."""
    mask = Mask({}) if run.mask is None else run.mask
    origin = StartingPoint() if run.origin is None else run.origin
    kinds: dict[str, tuple[Any, type, str]] = {
        "model": (model, nn.Module, "a torch.nn.Module"),
        "data": (data, UnlearningData, "lacuna.UnlearningData, as from_tensors makes it"),
        "mask": (mask, Mask, "lacuna.Mask({name: bool tensor}), or None"),
        "origin": (origin, StartingPoint, "lacuna.training.starting_point.StartingPoint(initial=...), or None"),
    }
    for what, (value, kind, allowed) in kinds.items():
        if not isinstance(value, kind):
            raise LacunaError(f"{what}: a {type(value).__name__} is not allowed; allowed: {allowed}")
    if next(model.parameters(), None) is None:
        raise LacunaError(f"model: {type(model).__name__} has no parameters; allowed: a network that has learnt")
    if isinstance(model, torch.jit.ScriptModule):
        raise LacunaError("model: compiled by torch.jit, which takes no hooks; allowed: the network before that")
    if isinstance(unlearner, LossUnlearner) and not any(p.requires_grad for p in model.parameters()):
        raise LacunaError("model: no parameter requires a gradient; allowed: one or more, requires_grad_(True)")
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        raise LacunaError("model: it has lazy parameters without a shape; allowed: a network that has seen a batch")
    for name, module in model.named_modules():
        own = {key for key, _ in module.named_parameters(recurse=False)}
        for key, value in vars(module).items():
            of_others = {f"{key}_orig", f"{key}_g"} & own  # of prune, of weight_norm
            if isinstance(value, torch.Tensor) and (value.grad_fn is not None or of_others):
                path = f"{name}.{key}".lstrip(".")
                raise LacunaError(
                    f"model: '{path}' is computed from other parameters (torch.nn.utils.prune, weight_norm); allowed: "
                    "plain parameters, as torch.nn.utils.prune.remove leaves them, and mask= to keep zeros"
                )


def check_answer(model: nn.Module, data: UnlearningData) -> None:
    """Refuse a network that has no logits for the data: shown one image, in evaluation mode, off the random stream."""
    parameter = next(model.parameters())
    shape = tuple(data.images.shape[1:])
    with torch.no_grad(), seeded(0, parameter.device), evaluating(model):
        try:
            logits: Any = model(data.example(parameter.dtype))
        except Exception as error:  # whatever a network raises
            why = one_line(error)
            raise LacunaError(
                f"model: it has no answer for images of shape {shape} on {data.device} ({why}); "
                "allowed: a network on the same device, for images of this shape"
            ) from None
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or len(logits) != 1:
        answer = f"shape {tuple(logits.shape)}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
        raise LacunaError(f"model: its answer to one image is {answer}; allowed: logits of shape (1, classes)")
    if (highest := int(data.labels.max())) >= logits.shape[1]:
        raise LacunaError(
            f"data: label {highest} is out of range; allowed: 0 to {logits.shape[1] - 1}, the model's outputs"
        )


def _check_facts(facts: Mapping[Any, Any], name: str) -> None:
    """Refuse a method's fact that its record (`job.json`) and its line in the log cannot hold."""
    for fact, value in facts.items():
        if not isinstance(fact, str) or not isinstance(value, int | float) or not math.isfinite(value):
            raise LacunaError(
                f"{name}: its fact {fact!r} is {reprlib.repr(value)}; allowed: a text for the name, a finite int or "
                "float for the value"
            )


def _report(unlearner: Unlearner, before: nn.Module, outcome: Unlearned, run: RunOptions) -> None:
    """Add how far the model moved to the facts of a run, and log one line about all that it did.

    The facts of `change_of`; an oracle has none: where it starts says nothing. The untouched model is not flagged as
    unchanged: it is meant to be the original.
    """
    done = outcome.fit
    parts = [f"{done.steps:,} steps" + _course(done)] if done.steps else []
    parts += [words] if (words := unlearner.describe(done.facts)) else []
    if not unlearner.oracle:
        change, words = change_of(before, outcome.model, run.mask)
        parts.append(words)
        if unlearner.keeps:
            del change["unchanged"]
        done.facts |= change
    if run.log is not None:
        run.log(f"{run.name}: {'; '.join(parts)}")


def _course(done: TrainingResult) -> str:
    """From which loss to which, by the means of the first and the last epoch."""
    return f", loss {done.history[0]['loss']:.4f} → {done.history[-1]['loss']:.4f}" if done.history else ""


@torch.no_grad()
def change_of(before: nn.Module, after: nn.Module, mask: Mask | None) -> tuple[dict[str, float], str]:
    """How far a model is from the original, whose weights count as `mask` leaves them: facts, and a log's words.

    facts: `relative_change`, ‖θ_u − θ_o‖/‖θ_o‖ over all parameters; `changed`, how many of their entries differ;
    `unchanged`, 1 if every parameter and buffer is θ_o's bit for bit, else 0.
    """
    start, squares, norm, changed = dict(before.named_parameters()), 0.0, 0.0, 0
    for name, p in after.named_parameters():
        origin = start[name] * mask[name].to(p.device) if mask is not None and name in mask else start[name]
        changed += int((p != origin).sum())
        squares += float((p - origin).double().square().sum())
        norm += float(origin.double().square().sum())
    buffers, total = dict(before.named_buffers()), sum(p.numel() for p in start.values())
    moved = any(not torch.equal(b, buffers[name]) for name, b in after.named_buffers())
    relative = (squares / norm) ** 0.5 if norm else float(squares > 0)
    same = not changed and not moved
    words = (
        "the model is the original bit for bit"
        if same
        else f"{changed:,.0f} of {total:,} parameters changed, ‖Δθ‖/‖θ‖ {relative:.3g}, "
        f"batch norm statistics {'changed' if moved else 'kept'}"
    )
    return {"changed": float(changed), "relative_change": relative, "unchanged": float(same)}, words


def _compacted(unlearner: Unlearner, model: nn.Module, data: UnlearningData, run: RunOptions) -> Unlearned:
    """Run a method on the network without its removed filters; the outcome is the whole network again."""
    if run.mask is None:
        raise LacunaError("compact: nothing can be taken out of a network without a mask; allowed: false, or a mask")
    # by name, so that the code digest of other cells does not hang on it
    compaction = importlib.import_module("lacuna.sparsity.compaction").Compaction.of(
        model, run.mask, data.images.shape[1:]
    )
    small = dataclasses.replace(run, mask=compaction.mask(run.mask))
    outcome = unlearner.run(compaction.network, data, small)
    compaction.expand(outcome.model, model)
    mask = run.mask if outcome.mask is None else compaction.whole_mask(outcome.mask, run.mask)
    outcome.fit.mask, outcome.fit.network = mask, outcome.model.eval()
    return Unlearned(model, mask, outcome.fit)
