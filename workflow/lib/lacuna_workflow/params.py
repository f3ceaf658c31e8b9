"""The params of rules: each rule depends on its own part of the experiment, and on the code that it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lacuna_workflow import ROOT

from lacuna.artifacts.coordinates import DENSE
from lacuna.data import DATASETS, SCENARIOS
from lacuna.data.user_files import content_of_files
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.code_digest import code_digest
from lacuna.experiment.grid import Experiment
from lacuna.experiment.jobs import RULES, Code, options
from lacuna.experiment.overlay import without_how_to_run
from lacuna.fields import build
from lacuna.registry import Registry

SCRIPTS = ROOT / "workflow" / "scripts"
# Snakemake's wildcards of a job, by attribute and by name
Wildcards = Any
Param = Callable[[Wildcards], Any]


def one_of(labels: Iterable[str]) -> str:
    """The pattern of a wildcard: exactly these labels."""
    return "|".join(label.replace(".", r"\.") for label in labels) or "(?!)none"


class JobParams:
    """What the rules' params are of an experiment; `known` is the catalogue of what exists."""

    def __init__(self, experiment: Experiment, known: Catalogue):
        self.experiment, self.known, self.code = experiment, known, Code(experiment, known)
        axes = experiment.axes | {"datasets": experiment.datasets}
        self.options = {
            axis: {label: options(entry) for label, entry in entries.items()} for axis, entries in axes.items()
        }
        # the entries that make cells: a new target of probes is nothing to the tables of these
        self.grid = {
            axis: {label: self.options[axis][label] for label in entries}
            for axis, entries in experiment.axes.items()
            if axis != "targets"
        }
        self.config = without_how_to_run(experiment.config)
        # the oracles and their twins
        self.retrained = {*experiment.oracles, *experiment.twins}
        self._built: dict[tuple[str, str], Any] = {}

    @property
    def record(self) -> dict[str, Any]:
        """A param: the experiment as it was resolved, which experiment.json holds."""
        experiment, known = self.experiment, self.known
        better = {name: known["metrics"][name]["better"] for name in experiment.metrics}
        if experiment.shadows is not None:
            better |= {name: facts["better"] for name, facts in known["population"].items()}
        # cost metrics do not measure forgetting
        costs = [m for m in experiment.metrics if known["metrics"][m]["module"] == "lacuna.evaluation.metrics.cost"]
        return {
            "name": experiment.name,
            "seeds": experiment.seeds,
            "states": experiment.states,
            "metrics": experiment.metrics,
            "grid": self.grid,
            # which a sorted JSON has not
            "order": {axis: list(entries) for axis, entries in self.grid.items()},
            "judging": {"oracles": experiment.oracles, "twins": experiment.twins, "better": better, "costs": costs},
        }

    @property
    def drawn(self) -> dict[str, Any]:
        """A param: of `record` what figures ask of it, `reporting.palette.Palette.of`."""
        methods = {
            axis: {label: {"method": entry["method"]} for label, entry in self.grid[axis].items()}
            for axis in ("unlearners", "unprune")
        }
        judging = {"oracles": self.experiment.oracles, "twins": self.experiment.twins}
        return {"grid": methods | {"scenarios": self.grid["scenarios"]}, "judging": judging}

    def unlearners_by(self, method: str | None) -> list[str]:
        """The labels of the unlearners with this method; None: of all that start from the original model."""
        return [
            label
            for label, entry in self.experiment.axes["unlearners"].items()
            if (label not in self.retrained if method is None else entry.method == method)
        ]

    @property
    def tunable(self) -> list[str]:
        """What has a hyper-parameter: every unlearner but the oracles, which follow the recipe, and the original."""
        return [label for label in self.unlearners_by(None) if self.experiment.entry("unlearners", label).values]

    def entry_of(self, axis: str, wildcard: str) -> dict[str, Any] | Param:
        """A param: the entry of one axis that a wildcard names."""
        entries = self.options[axis]
        # a function is called for every job; where there is one label, all have the same entry
        if len(entries) == 1:
            return next(iter(entries.values()))
        return lambda wildcards: entries[wildcards[wildcard]]

    def unlearner_entry(self, wildcards: Wildcards) -> dict[str, Any]:
        """A param: the unlearner's entry; an oracle follows the recipe, but for what is its own."""
        entry = self.options["unlearners"][wildcards.unlearner]
        if wildcards.unlearner not in self.retrained:
            return entry
        if "start" in entry:
            entry = entry | {"start": self.start_of(wildcards)}
        return self.options["recipes"][wildcards.recipe] | entry

    def start_of(self, wildcards: Wildcards) -> str | None:
        """Where a retraining starts; nothing is removed of a dense network, so that any θ_0 fits it."""
        start: str | None = self.experiment.entry("unlearners", wildcards.unlearner).values.get("start")
        return "fresh" if (start, wildcards.state) == ("theta0", DENSE) else start

    def unpruned_entry(self, wildcards: Wildcards) -> dict[str, Any]:
        """A param: the entry of the unlearner that a cell un-prunes around."""
        return self.options["unlearners"][self.options["unprune"][wildcards.unlearner]["unlearner"]]

    def compacted(self) -> bool | Param:
        """A param: whether a cell's network runs without its removed filters; asked for each job only where one can."""
        if not any(entry.values.get("compact") for entry in self.experiment.axes["pruners"].values()):
            return False
        return lambda wildcards: self.code.compacts(wildcards.state)

    def built(self, axis: str, label: str) -> Any:
        """The object of a dataset's or scenario's entry; built once, not for every job."""
        if (axis, label) not in self._built:
            entry = self.experiment.entry(axis, label)
            registries: dict[str, Registry[Any]] = {"datasets": DATASETS, "scenarios": SCENARIOS}
            self._built[axis, label] = build(registries[axis][entry.method], entry.values)
        return self._built[axis, label]

    def user_files(self, axis: str, wildcard: str) -> Param:
        """A param: a digest of the user's files that the entry of one axis reads, so that their content counts.

        They are no inputs: Snakemake would judge them by their times, and take braces in a path for wildcards.
        """

        def content(wildcards: Wildcards) -> Any:
            entry = self.built(axis, wildcards[wildcard])
            return entry.content() if axis == "datasets" else content_of_files(entry.files())

        return content

    def code_of(self, rule: str) -> str | Param:
        """A param: the digest of what a rule runs, with the modules of the entries that its wildcards name."""
        cache: dict[tuple[str, ...], str] = {}

        def digest(wildcards: Wildcards) -> str:
            modules = self.code.modules(rule, wildcards)
            if modules not in cache:
                cache[modules] = code_digest(SCRIPTS / RULES[rule].script, *modules)
            return cache[modules]

        # a function is called for every job
        return digest if RULES[rule].axes else digest({})

    def figure_judges(self, wildcards: Wildcards) -> list[str]:
        """A param: the oracles of the method that a figure compares with; none where it names no method."""
        method = self.known["figures"][wildcards.figure]["oracle"]
        return [o for o in self.experiment.oracles if self.experiment.entry("unlearners", o).method == method]
