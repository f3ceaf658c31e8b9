"""The two kinds of unlearner, and what running one means."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.pruning.base import Origin
from lacuna.pruning.mask import Mask
from lacuna.registry import register as register
from lacuna.training import Checkpoint, Fit, Objective, Passes, copy_of, fit

BatchNorm = Literal["train", "frozen"]


@dataclass
class Run:
    """What a method is given beside model and data; see `unlearn` for the meaning of each."""

    mask: Mask | None = None
    compact: bool = False
    seed: int = 0
    checkpoint: Checkpoint | None = None
    log: Callable[[str], None] | None = None
    name: str = "unlearning"
    pruner: Any = None
    sparsity: str | float | None = None
    origin: Origin | None = None


@dataclass
class Outcome:
    """The unlearned model, its mask, and what the run did; origin: where an oracle of its own came from."""

    model: nn.Module
    mask: Mask | None
    fit: Fit = field(default_factory=Fit)
    origin: Origin | None = None


class Unlearner:
    """A method with its hyper-parameters as dataclass fields; a subclass of one of the two kinds below.

    oracle: true for a reference model that the others are compared with.
    scenarios: the scenario methods that it can work on; None means any.
    searched: the fields that tuning searches; None means those that `lacuna.tuning.space_of` takes by their kinds.
    """

    name: ClassVar[str]
    oracle: ClassVar[bool] = False
    scenarios: ClassVar[tuple[str, ...] | None] = None
    searched: ClassVar[tuple[str, ...] | None] = None

    def check(self, model: nn.Module) -> None:
        """Raise LacunaError unless this method can work on such a network.

        Looks at names and shapes alone: the weights may be on the meta device. Asked of every model of a grid before
        the first job, and at the start of every run.
        """

    def prepare(self, model: nn.Module, run: Run) -> None:
        """What must be done to the whole network, in place, before filters are taken out of it."""

    def run(self, model: nn.Module, data: UnlearningData, run: Run) -> Outcome:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LossUnlearner(Objective, Unlearner):
    """Gradient steps on a loss; the shared loop calls `loss` once per step and owns everything else.

    batchnorm: train updates the running statistics and normalises by the batch; frozen uses the stored ones.
    """

    batchnorm: BatchNorm = "train"

    @property
    def freezes_batchnorm(self) -> bool:  # type: ignore[override]
        return self.batchnorm == "frozen"

    def run(self, model: nn.Module, data: UnlearningData, run: Run) -> Outcome:
        done = fit(
            model,
            self,
            data,
            mask=run.mask,
            seed=run.seed,
            checkpoint=run.checkpoint,
            log=run.log,
            name=run.name,
        )
        return Outcome(model, done.mask, done)


@dataclass(frozen=True, kw_only=True)
class EditUnlearner(Unlearner):
    """One edit of the parameters, without a training loop.

    reads: the data that `edit` looks at, in words.
    """

    reads: ClassVar[str] = "nothing"

    def edit(self, model: nn.Module, data: UnlearningData, run: Run) -> None:
        """Change the model in place; masked weights must stay 0."""
        raise NotImplementedError

    def run(self, model: nn.Module, data: UnlearningData, run: Run) -> Outcome:
        start = time.perf_counter()
        with Passes(model) as passes:
            self.edit(model, data, run)
        seconds = time.perf_counter() - start
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise LacunaError(f"{run.name}: a weight is not finite after the edit; try a weaker one")
        done = Fit(seconds=seconds, samples=passes.samples, forwards=passes.forwards, backwards=passes.backwards)
        return Outcome(model, run.mask, done)


def run(method: type[Unlearner], model: nn.Module, data: UnlearningData, **options: Any) -> Outcome:
    """Run a method class on a copy of `model`; options are Run's fields and the method's hyper-parameters."""
    names = {f.name for f in dataclasses.fields(Run)}
    given = Run(**{"name": method.name} | {k: v for k, v in options.items() if k in names})
    unlearner = build(method, {k: v for k, v in options.items() if k not in names}, method.name)
    unlearner.check(model)
    model = copy_of(model)
    unlearner.prepare(model, given)
    if given.mask is not None:
        given.mask.apply(model)
    outcome = _compacted(unlearner, model, data, given) if given.compact else unlearner.run(model, data, given)
    if outcome.mask is not None:
        outcome.mask.check(outcome.model)
    outcome.model.eval()
    return outcome


def _compacted(unlearner: Unlearner, model: nn.Module, data: UnlearningData, run: Run) -> Outcome:
    """Run a method on the network without its removed filters; the outcome is the whole network again."""
    if run.mask is None:
        raise LacunaError("compact: nothing can be taken out of a network without a mask; allowed: false, or a mask")
    # by name, so that the code digest of other cells does not hang on it
    compaction = importlib.import_module("lacuna.compaction").Compaction.of(model, run.mask, data.images.shape[1:])
    small = dataclasses.replace(run, mask=compaction.mask(run.mask))
    outcome = unlearner.run(compaction.network, data, small)
    compaction.expand(outcome.model, model)
    mask = run.mask if outcome.mask is None else compaction.whole_mask(outcome.mask, run.mask)
    outcome.fit.mask, outcome.fit.network = mask, outcome.model.eval()
    return Outcome(model, mask, outcome.fit)
