"""Un-pruning: the mask remembers D_f too. Around any unlearner: grow, unlearn, prune back to the same density."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from lacuna.artifacts.files import read_tensors, sha256_of_arrays, write_tensors
from lacuna.artifacts.writing import remove
from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Count, Index, Percent, Positive, build, values_of
from lacuna.models.inference import State, copy_of, load_tensors, state_of
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask
from lacuna.training.counting import PassCounter
from lacuna.training.state import TrainingResult
from lacuna.unlearning import unlearn
from lacuna.unlearning.base import RunOptions, Unlearned, change_of

# what `reinit: random` takes of a new draw of the initialisation
SMALL = 0.1


@dataclass(frozen=True, kw_only=True)
class Unpruning:
    """Un-pruning: `rounds` times grow removed weights and unlearn; prune back to the density by the pruner's criterion.

    The criterion scores the unlearned weights on D_r; what is removed then stays removed. Growing and pruning rank in
    the pruner's scope; a pruner of filters grows whole filters, by the L2 norm of θ_0.
    p: percent of the weights removed at that moment that a round grows, in [0, 100]. With 0 the mask stays: the
    unlearner `rounds` times over, which costs as much and is fair to compare with.
    rounds: 0 runs the unlearner once under the fixed mask.
    grow: those of the largest |θ_0| (initial) or any (random).
    reinit: they start from θ_0 (original) or from a tenth of a new draw of the initialisation (random).
    when: prune back after the last round (end) or after each (each_round).
    finetune_epochs: of SGD on ℓ(D_r) under the final mask. finetune_lr, finetune_batch_size: of that.
    Source: Xiao et al., 2025 (un-pruning).
    """

    p: Percent = 10.0
    rounds: Index = 3
    grow: Literal["initial", "random"] = "initial"
    reinit: Literal["original", "random"] = "original"
    when: Literal["end", "each_round"] = "end"
    finetune_epochs: Index = 0
    finetune_lr: Positive = 0.01
    finetune_batch_size: Count = 256


def unprune(
    method: str,
    model: nn.Module,
    data: UnlearningData,
    *,
    initial: State,
    hyperparameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> Unlearned:
    """Un-prune around an unlearner, from a copy of `model`.

    method, hyperparameters: of the unlearner, as `unlearn` takes them. initial: θ_0, by state name.
    options: `mask` of the model, `pruner` and `sparsity` that it came from, `seed`, `checkpoint`, `log`, `name`, and
    the fields of `Unpruning`. A completed round is kept in a file beside the checkpoint.
    Returns an Unlearned: `model`, its `mask`, as sparse as the given one, and `fit` over all rounds with growing and
    pruning; `fit.facts` tells how many weights grew, how many of them are in the final mask, and how far the model is
    from the given one under its mask (`unlearning.base.change_of`).

    Raises LacunaError for an unusable value, a θ_0 of another architecture, or a density that cannot be restored.

    >>> from lacuna.pruning import PRUNERS
    >>> x, y = torch.rand(12, 1, 6, 6), torch.tensor([0, 1] * 6)
    >>> data = UnlearningData.from_tensors(retain=(x[:8], y[:8]), forget=(x[8:], y[8:]))
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    >>> theta_0 = {name: value.clone() for name, value in model.state_dict().items()}
    >>> pruner = PRUNERS["omp"]()
    >>> mask = pruner.find_mask(model, "0.50", data, seed=0)
    >>> result = unprune("ft", model, data, mask=mask, initial=theta_0, pruner=pruner, sparsity="0.50", p=20, rounds=2,
    ...                  hyperparameters={"lr": 0.1, "epochs": 1, "batch_size": 4})
    >>> result.mask.sparsity, result.fit.steps, result.fit.facts["grown"]
    (0.5, 4, 7.0)
    """
    names = {f.name for f in dataclasses.fields(RunOptions)}
    run = RunOptions(**{"name": f"unprune {method}"} | {k: v for k, v in options.items() if k in names})
    settings = build(Unpruning, {k: v for k, v in options.items() if k not in names}, "unprune")
    if run.mask is None or run.pruner is None or run.sparsity is None:
        raise LacunaError("unprune: mask, pruner and sparsity must be given: there is nothing to grow in a dense model")
    for name in run.mask:
        if name not in initial or initial[name].shape != run.mask[name].shape:
            raise LacunaError(f"unprune: initial: '{name}' does not fit the mask; allowed: the state θ_0 of this model")
    began = copy_of(model)
    run.mask.apply(began)
    procedure = _Procedure(settings, method, dict(hyperparameters or {}), data, run, initial, began, run.mask)
    outcome = procedure.run()
    change, words = change_of(model, outcome.model, run.mask)
    outcome.fit.facts |= change
    if run.log is not None:
        run.log(f"{run.name}: {outcome.fit.facts['exchanged']:,.0f} weights of the mask exchanged; {words}")
    return outcome


@dataclass
class _Procedure:
    """One procedure under way: model, mask and what was done so far; rounds: completed."""

    settings: Unpruning
    method: str
    hyperparameters: dict[str, Any]
    data: UnlearningData
    options: RunOptions
    initial: State
    model: nn.Module
    mask: Mask
    fit: TrainingResult = field(default_factory=TrainingResult)
    rounds: int = 0

    def run(self) -> Unlearned:
        before, self.fit.facts = self.mask, {"grown": 0.0}
        store = None
        if self.options.checkpoint is not None:
            path = self.options.checkpoint.path
            store = _Store(path.with_name(f"{path.name}.rounds"), self._fingerprint())
            store.load(self)
        while self.rounds < max(self.settings.rounds, 1):
            self._round()
            self.rounds += 1
            if store is not None:
                store.save(self)
        if self.settings.finetune_epochs:
            values = {"epochs": self.settings.finetune_epochs, "lr": self.settings.finetune_lr}
            values["batch_size"] = self.settings.finetune_batch_size
            self._unlearn("ft", values, derive(self.options.seed, "finetune"), "fine-tuning")
        # filters come in lumps: ranked over all layers they are as near to the sparsity as can be, not always on it
        if count(self.mask) != count(before) and not self.options.pruner.structured:
            raise LacunaError(
                f"unprune: the mask keeps {count(self.mask)} weights, {count(before)} before; allowed: the same "
                f"number, so {self.method} must leave at least as many, and sparsity must be that of the given mask"
            )
        self.fit.facts["exchanged"] = float(sum((self.mask[n] & ~before[n]).sum() for n in before.weights))
        self.fit.mask = self.mask
        if self.options.pruner.compact:
            compaction = importlib.import_module("lacuna.sparsity.compaction")
            self.fit.network = compaction.compact(self.model, self.mask, self.data.images.shape[1:])
        if store is not None:
            remove(store.path)
        return Unlearned(self.model, self.mask, self.fit)

    def _round(self) -> None:
        number, seed = self.rounds + 1, self.options.seed
        clock = time.perf_counter()
        if self.settings.rounds:
            self._grow(derive(seed, "grow", number))
        self.fit.seconds += time.perf_counter() - clock
        # the first round has the stream of the plain unlearner: where nothing grows, the result is its own
        self._unlearn(
            self.method, self.hyperparameters, seed if number == 1 else derive(seed, number), f"round {number}"
        )
        clock = time.perf_counter()
        if self.settings.rounds and (self.settings.when == "each_round" or number == self.settings.rounds):
            pruner, sparsity = self.options.pruner, self.options.sparsity
            with PassCounter(self.model) as passes:
                self.mask = pruner.find_mask(
                    self.model, sparsity, self.data, seed=derive(seed, "prune", number), mask=self.mask
                )
            self.fit.samples += passes.samples
            self.fit.forwards += passes.forwards
            self.fit.backwards += passes.backwards
            self.mask.apply(self.model)
        self.fit.seconds += time.perf_counter() - clock

    @torch.no_grad()
    def _grow(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(derive(seed, "which")) if self.settings.grow == "random" else None
        before, share = self.mask, Fraction(str(self.settings.p)) / 100
        self.mask = self.options.pruner.grow(before, self.model, self.data, self.initial, share, generator)
        start = self.initial if self.settings.reinit == "original" else self._drawn(derive(seed, "values"))
        parameters = dict(self.model.named_parameters())
        for name in self.mask:
            keep = self.mask[name]
            grown = (keep & ~before[name]).to(parameters[name].device)
            parameters[name].copy_(torch.where(grown, start[name].to(parameters[name]), parameters[name]))
            if name in before.weights:
                self.fit.facts["grown"] += float(grown.sum())
            # statistics of a channel that was 0 would blow up what comes back
            module = name.rpartition(".")[0]
            for buffer, value in self.model.named_buffers():
                if keep.dim() == 1 and buffer in (f"{module}.running_mean", f"{module}.running_var"):
                    value.copy_(torch.where(grown, self.initial[buffer].to(value), value))

    def _drawn(self, seed: int) -> State:
        fresh = copy_of(self.model)
        reinitialise(fresh, seed)
        return {name: SMALL * value for name, value in fresh.state_dict().items()}

    def _unlearn(self, method: str, hyperparameters: Mapping[str, Any], seed: int, what: str) -> None:
        rest = {key: getattr(self.options, key) for key in ("checkpoint", "log")}
        rest["compact"] = self.options.pruner.compact
        name = f"{self.options.name}, {what}"
        outcome = unlearn(
            method, self.model, self.data, mask=self.mask, seed=seed, name=name, **rest, **hyperparameters
        )
        self.model, self.mask = outcome.model, outcome.mask or self.mask
        epochs, seconds = len(self.fit.history), self.fit.seconds
        self.fit.history += [
            row | {"epoch": row["epoch"] + epochs, "seconds": row["seconds"] + seconds} for row in outcome.fit.history
        ]
        self.fit.add(vars(outcome.fit))
        # of the last run, which made the model
        for name in ("precision", "execution", "why"):
            setattr(self.fit, name, getattr(outcome.fit, name))

    def _fingerprint(self) -> str:
        """Names the procedure by all that decides its result."""
        arrays = {f"model/{k}": v.numpy() for k, v in state_of(self.model).items()}
        arrays |= {f"initial/{k}": v.numpy() for k, v in self.initial.items()}
        pruner = self.options.pruner
        about: list[Any] = [
            self.method,
            self.hyperparameters,
            values_of(self.settings),
            type(pruner).__name__,
            values_of(pruner),
        ]
        about += [str(self.options.sparsity), self.options.seed, self.mask.digest(), self.data.fingerprint()]
        return hashlib.sha256((json.dumps(about, sort_keys=True) + sha256_of_arrays(arrays)).encode()).hexdigest()


@dataclass(frozen=True)
class _Store:
    """The file of the completed rounds of one procedure."""

    path: Path
    fingerprint: str

    def save(self, procedure: _Procedure) -> None:
        arrays = {f"model/{k}": v.numpy() for k, v in state_of(procedure.model).items()}
        arrays |= {f"mask/{k}": v for k, v in procedure.mask.bits().items()}
        fit = procedure.fit
        progress = {"rounds": procedure.rounds} | {
            k: v for k, v in vars(fit).items() if k not in ("snapshot", "mask", "network")
        }
        write_tensors(self.path, "unpruning", arrays, fingerprint=self.fingerprint, progress=json.dumps(progress))

    def load(self, procedure: _Procedure) -> None:
        """Go on after the completed rounds, if the file is of this very procedure."""
        try:
            arrays, about = read_tensors(self.path, "unpruning")
        except LacunaError:
            return  # none, or an unusable one, which only costs time
        if about.get("fingerprint") != self.fingerprint:
            return
        tensors = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
        load_tensors(
            procedure.model, {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}
        )
        procedure.model.eval()
        procedure.mask = Mask({k.removeprefix("mask/"): v for k, v in tensors.items() if k.startswith("mask/")})
        progress = json.loads(about["progress"])
        procedure.rounds = progress.pop("rounds")
        procedure.fit = TrainingResult(**progress)


def count(mask: Mask) -> int:
    """How many weights a mask keeps."""
    return sum(int(keep.sum()) for keep in mask.weights.values())
