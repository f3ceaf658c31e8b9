"""The jobs of an experiment: the code that each rule runs, and which job reads from which others. Imports no torch."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from lacuna.artifacts.coordinates import WILDCARDS, State
from lacuna.artifacts.layout import FOLDERS
from lacuna.data import SCENARIOS
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.coordinates import AXES
from lacuna.experiment.feasibility import fine_tuning_of, modules_of
from lacuna.experiment.grid import Entry, Experiment
from lacuna.sparsity.rounds import rounds_to


class At(NamedTuple):
    """Where the jobs of a rule leave their traces, as patterns below a folder of `FOLDERS`.

    log: of the log and of the benchmark, without their suffix. made: the file that a job writes last.
    """

    folder: str
    log: str
    made: str


class Runs(NamedTuple):
    """The script of a rule, and the axes whose entries it finds through a registry, which no import statement shows.

    all_of: kinds of which it runs whatever the experiment has, not what a wildcard names.
    """

    script: str
    at: At
    axes: tuple[str, ...] = ()
    all_of: tuple[str, ...] = ()


_NETWORK = ("models", "recipes")
_PRUNE, _UNLEARN = (*_NETWORK, "pruners"), (*_NETWORK, "unlearners")
_ALL = (*_UNLEARN, "pruners")


def _named(folder: str, log: str, suffix: str = ".json") -> At:
    """Of jobs whose last file has the name of their log."""
    return At(folder, log, log + suffix)


def _beside_cell(name: str, state: str = "{state}") -> At:
    return _named("cells", f"{state}/{{unlearner}}/{name}")


_CELL = _named("cells", "{state}/{unlearner}", "/job.json")
_SPARSE = "{pruner}-{sparsity}"
_SPARSE_CELL = _named("cells", f"{_SPARSE}/{{unlearner}}", "/job.json")
# by rule, in the order of the pipeline
RULES = {
    "ingest": Runs("ingest.py", At("data", "ingest", "meta.json"), ("datasets",)),
    "split": Runs("split.py", _named("splits", "split", ".npz")),
    "train": Runs("train.py", _named("models", "dense", "/job.json"), _NETWORK),
    "difficulty_by_loss": Runs("difficulty_by_loss.py", _named("models", "dense/scores"), _NETWORK),
    "difficulty_held_out": Runs("difficulty_held_out.py", _named("models", "held_out_{folds}/scores"), _NETWORK),
    "choose_forget_set": Runs("choose_forget_set.py", _named("splits", "forget/{scenario}", ".npz"), ("scenarios",)),
    "prune": Runs("prune.py", _named("models", _SPARSE, "/job.json"), _PRUNE),
    "unlearn": Runs("unlearn.py", _CELL, _UNLEARN),
    "retrain": Runs("unlearn.py", _CELL, _UNLEARN),
    "retrain_exact_dense": Runs("unlearn.py", _named("cells", "dense/{unlearner}", "/job.json"), _UNLEARN),
    "retrain_exact": Runs("unlearn.py", _SPARSE_CELL, _ALL),
    "unprune": Runs("unprune.py", _SPARSE_CELL, _ALL),
    "random_init": Runs("random_init.py", _named("models", "random_init", ".npz"), ("models",)),
    "relearn": Runs("relearn.py", _beside_cell("relearn"), _NETWORK),
    "curvature": Runs("curvature.py", _named("models", "{state}/curvature"), _NETWORK),
    "evaluate": Runs("evaluate.py", _beside_cell("metrics/{experiment}"), all_of=("metrics",)),
    "shadow_train": Runs("shadow_train.py", _named("shadows", "dense/{shadows}"), _NETWORK),
    "shadow_prune": Runs("shadow_prune.py", _named("shadows", f"{_SPARSE}/{{shadows}}"), _PRUNE),
    "shadow_unlearn": Runs("shadow_unlearn.py", _beside_cell("shadows/{shadows}"), _UNLEARN),
    "shadow_retrain_exact_dense": Runs("shadow_unlearn.py", _beside_cell("shadows/{shadows}", "dense"), _UNLEARN),
    "shadow_retrain_exact": Runs("shadow_unlearn.py", _beside_cell("shadows/{shadows}", _SPARSE), _ALL),
    "population": Runs("population.py", _beside_cell("population"), all_of=("population",)),
    "probe": Runs("probe.py", _beside_cell("probe/{target}"), ("models",)),
    "aggregate": Runs("aggregate.py", At("tables", "aggregate", "cells.csv"), all_of=("tables",)),
    "table": Runs("table.py", _named("tables", "{table}", ".csv"), ("tables",)),
    "record": Runs("record.py", _named("tables", "experiment")),
    "answer": Runs("answer.py", At("tables", "answer", "tables.tex")),
    "figure": Runs("figure.py", _named("figures", "{figure}", ".png"), ("figures",)),
    "html_report": Runs("html_report.py", _named("report", "{experiment}", ".html")),
    "tune_unlearner": Runs("tune_unlearner.py", _named("tuning", "{unlearner}"), _UNLEARN, all_of=("scenarios",)),
    "collect_winners": Runs("collect_winners.py", _named("tuning", "tuned", ".yaml")),
}
# rules whose cells run without the removed filters, where their pruner says so
_COMPACTED = {"unlearn", "retrain", "tune_unlearner"}
_Part = TypeVar("_Part", bound=Callable[..., Any])
_WILDCARDS = {axis: wildcard for wildcard, axis in AXES.items()} | {"tables": "table", "figures": "figure"}


def options(entry: Entry) -> dict[str, Any]:
    """A grid entry as one flat dict with sorted keys, so that the order in the file does not matter."""
    return {"method": entry.method} | dict(sorted(entry.values.items()))


def collected(known: Catalogue) -> list[str]:
    """The tables that one job makes, because they are made from the metrics of every cell."""
    return [name for name, facts in known["tables"].items() if "metrics" in facts["reads"]]


class Code:
    """What the jobs of an experiment run beside their scripts."""

    def __init__(self, experiment: Experiment, known: Catalogue):
        self.experiment, self.known = experiment, known
        self._cache: dict[tuple[str, tuple[str, ...], tuple[str, ...]], tuple[str, ...]] = {}
        self._compacts: dict[str, bool] = {}

    def labels(self, rule: str, place: Mapping[str, str]) -> dict[str, str]:
        """The label that a job's wildcards name of each axis that its rule finds entries of."""
        labels = {axis: place[_WILDCARDS[axis]] for axis in RULES[rule].axes}
        if rule == "unprune":  # of the unlearner that it un-prunes around
            labels["unlearners"] = self.experiment.entry("unprune", labels["unlearners"]).values["unlearner"]
        return labels

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
            if axis in ("tables", "figures"):
                yield self.known[axis][label]["module"]
            else:
                yield from modules_of(axis, options(self.experiment.entry(axis, label)), self.known)

    def _of_all(self, rule: str) -> Iterable[str]:
        for kind in RULES[rule].all_of:
            if kind == "scenarios":
                names: Iterable[str] = (entry.method for entry in self.experiment.axes[kind].values())
            elif kind == "tables":
                names = collected(self.known)
            else:
                names = self.experiment.metrics if kind == "metrics" else self.known[kind]
            yield from (self.known[kind][name]["module"] for name in names)

    def _compacted(self, rule: str, place: Mapping[str, str]) -> tuple[str, ...]:
        states = self.experiment.states if rule == "tune_unlearner" else (place["state"],)
        return ("lacuna.sparsity.compaction",) if any(map(self.compacts, states)) else ()

    def compacts(self, state: str) -> bool:
        """Whether the networks of a state run without their removed filters."""
        if state not in self._compacts:  # asked of every job of a plan
            at = State.parse(state)
            compact = not at.dense and self.experiment.entry("pruners", at.pruner).values.get("compact", False)
            self._compacts[state] = bool(compact)
        return self._compacts[state]


class Job(NamedTuple):
    """A rule and the wildcards of one of its jobs, as (name, value)."""

    rule: str
    wildcards: tuple[tuple[str, str], ...]


class Traces(NamedTuple):
    """The files below the folder of results by which a job is known: its log, its benchmark, what it writes last."""

    log: str
    benchmark: str
    made: str


def traces_of(job: Job, experiment: str) -> Traces:
    """Where a job of an experiment of that name leaves its traces."""
    values = {"experiment": experiment, **dict(job.wildcards)}
    return Traces(*(pattern.format_map(values) for pattern in patterns_of(job.rule)))


@functools.cache
def patterns_of(rule: str) -> Traces:
    """The patterns of the traces of a rule's jobs."""
    folder, log, made = RULES[rule].at
    name = f"{FOLDERS[folder]}/{log}"
    return Traces(f"logs/{name}.log", f"benchmarks/{name}.tsv", f"{FOLDERS[folder]}/{made}")


def _kept(*names: str) -> Callable[[_Part], _Part]:
    """Let a method of `Jobs` answer once for the same values of these names of a place, and the same further words."""

    values = operator.itemgetter(*names)

    def keep(method: _Part) -> _Part:
        name = method.__name__

        @functools.wraps(method)
        def asked(jobs: Jobs, place: Mapping[str, str], *words: str) -> Any:
            key = (name, values(place), words)
            if key not in jobs.kept:
                jobs.kept[key] = method(jobs, place, *words)
            return jobs.kept[key]

        return cast(_Part, asked)

    return keep


class Jobs:
    """The jobs of an experiment: `reads` has every job with those whose files it reads, the read ones first."""

    def __init__(self, experiment: Experiment, known: Catalogue):
        self.experiment = experiment
        self.needs = {need for name in experiment.metrics for need in known["metrics"][name]["needs"]}
        self.reads: dict[Job, tuple[Job, ...]] = {}
        self.kept: dict[tuple[str, Any, tuple[str, ...]], Any] = {}
        cells, evaluated, populations, probes = [], [], [], []
        for cell in experiment.cells():
            made = self._cell(cell)
            cells.append(made)
            evaluated.append(self._evaluate(cell, made))
            if experiment.shadows is not None:
                populations.append(self._population(cell))
            probes += [self._probe(cell, target) for target in experiment.targets(cell)]
        self._tables(cells, evaluated, populations, probes, known)
        if experiment.tuning is not None:
            self._tuning()

    def _job(self, rule: str, place: Mapping[str, str], names: str, reads: Iterable[Job]) -> Job:
        own = names.split()
        job = Job(rule, tuple(zip(own, map(place.__getitem__, own), strict=True)))
        if job not in self.reads:
            self.reads[job] = tuple(dict.fromkeys(reads))
        return job

    # ---- models -----------------------------------------------------------------------------------------------------

    @_kept("dataset", "seed")
    def _data(self, place: Mapping[str, str]) -> list[Job]:
        ingest = self._job("ingest", place, "dataset", ())
        return [ingest, self._job("split", place, "dataset seed", [ingest])]

    @_kept("dataset", "model", "recipe", "seed")
    def _model(self, place: Mapping[str, str], state: str) -> Job:
        at = State.parse(state)
        if at.dense:
            return self._job("train", place, "dataset model recipe seed", self._data(place))
        rounds = rounds_to(at.sparsity, self.experiment.entry("pruners", at.pruner).values.get("rate"))
        behind = f"{at.pruner}-{rounds[-1]}" if rounds else str(State())
        reads = [*self._data(place), self._model(place, str(State())), self._model(place, behind)]
        return self._job("prune", {**place, **at._asdict()}, "dataset model recipe seed pruner sparsity", reads)

    @_kept("dataset", "seed", "scenario")
    def _forget_set(self, place: Mapping[str, str]) -> Job:
        entry, data = self.experiment.entry("scenarios", place["scenario"]), self._data(place)
        reads = list(data)
        if "scores" in SCENARIOS[entry.method].needs:
            own = {**place, **{name: str(value) for name, value in entry.values.items()}}
            if "folds" in entry.values:
                reads.append(self._job("difficulty_held_out", own, "dataset model recipe seed folds", data))
            else:
                dense = self._model(own, str(State()))
                reads.append(self._job("difficulty_by_loss", own, "dataset model recipe seed", [*data, dense]))
        return self._job("choose_forget_set", place, "dataset seed scenario", reads)

    @_kept(*WILDCARDS)
    def _cell(self, place: Mapping[str, str]) -> Job:
        state, label = place["state"], place["unlearner"]
        names = "dataset model recipe seed scenario state unlearner"
        reads, dense = [self._forget_set(place), *self._data(place)[:1]], str(State())
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

    def _needed(self, place: Mapping[str, str]) -> list[Job]:
        """What the metrics need of a cell beside its own files."""
        found = self._needed_of_state(place)
        if "relearn" not in self.needs:
            return found
        names = "dataset model recipe seed scenario state unlearner"
        reads = [*self._data(place)[:1], self._forget_set(place), self._model(place, place["state"]), self._cell(place)]
        return [*found, self._job("relearn", place, names, reads)]

    @_kept("dataset", "model", "recipe", "seed", "state")
    def _needed_of_state(self, place: Mapping[str, str]) -> list[Job]:
        """The same of all cells of a state."""
        model, training = self._model(place, place["state"]), "dataset model recipe seed"
        found: list[Job] = []
        if "random_init" in self.needs:
            found.append(self._job("random_init", place, training, self._data(place)))
        if "meta" in self.needs:
            found += self._data(place)[:1]
        if "curvature" in self.needs:
            reads = [*self._data(place), model, self._model(place, str(State()))]
            found.append(self._job("curvature", place, f"{training} state", reads))
        return found

    @_kept(*WILDCARDS[:-1])
    def _oracles(self, place: Mapping[str, str]) -> list[Job]:
        """What every cell of a place is compared with."""
        compared = [{**place, "unlearner": label} for label in self.experiment.oracles]
        return [job for each in compared for job in (self._cell(each), *self._needed(each))]

    def _evaluate(self, place: Mapping[str, str], cell: Job) -> Job:
        reads = [cell, *self._needed(place), *self._oracles(place)]
        return self._job("evaluate", place, "dataset model recipe seed scenario state unlearner", reads)

    def _probe(self, place: Mapping[str, str], target: str) -> Job:
        reads = [*self._data(place)[:1], *self._data({**place, "dataset": target}), self._cell(place)]
        names = "dataset model recipe seed scenario state unlearner target"
        return self._job("probe", {**place, "target": target}, names, reads)

    # ---- shadow models ----------------------------------------------------------------------------------------------

    @_kept("dataset", "model", "recipe", "seed", "shadows")
    def _shadow_model(self, place: Mapping[str, str], state: str) -> Job:
        at, names = State.parse(state), "dataset model recipe seed shadows"
        if at.dense:
            return self._job("shadow_train", place, names, self._data(place))
        reads = [*self._data(place), self._shadow_model(place, str(State()))]
        return self._job("shadow_prune", {**place, **at._asdict()}, f"{names} pruner sparsity", reads)

    @_kept(*WILDCARDS, "shadows")
    def _shadow_cell(self, place: Mapping[str, str]) -> Job:
        state, dense = place["state"], str(State())
        names = "dataset model recipe seed scenario state unlearner shadows"
        reads = [*self._data(place)[:1], self._forget_set(place)]
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

    def _tables(
        self, cells: list[Job], evaluated: list[Job], populations: list[Job], probes: list[Job], known: Catalogue
    ) -> None:
        files = {"metrics": evaluated, "population": populations, "probe": probes}
        of_cells = self._job("aggregate", {}, "", [*evaluated, *populations])
        made = dict.fromkeys(collected(known), of_cells)

        def of(name: str) -> Job:
            if name not in made:
                facts, reads = known["tables"][name], []
                for read in (*facts["reads"], *facts["after"]):
                    reads += files[read] if read in files else [of(read)]
                made[name] = self._job("table", {"table": name}, "table", reads)
            return made[name]

        record = self._job("record", {}, "", [of(name) for name in self.experiment.tables])
        self._job("answer", {}, "", [record, *map(of, ("cells", "summary", "sparsity", "missing"))])
        # for the names of classes
        metas = [self._job("ingest", {"dataset": label}, "dataset", ()) for label in self.experiment.axes["datasets"]]
        for figure in self.experiment.figures:
            reads = [of(name) for name in known["figures"][figure]["reads"]]
            self._job("figure", {"figure": figure}, "figure", [*reads, *metas])
        self._job("html_report", {}, "", [record, *map(of, self.experiment.tables), *cells, *metas])

    def _tuning(self) -> None:
        axes, tuning = self.experiment.axes, self.experiment.tuning or {}
        judges = {*self.experiment.oracles, *self.experiment.twins}
        for dataset, model, recipe in itertools.product(axes["datasets"], axes["models"], axes["recipes"]):
            place, reads = {"dataset": dataset, "model": model, "recipe": recipe}, []
            for seed, scenario, state in itertools.product(tuning["seeds"], axes["scenarios"], self.experiment.states):
                start = {**place, "seed": str(seed), "scenario": scenario}
                reads += [self._forget_set(start), self._model(start, state)]
            studies = [
                self._job("tune_unlearner", {**place, "unlearner": label}, "dataset model recipe unlearner", reads)
                for label, entry in axes["unlearners"].items()
                if entry.values and label not in judges
            ]
            self._job("collect_winners", place, "dataset model recipe", studies)
