"""The jobs of an experiment: the code that each rule runs, and which job reads from which others. Imports no torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lacuna.artifacts.coordinates import State
from lacuna.data import SCENARIOS
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.coordinates import AXES
from lacuna.experiment.feasibility import fine_tuning_of, modules_of
from lacuna.experiment.grid import Entry, Experiment
from lacuna.experiment.tables import OPTIONAL
from lacuna.sparsity.rounds import rounds_to


class Runs(NamedTuple):
    """The script of a rule, and the axes whose entries it finds through a registry, which no import statement shows.

    all_of: kinds of which it runs whatever the experiment has, not what a wildcard names.
    """

    script: str
    axes: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()


_NETWORK = ("models", "recipes")
_UNLEARN = Runs("unlearn.py", (*_NETWORK, "unlearners"))
_SHADOW_UNLEARN = Runs("shadow_unlearn.py", (*_NETWORK, "unlearners"))
# by rule, in the order of the pipeline
RULES = {
    "ingest": Runs("ingest.py", ("datasets",)),
    "split": Runs("split.py"),
    "train": Runs("train.py", _NETWORK),
    "difficulty_by_loss": Runs("difficulty_by_loss.py", _NETWORK),
    "difficulty_held_out": Runs("difficulty_held_out.py", _NETWORK),
    "forget": Runs("forget.py", ("scenarios",)),
    "prune": Runs("prune.py", (*_NETWORK, "pruners")),
    "unlearn": _UNLEARN,
    "retrain": _UNLEARN,
    "retrain_exact_dense": _UNLEARN,
    "retrain_exact": Runs("unlearn.py", (*_NETWORK, "unlearners", "pruners")),
    "unprune": Runs("unprune.py", (*_NETWORK, "unlearners", "pruners")),
    "random_init": Runs("random_init.py", ("models",)),
    "relearn": Runs("relearn.py", _NETWORK),
    "curvature": Runs("curvature.py", _NETWORK),
    "evaluate": Runs("evaluate.py", all_of=("metrics",)),
    "shadow_train": Runs("shadow_train.py", _NETWORK),
    "shadow_prune": Runs("shadow_prune.py", (*_NETWORK, "pruners")),
    "shadow_unlearn": _SHADOW_UNLEARN,
    "shadow_retrain_exact_dense": _SHADOW_UNLEARN,
    "shadow_retrain_exact": Runs("shadow_unlearn.py", (*_NETWORK, "unlearners", "pruners")),
    "population": Runs("population.py", all_of=("population",)),
    "probe": Runs("probe.py", ("models",)),
    "aggregate": Runs("aggregate.py"),
    "recipes": Runs("recipes.py"),
    "backdoor": Runs("backdoor.py"),
    "roc": Runs("roc.py"),
    "transfer": Runs("transfer.py"),
    "figure": Runs("figure.py", ("figures",)),
    "tune_unlearner": Runs("tune_unlearner.py", (*_NETWORK, "unlearners"), all_of=("scenarios",)),
    "tuned": Runs("tuned.py"),
}
# rules whose cells run without the removed filters, where their pruner says so
_COMPACTED = {"unlearn", "retrain", "tune_unlearner"}
_WILDCARDS = {axis: wildcard for wildcard, axis in AXES.items()} | {"figures": "figure"}


def options(entry: Entry) -> dict[str, Any]:
    """A grid entry as one flat dict with sorted keys, so that the order in the file does not matter."""
    return {"method": entry.method} | dict(sorted(entry.values.items()))


class Code:
    """What the jobs of an experiment run beside their scripts."""

    def __init__(self, experiment: Experiment, known: Catalogue):
        self.experiment, self.known = experiment, known
        self._cache: dict[tuple[str, tuple[str, ...], tuple[str, ...]], tuple[str, ...]] = {}

    def labels(self, rule: str, place: Mapping[str, str]) -> dict[str, str]:
        """The label that a job's wildcards name of each axis that its rule finds entries of."""
        found = {axis: place[_WILDCARDS[axis]] for axis in RULES[rule].axes}
        if rule == "unprune":  # of the unlearner that it un-prunes around
            found["unlearners"] = self.experiment.entry("unprune", found["unlearners"]).values["unlearner"]
        return found

    def modules(self, rule: str, place: Mapping[str, str]) -> tuple[str, ...]:
        """The modules that a job finds through registries; the rest is imported by its script."""
        labels = self.labels(rule, place)
        further = self._compacted(rule, place) if rule in _COMPACTED else ()
        if rule == "unprune":
            further = fine_tuning_of(self.experiment.entry("unprune", place["unlearner"]).values, self.known)
        key = (rule, tuple(labels.values()), further)
        if key not in self._cache:
            self._cache[key] = (*further, *self._of_all(rule), *self._of(labels))
        return self._cache[key]

    def _of(self, labels: Mapping[str, str]) -> Iterable[str]:
        for axis, label in labels.items():
            if axis == "figures":
                yield self.known[axis][label]["module"]
            else:
                yield from modules_of(axis, options(self.experiment.entry(axis, label)), self.known)

    def _of_all(self, rule: str) -> Iterable[str]:
        for kind in RULES[rule].all_of:
            if kind == "scenarios":
                names: Iterable[str] = (entry.method for entry in self.experiment.axes[kind].values())
            else:
                names = self.experiment.metrics if kind == "metrics" else self.known[kind]
            yield from (self.known[kind][name]["module"] for name in names)

    def _compacted(self, rule: str, place: Mapping[str, str]) -> tuple[str, ...]:
        states = self.experiment.states if rule == "tune_unlearner" else (place["state"],)
        return ("lacuna.sparsity.compaction",) if any(map(self.compacts, states)) else ()

    def compacts(self, state: str) -> bool:
        """Whether the networks of a state run without their removed filters."""
        at = State.parse(state)
        return not at.dense and bool(self.experiment.entry("pruners", at.pruner).values.get("compact", False))


class Job(NamedTuple):
    """A rule and the wildcards of one of its jobs, as (name, value)."""

    rule: str
    wildcards: tuple[tuple[str, str], ...]


class Jobs:
    """The jobs of an experiment: `reads` has every job with those whose files it reads, the read ones first."""

    def __init__(self, experiment: Experiment, known: Catalogue):
        self.experiment = experiment
        self.needs = {need for name in experiment.metrics for need in known["metrics"][name]["needs"]}
        self.reads: dict[Job, tuple[Job, ...]] = {}
        evaluated, populations, probes = [], [], []
        for cell in experiment.cells():
            evaluated.append(self._evaluate(cell))
            if experiment.shadows is not None:
                populations.append(self._population(cell))
            probes += [self._probe(cell, target) for target in experiment.targets(cell)]
        self._tables(evaluated, populations, probes, known)
        if experiment.tuning is not None:
            self._tuning()

    def _job(self, rule: str, place: Mapping[str, str], names: str, reads: Iterable[Job]) -> Job:
        job = Job(rule, tuple((name, place[name]) for name in names.split()))
        if job not in self.reads:
            self.reads[job] = tuple(dict.fromkeys(reads))
        return job

    # ---- models -----------------------------------------------------------------------------------------------------

    def _data(self, place: Mapping[str, str]) -> list[Job]:
        ingest = self._job("ingest", place, "dataset", ())
        return [ingest, self._job("split", place, "dataset seed", [ingest])]

    def _model(self, place: Mapping[str, str], state: str) -> Job:
        at = State.parse(state)
        if at.dense:
            return self._job("train", place, "dataset model recipe seed", self._data(place))
        rounds = rounds_to(at.sparsity, self.experiment.entry("pruners", at.pruner).values.get("rate"))
        behind = f"{at.pruner}-{rounds[-1]}" if rounds else str(State())
        reads = [*self._data(place), self._model(place, str(State())), self._model(place, behind)]
        return self._job("prune", {**place, **at._asdict()}, "dataset model recipe seed pruner sparsity", reads)

    def _forget(self, place: Mapping[str, str]) -> Job:
        entry, data = self.experiment.entry("scenarios", place["scenario"]), self._data(place)
        reads = list(data)
        if "scores" in SCENARIOS[entry.method].needs:
            own = {**place, **{name: str(value) for name, value in entry.values.items()}}
            if "folds" in entry.values:
                reads.append(self._job("difficulty_held_out", own, "dataset model recipe seed folds", data))
            else:
                dense = self._model(own, str(State()))
                reads.append(self._job("difficulty_by_loss", own, "dataset model recipe seed", [*data, dense]))
        return self._job("forget", place, "dataset seed scenario", reads)

    def _cell(self, place: Mapping[str, str]) -> Job:
        state, label = place["state"], place["unlearner"]
        names = "dataset model recipe seed scenario state unlearner"
        reads, dense = [self._forget(place), *self._data(place)[:1]], str(State())
        if label in self.experiment.axes["unprune"]:
            sparse = {**place, **State.parse(state)._asdict()}
            reads += [self._model(place, state), self._model(place, dense)]
            return self._job("unprune", sparse, names.replace("state", "state pruner sparsity"), reads)
        entry = self.experiment.entry("unlearners", label)
        if entry.method == "retrain_exact" and state == dense:
            return self._job("retrain_exact_dense", place, names, reads)
        if entry.method == "retrain_exact":
            at = State.parse(state)
            rounds = rounds_to(at.sparsity, self.experiment.entry("pruners", at.pruner).values.get("rate"))
            behind = f"{at.pruner}-{rounds[-1]}" if rounds else dense
            reads += [self._cell({**place, "state": dense}), self._cell({**place, "state": behind})]
            sparse = {**place, **at._asdict()}
            return self._job("retrain_exact", sparse, names.replace("state", "state pruner sparsity"), reads)
        reads.append(self._model(place, state))
        if entry.method != "retrain":
            return self._job("unlearn", place, names, reads)
        if entry.values.get("start") != "fresh" and state != dense:
            reads.append(self._model(place, dense))
        return self._job("retrain", place, names, reads)

    # ---- what is measured -------------------------------------------------------------------------------------------

    def _needed(self, place: Mapping[str, str]) -> Iterable[Job]:
        """What the metrics need of a cell beside its own files."""
        cell, model = self._cell(place), self._model(place, place["state"])
        training = "dataset model recipe seed"
        if "random_init" in self.needs:
            yield self._job("random_init", place, training, self._data(place))
        if "relearn" in self.needs:
            names = f"{training} scenario state unlearner"
            yield self._job("relearn", place, names, [*self._data(place)[:1], self._forget(place), model, cell])
        if "curvature" in self.needs:
            reads = [*self._data(place), model, self._model(place, str(State()))]
            yield self._job("curvature", place, f"{training} state", reads)

    def _evaluate(self, place: Mapping[str, str]) -> Job:
        compared = [place, *({**place, "unlearner": label} for label in self.experiment.oracles)]
        reads = [job for each in compared for job in (self._cell(each), *self._needed(each))]
        return self._job("evaluate", place, "dataset model recipe seed scenario state unlearner", reads)

    def _probe(self, place: Mapping[str, str], target: str) -> Job:
        reads = [*self._data(place)[:1], *self._data({**place, "dataset": target}), self._cell(place)]
        names = "dataset model recipe seed scenario state unlearner target"
        return self._job("probe", {**place, "target": target}, names, reads)

    # ---- shadow models ----------------------------------------------------------------------------------------------

    def _shadow_model(self, place: Mapping[str, str], state: str) -> Job:
        at, names = State.parse(state), "dataset model recipe seed shadows"
        if at.dense:
            return self._job("shadow_train", place, names, self._data(place))
        reads = [*self._data(place), self._shadow_model(place, str(State()))]
        return self._job("shadow_prune", {**place, **at._asdict()}, f"{names} pruner sparsity", reads)

    def _shadow_cell(self, place: Mapping[str, str]) -> Job:
        state, dense = place["state"], str(State())
        names = "dataset model recipe seed scenario state unlearner shadows"
        reads = [*self._data(place)[:1], self._forget(place)]
        entry = self.experiment.entry("unlearners", place["unlearner"])
        if entry.method == "retrain_exact" and state == dense:
            return self._job("shadow_retrain_exact_dense", place, names, reads)
        if entry.method == "retrain_exact":
            sparse = {**place, **State.parse(state)._asdict()}
            return self._job("shadow_retrain_exact", sparse, names.replace("state", "state pruner sparsity"), reads)
        reads.append(self._shadow_model(place, state))
        if entry.values.get("start") == "rewind":
            reads.append(self._shadow_model(place, dense))
        return self._job("shadow_unlearn", place, names, reads)

    def _population(self, place: Mapping[str, str]) -> Job:
        shadows = self.experiment.shadows.jobs() if self.experiment.shadows is not None else ()
        labels = dict.fromkeys((place["unlearner"], *self.experiment.oracles))
        reads = [
            self._shadow_cell({**place, "unlearner": label, "shadows": job}) for label in labels for job in shadows
        ]
        return self._job("population", place, "dataset model recipe seed scenario state unlearner", reads)

    # ---- what is told -----------------------------------------------------------------------------------------------

    def _tables(self, evaluated: list[Job], populations: list[Job], probes: list[Job], known: Catalogue) -> None:
        cells = self._job("aggregate", {}, "", [*evaluated, *populations])
        made = {"roc": populations, "transfer": probes, "recipes": [cells], "backdoor": [cells]}
        tables: dict[str, Job] = {}
        for rule in self.experiment.tables:
            tables |= dict.fromkeys(OPTIONAL[rule].names, self._job(rule, {}, "", made[rule]))
        for figure in self.experiment.figures:
            reads = [tables.get(name, cells) for name in known["figures"][figure]["reads"]]
            self._job("figure", {"figure": figure}, "figure", reads)

    def _tuning(self) -> None:
        axes, tuning = self.experiment.axes, self.experiment.tuning or {}
        judges = {*self.experiment.oracles, *self.experiment.twins}
        for dataset, model, recipe in itertools.product(axes["datasets"], axes["models"], axes["recipes"]):
            place, reads = {"dataset": dataset, "model": model, "recipe": recipe}, []
            for seed, scenario, state in itertools.product(tuning["seeds"], axes["scenarios"], self.experiment.states):
                start = {**place, "seed": str(seed), "scenario": scenario}
                reads += [self._forget(start), self._model(start, state)]
            studies = [
                self._job("tune_unlearner", {**place, "unlearner": label}, "dataset model recipe unlearner", reads)
                for label, entry in axes["unlearners"].items()
                if entry.values and label not in judges
            ]
            self._job("tuned", place, "dataset model recipe", studies)
