"""Choosing a method's hyper-parameters: blind to oracles and to the test set, on a budget that all methods share.

The first trial has the values of the grid; every further one is proposed from those before it (tree-structured Parzen
estimator; Bergstra et al., NeurIPS 2011). Trials differ in the values alone: each runs on the same original models,
data and random streams. What the score is made of is said at `score`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from lacuna.artifacts.files import read_json, write_json
from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Bound, Count, Index, schema_of
from lacuna.models.inference import accuracy, logits
from lacuna.randomness import derive
from lacuna.unlearning import UNLEARNERS, unlearn
from lacuna.unlearning.base import EditUnlearner, LossUnlearner, Unlearner

# All that a trial may see of a split.
VISIBLE = ("retain", "forget", "val")
# Trials that are drawn at random before the estimator has something to go by; the grid's own values count as one.
_STARTUP = 8
# A rate that falls, or not. The other schedules want milestones or shares that go with the number of epochs.
_SCHEDULES = ("constant", "cosine")

Judged = Literal["forgotten part", "poisoned", "like val"]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How `snakemake tune` searches: every unlearner of the grid has the same number of trials on the same models.

    trials: values that are tried for each method, those of the grid among them.
    seeds: whose original models are unlearned; none may be in grid.seeds.
    span: a number is searched from 1/span to span times what the grid has; one between 0 and 1 by its odds.
    """

    trials: Count = 16
    seeds: tuple[Index, ...] = (100, 101)
    span: Annotated[float, Bound("exclusiveMinimum", 1)] = 100.0


@dataclass(frozen=True)
class Start:
    """Where a trial begins: an original model, what it may see of the data, and how the outcome is judged.

    place: seed, scenario and state, for the record. judged: see `score`. forgotten: bool [validation images], those of
    the forgotten part of the label space. options: further ones of `unlearn` (mask, compact). seed: of the stream.
    """

    place: Mapping[str, Any]
    model: torch.nn.Module
    data: UnlearningData
    judged: Judged
    forgotten: np.ndarray
    options: Mapping[str, Any]
    seed: int

    def __post_init__(self) -> None:
        if set(self.data.parts) != set(VISIBLE):
            raise ValueError(f"a trial sees {', '.join(self.data.parts)}, and must see {', '.join(VISIBLE)}")


@dataclass(frozen=True)
class Accuracies:
    """Of one model on what a trial sees, in percent.

    val: on the validation samples that are not of the forgotten part; gone: on those that are, None where none is.
    """

    retain: float
    forget: float
    val: float
    gone: float | None

    @staticmethod
    def of(start: Start, model: torch.nn.Module) -> Accuracies:
        labels = start.data.labels[start.data.parts["val"]].cpu().numpy()
        right = logits(model, start.data, "val").argmax(1).cpu().numpy() == labels
        retain, forget = (accuracy(model, start.data, part) for part in ("retain", "forget"))
        gone = 100 * float(right[start.forgotten].mean()) if start.forgotten.any() else None
        return Accuracies(retain, forget, 100 * float(right[~start.forgotten].mean()), gone)


def score(judged: Judged, now: Accuracies, before: Accuracies) -> float:
    """How well a model forgot and kept, in 0..100, from retained, forgotten and validation samples alone.

    now: of the model; before: of the original one.
    forgotten part (of the label space): mean of the validation accuracy on the other samples and the error on the
    part, the lower of that on D_f and on its validation samples: a network that has learnt D_f by heart can be right
    about D_f and wrong about every other sample of its class, and retraining is wrong about both.
    poisoned (D_f carries a trigger): mean of the validation accuracy and the error on D_f.
    like val (D_f is a sample like any other): 100 − |accuracy on D_f − validation accuracy| − what the validation
    accuracy lost, since a model that never saw D_f treats it as it treats the validation set.
    From each is taken what the accuracy on D_r lost: the same training without D_f fits D_r as well as before. A
    network that has learnt by heart can lose D_r without a trace in its validation accuracy.
    """
    if judged == "forgotten part":
        assert now.gone is not None
        reached = (now.val + 100 - max(now.gone, now.forget)) / 2
    elif judged == "poisoned":
        reached = (now.val + 100 - now.forget) / 2
    else:
        reached = 100 - abs(now.forget - now.val) - max(0.0, before.val - now.val)
    return max(0.0, reached - max(0.0, before.retain - now.retain))


# ---- the space ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis:
    """One searched field: `choices`, or a number around `centre`, by the logarithm of its value or of its odds."""

    centre: Any
    choices: tuple[Any, ...] = ()
    odds: bool = False
    width: float = 0.0

    def distribution(self) -> Any:
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return CategoricalDistribution(self.choices) if self.choices else FloatDistribution(-self.width, self.width)

    def value(self, coordinate: Any) -> Any:
        """The field's value at a coordinate, to three digits (near 1, of what is missing); 0 is the centre itself."""
        if self.choices or coordinate == 0:
            return coordinate if self.choices else self.centre
        if not self.odds:
            return float(f"{self.centre * math.exp(coordinate):.3g}")
        odds = self.centre / (1 - self.centre) * math.exp(coordinate)
        near_one = odds > 1
        share = float(f"{1 / (1 + odds) if near_one else odds / (1 + odds):.3g}")
        return round(1 - share, 12) if near_one else share

    def coordinate(self, value: Any) -> Any:
        """The coordinate of a value."""
        if self.choices:
            return value
        if value == self.centre:
            return 0.0
        raw = math.log((1 / self.centre - 1) / (1 / value - 1)) if self.odds else math.log(value / self.centre)
        # three digits may lie a hair outside
        return min(max(raw, -self.width), self.width)


def space_of(method: type[Unlearner], values: Mapping[str, Any], span: float) -> dict[str, Axis]:
    """The searched fields of a method around given values.

    Searched are the learning rate and whether it falls, and every number of the method's own with a positive value that
    has no upper bound or lies strictly between 0 and 1. Epochs, batches and variants stay: they are the method's cost,
    or another method. A class may name its fields itself (`searched`).
    """
    properties = schema_of(method)["properties"]
    names = method.searched
    if names is None:
        steps = issubclass(method, LossUnlearner)
        common = schema_of(LossUnlearner if steps else EditUnlearner)["properties"]
        names = (*(("lr", "schedule") if steps else ()), *(name for name in properties if name not in common))
    space = {name: _axis(name, properties[name], values[name], span) for name in names}
    return {name: axis for name, axis in space.items() if axis is not None}


_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def _axis(name: str, schema: Mapping[str, Any], centre: Any, span: float) -> Axis | None:
    if name == "schedule":
        return Axis(centre, choices=_SCHEDULES) if centre in _SCHEDULES else None
    if schema.get("type") != "number" or centre <= 0 or not any(schema.get(k, -1) >= 0 for k in _LOWER):
        return None
    upper = min([schema[k] for k in _UPPER if k in schema], default=math.inf)
    if math.isinf(upper):
        return Axis(centre, width=math.log(span))
    return Axis(centre, odds=True, width=math.log(span)) if upper == 1 and centre < 1 else None


def proposed(axes: Mapping[str, Axis], trials: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """The next values to try: a function of the trials before and the seed alone, so that a search can be continued."""
    if not trials:
        return {name: axis.centre for name, axis in axes.items()}
    # one second, and only here
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=derive(seed, "trial", len(trials)) % 2**32, n_startup_trials=_STARTUP)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: axis.distribution() for name, axis in axes.items()}
    for trial in trials:
        at = {name: axis.coordinate(trial["values"][name]) for name, axis in axes.items()}
        study.add_trial(optuna.trial.create_trial(params=at, distributions=distributions, value=trial["score"]))
    asked = study.ask(distributions).params
    return {name: axis.value(asked[name]) for name, axis in axes.items()}


# ---- the search -----------------------------------------------------------------------------------------------------


def tune(
    method: str,
    values: Mapping[str, Any],
    starts: Sequence[Start],
    settings: Tuning,
    *,
    seed: int,
    store: Path,
    fingerprint: str,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Search one method's hyper-parameters; gives `space`, `trials` in their order, and `best`, the winner's number.

    values: every field's value in the grid. store: where finished trials are stored; what a search of the same
    `fingerprint` left there is not run again: a stopped one ends as if it had never been stopped (CPU), a finished one
    goes on when it is given more trials. A trial that diverges scores 0. Of equal scores the earliest wins, so the
    grid's values are kept unless something is better.

    Raises LacunaError for a method of which nothing can be searched.
    """
    axes = space_of(UNLEARNERS[method], values, settings.span)
    if not axes:
        raise LacunaError(f"{method}: nothing can be searched; allowed: a method with a number of its own, or a rate")
    trials = _stored(store, fingerprint)[: settings.trials]
    before = [Accuracies.of(start, start.model) for start in starts]
    while len(trials) < settings.trials:
        chosen = proposed(axes, trials, seed)
        trials.append({"values": chosen} | _trial(method, {**values, **chosen}, starts, before))
        write_json(store, {"fingerprint": fingerprint, "trials": trials})
        words = ", ".join(f"{name} {value}" for name, value in chosen.items())
        log(f"trial {len(trials) - 1} of {settings.trials}: {words}: {trials[-1]['score']:.3f}")
    best = max(range(len(trials)), key=lambda k: trials[k]["score"])
    space = {
        name: list(axis.choices) or [axis.value(-axis.width), axis.value(axis.width)] for name, axis in axes.items()
    }
    return {"space": space, "trials": trials, "best": best}


def _stored(store: Path, fingerprint: str) -> list[dict[str, Any]]:
    try:
        stored = read_json(store)
        return stored["trials"] if stored["fingerprint"] == fingerprint else []
    except (LacunaError, KeyError, TypeError):
        return []  # nothing usable only costs time


def _trial(
    method: str, values: Mapping[str, Any], starts: Sequence[Start], before: Sequence[Accuracies]
) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for start, original in zip(starts, before, strict=True):
        part = dict(start.place) | {"score": 0.0, "samples": 0, "seconds": 0.0}
        try:
            done = unlearn(method, start.model, start.data, seed=start.seed, **start.options, **values)
            part |= {"samples": done.fit.samples, "seconds": done.fit.seconds}
            now = Accuracies.of(start, done.model)
            part |= {"score": score(start.judged, now, original), "accuracy": asdict(now)}
        except LacunaError as error:
            part["failed"] = str(error)
        parts.append(part)
    return {"score": sum(part["score"] for part in parts) / len(parts), "parts": parts}
