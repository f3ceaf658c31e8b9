"""The inputs of rules that depend on the experiment."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from lacuna_workflow.params import JobParams, Wildcards
from lacuna_workflow.paths import Paths

from lacuna.artifacts.coordinates import DENSE, State
from lacuna.data import SCENARIOS
from lacuna.experiment.jobs import RULES
from lacuna.sparsity.rounds import rounds_to

Files = Callable[[Wildcards], list[str]]


class JobInputs:
    """The files that the jobs of an experiment read."""

    def __init__(self, params: JobParams, paths: Paths):
        self.params, self.experiment, self.known = params, params.experiment, params.known
        self.at, self.cell = paths.at, paths.cell_at("{state}/{unlearner}")
        # what a metric may need beside predictions, mask and job, by the name that it declares: the file of a rule
        declared = {need for facts in self.known["metrics"].values() for need in facts["needs"]}
        made = {need: RULES[need].at for need in sorted(declared & RULES.keys())}
        self.needs = {need: self.at(at.folder, at.made) for need, at in made.items()}
        self.needs |= {"weights": self.cell["model"], "meta": self.at("data", "meta.json")}

    def needed(self) -> list[str]:
        """The needs of the experiment's metrics; what every cell has anyway is none."""
        declared = {need for name in self.experiment.metrics for need in self.known["metrics"][name]["needs"]}
        return sorted(declared & set(self.needs))

    def evaluated(self) -> dict[str, str | list[str]]:
        """The inputs of an evaluation: a cell's files, those of its oracles, and what the metrics need of both."""
        files: dict[str, str | list[str]] = {}
        for name in self.needed():
            files[f"need_{name}"] = self.needs[name]
            files[f"oracle_need_{name}"] = self.oracle_files(self.needs[name])
        for name, several in (("predictions", "predictions"), ("mask", "masks"), ("job", "jobs")):
            files[name] = self.cell[name]
            files[f"oracle_{several}"] = self.oracle_files(self.cell[name])
        return files

    def score_files(self, wildcards: Wildcards) -> list[str]:
        """How hard each training sample is, where a scenario asks: by held-out models, or by the dense one."""
        scenario = self.experiment.entry("scenarios", wildcards.scenario)
        if "scores" not in SCENARIOS[scenario.method].needs:
            return []
        folder = f"held_out_{scenario.values['folds']}" if "folds" in scenario.values else DENSE
        # the scenario's own model and recipe: one forget set for the cells of all
        return [self.at("models", f"{folder}/scores.npz").format(**scenario.values, **wildcards)]

    def rounds_before(self, pruner: str, sparsity: str) -> list[str]:
        """The earlier rounds of an iterative pruner that a level is made by, in order."""
        return rounds_to(sparsity, self.experiment.entry("pruners", pruner).values.get("rate"))

    def previous_state(self, wildcards: Wildcards) -> str:
        """What a level is pruned from: the dense model, or an earlier round of an iterative pruner."""
        rounds = self.rounds_before(wildcards.pruner, wildcards.sparsity)
        return str(State(wildcards.pruner, rounds[-1]) if rounds else State())

    def from_previous(self, folder: str, name: str) -> Callable[[Wildcards], str]:
        """An input: the file of that name where the pruning of a level starts."""
        return lambda wildcards: self.at(folder, name).format(previous=self.previous_state(wildcards), **wildcards)

    def started_from(self, **files: str) -> Files:
        """An input: the file, by `start`, that a retraining of a state starts from, if it is one that reads any."""

        def chosen(wildcards: Wildcards) -> list[str]:
            pattern = files.get(self.params.start_of(wildcards) or "")
            return [] if pattern is None else [pattern.format(**wildcards)]

        return chosen

    def oracle_files(self, pattern: str) -> list[str]:
        """The patterns of a pattern's files for every oracle of a cell's state."""
        return [pattern.replace("{unlearner}", label) for label in self.experiment.oracles]

    def shadow_files(self, *unlearners: str) -> list[str]:
        """Patterns of what the shadow models of these unlearners answered, beside a cell; without any, of its own."""
        jobs = self.experiment.shadows.jobs() if self.experiment.shadows is not None else ()
        return [
            self.at("cells", f"{{state}}/{label}/shadows/{job}.npz")
            for label in unlearners or ["{unlearner}"]
            for job in jobs
        ]

    def figure_tables(self, wildcards: Wildcards) -> dict[str, str]:
        """The tables that a figure reads, by name; to be unpacked."""
        names = self.known["figures"][wildcards.figure]["reads"]
        return {name: self.at("tables", f"{name}.csv").format(**wildcards) for name in names}

    def tuning_starts(self, folder: str, name: str) -> Files:
        """The files of that name of every seed, scenario and state that a search starts from."""
        settings: dict[str, Any] = self.experiment.tuning or {"seeds": []}
        places = itertools.product(settings["seeds"], self.experiment.axes["scenarios"], self.experiment.states)
        # bound now: the patterns are formatted for each job
        patterns = [(str(seed), scenario, state) for seed, scenario, state in places]
        return lambda wildcards: [
            self.at(folder, name).format(
                **dict(wildcards.items()) | {"seed": seed, "scenario": scenario, "state": state}
            )
            for seed, scenario, state in patterns
        ]
