"""What a run is asked for: tables, figures, tuned values, and every file of an experiment that was deleted."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from lacuna_workflow.inputs import JobInputs
from lacuna_workflow.paths import Paths

from lacuna.artifacts.coordinates import DENSE, State
from lacuna.artifacts.files import told_as
from lacuna.data import SCENARIOS
from lacuna.experiment.jobs import collected
from lacuna.reporting.tables.record import told_of

# the patterns of what a rule makes, by its name
Outputs = Callable[[str], Iterable[str]]
Place = Mapping[str, Any]


class RunTargets:
    """What a run of an experiment is asked for; what is there is looked at once, when this is made."""

    def __init__(self, inputs: JobInputs, paths: Paths):
        self.inputs, self.params, self.experiment, self.paths = inputs, inputs.params, inputs.experiment, paths
        # once: what is there must not change between the inputs and the params of a rule
        self.metrics, self.populations, self.probes, self.missing = self._split_cells()
        # the tables that one job makes, and those that have one each
        self.collected = collected(self.params.known)
        self.single = [name for name in self.experiment.tables if name not in self.collected]
        self._told = {**told_of(self.params.record), "missing": self.missing}

    def table_files(self) -> list[str]:
        """All tables of the experiment, and its record."""
        return [*self.tables().values(), self._own("tables", "experiment.json")]

    def tables(self) -> dict[str, str]:
        """All tables of the experiment, by name."""
        return {name: self._own("tables", f"{name}.csv") for name in self.experiment.tables}

    def table_inputs(self, wildcards: Any) -> dict[str, str | list[str]]:
        """What a table is made from, and what must be there before; to be unpacked."""
        facts = self.params.known["tables"][wildcards.table]
        files = {"metrics": self.metrics, "population": self.populations, "probe": self.probes}
        tables = self.tables()
        return {name: files[name] if name in files else tables[name] for name in (*facts["reads"], *facts["after"])}

    def told(self, *tables: str) -> dict[str, Any]:
        """A param: what tables ask of the experiment."""
        asked = {name for table in tables for name in self.params.known["tables"][table]["asks"]}
        return {name: value for name, value in self._told.items() if name in asked}

    def figure_files(self) -> list[str]:
        """All figures of the experiment."""
        return [
            self._own("figures", f"{figure}.{suffix}")
            for figure in self.experiment.figures
            for suffix in ("svg", "png")
        ]

    def tuned_files(self, wildcards: Any = None) -> list[str]:
        """An input: an overlay for each dataset, model and recipe.

        Ends the process with a sentence for an experiment that searches nothing: an error would come with lines of the
        rules.
        """
        if self.experiment.tuning is None:
            sys.exit("lacuna: tuning: missing key; `tuning: {}` in the experiment's file searches with the defaults")
        axes = ("dataset", "model", "recipe")
        labels = itertools.product(*(self.experiment.axes[f"{axis}s"] for axis in axes))
        return [self._own("tuning", "tuned.yaml", **dict(zip(axes, place, strict=True))) for place in labels]

    def _own(self, folder: str, name: str, **place: str) -> str:
        return self.paths.at(folder, name).format(experiment=self.experiment.name, **place)

    def _there(self, path: str) -> bool:
        return os.path.exists(self.paths.lying(path))

    # ---- what tables are made of ------------------------------------------------------------------------------------

    def steps_of(self, cell: Place) -> list[tuple[str, str]]:
        """The files that a cell's metrics are made of, each with its log, in the order of their making."""
        names = [("models", "{state}/model.safetensors", "{state}")]
        for label in (cell["unlearner"], *self.experiment.oracles):
            names.append(("cells", f"{{state}}/{label}/predictions.npz", f"{{state}}/{label}"))
        if self.experiment.shadows is not None:
            names.append(("cells", "{state}/{unlearner}/population.json", "{state}/{unlearner}/population"))
        for target in self.experiment.targets(dict(cell)):
            probe = f"{{state}}/{{unlearner}}/probe/{target}"
            names.append(("cells", f"{probe}.json", probe))
        metrics = "{state}/{unlearner}/metrics/{experiment}"
        names.append(("cells", f"{metrics}.json", metrics))
        values = {**cell, "experiment": self.experiment.name}
        at, log_at = self.paths.at, self.paths.log_at
        return [
            (at(folder, name).format(**values), log_at(folder, log).format(**values)) for folder, name, log in names
        ]

    def _split_cells(self) -> tuple[list[str], list[str], list[str], list[dict[str, Any]]]:
        """The metrics, of cells, of populations and of probes, that the tables are made of; the cells that they leave
        out, as `missing: allow` permits."""
        metrics, populations, probes, missing = [], [], [], []
        for cell in self.experiment.cells():
            steps = self.steps_of(cell)
            if self.experiment.missing == "allow" and not all(self._there(file) for file, _ in steps):
                # a param: another disk makes no other tables
                lying = self.paths.lying
                told = [(told_as(lying(file)), told_as(lying(log))) for file, log in steps]
                missing.append({**cell, "steps": told})
                continue
            files = [file for file, _ in steps]
            metrics.append(files[-1])
            populations += [file for file in files if Path(file).name == "population.json"]
            probes += [file for file in files if Path(file).parent.name == "probe"]
        return metrics, populations, probes, missing

    # ---- what was deleted or set aside ------------------------------------------------------------------------------

    def files_to_make_again(self, outputs: Outputs) -> list[str]:
        """Of each job of the experiment the first output that is not there: making it makes the others.

        Snakemake by itself makes nothing that no later file is waiting for. What a plan asks for anyway is left out,
        for each file more takes its time: the results while there are no tables, and jobs of which nothing is there
        while one that reads from them runs. With `missing: allow` tables are made of what is there, and nothing else
        is asked for.
        """
        if self.experiment.missing == "allow":
            return []
        results = {file for file in (*self.metrics, *self.populations) if not self._there(file)}
        probes = {file for file in self.probes if not self._there(file)}
        found = sorted(results) if self._there(self._own("tables", "cells.csv")) else []
        found += sorted(probes) if self._there(self._own("tables", "transfer.csv")) else []
        patterns: dict[str, list[str]] = {}
        for rule, values, asked in self._jobs(results | probes):
            if rule not in patterns:
                patterns[rule] = [self.paths.written(str(pattern)) for pattern in outputs(rule)]
            if asked and not self._there(os.path.dirname(patterns[rule][0].format(**values))):
                continue  # all that a rule makes lies in one folder
            files = [pattern.format(**values) for pattern in patterns[rule]]
            missing = [file for file in files if not self._there(file)]
            if missing and not (asked and len(missing) == len(files)):
                found.append(missing[0])
        return list(dict.fromkeys(found))

    def _jobs(self, results: Set[str]) -> Iterator[tuple[str, Place, bool]]:
        """The rule and wildcards of each job, and whether a job that reads all that it makes is known to run.

        results: those that are made because they are not there.
        """
        needs, seen = self.inputs.needed(), set()

        def once(*key: str) -> bool:
            new = key not in seen
            seen.add(key)
            return new

        for dataset in self.experiment.datasets:
            yield "ingest", {"dataset": dataset}, False
        for cell in self.experiment.cells():
            place, maker = _with_levels(cell), self._maker_of(cell)
            dataset, model, recipe, seed, scenario, state = (
                cell[axis] for axis in ("dataset", "model", "recipe", "seed", "scenario", "state")
            )
            folder = self.paths.at("cells", "{state}/{unlearner}").format(**place)
            evaluated = f"{folder}/metrics/{self.experiment.name}.json" in results
            if once(dataset, seed):
                yield "split", place, False
            for target in self.experiment.targets(cell):
                if once(target, seed):
                    yield "split", place | {"dataset": target}, False
                yield "probe", place | {"target": target}, f"{folder}/probe/{target}.json" in results
            if once(dataset, seed, scenario, "forget set"):
                yield "choose_forget_set", place, False
                entry = self.experiment.entry("scenarios", scenario)
                if "scores" in SCENARIOS[entry.method].needs:
                    by = "held_out" if "folds" in entry.values else "by_loss"
                    yield f"difficulty_{by}", place | entry.values, False
            # an exact oracle reads no model of its state
            reads = evaluated and maker in ("unlearn", "unprune") and not self._there(f"{folder}/predictions.npz")
            for behind in self._states_behind(state):
                level = _with_levels(place | {"state": behind})
                if once(dataset, model, recipe, seed, behind):
                    yield "train" if behind == DENSE else "prune", level, reads
                    if "curvature" in needs and behind in self.experiment.states:
                        yield "curvature", level, evaluated and behind == state
                reads = reads and not self._there(self.paths.at("models", "{state}/model.safetensors").format(**level))
            if "random_init" in needs and once(dataset, model, recipe, seed):
                yield "random_init", place, evaluated
            yield maker, place, evaluated
            if "relearn" in needs:
                yield "relearn", place, evaluated
            yield from self._shadow_jobs(place, maker, f"{folder}/population.json" in results, folder, once)

    def _shadow_jobs(
        self, place: dict[str, Any], maker: str, judged: bool, folder: str, once: Callable[..., bool]
    ) -> Iterator[tuple[str, Place, bool]]:
        """The same of a cell's shadow models. judged: whether its population.json is made."""
        dataset, model, recipe, seed, state = (place[axis] for axis in ("dataset", "model", "recipe", "seed", "state"))
        exact = maker.startswith("retrain_exact")
        for job in self.experiment.shadows.jobs() if self.experiment.shadows is not None else ():
            yield f"shadow_{maker}" if exact else "shadow_unlearn", place | {"shadows": job}, judged
            reads = not exact and judged and not self._there(f"{folder}/shadows/{job}.npz")
            for behind in () if exact else dict.fromkeys((state, DENSE)):
                level = _with_levels(place | {"state": behind, "shadows": job})
                if once(dataset, model, recipe, seed, behind, job):
                    yield "shadow_train" if behind == DENSE else "shadow_prune", level, reads
                model_file = self.paths.at("shadows", "{state}/{shadows}.safetensors").format(**level)
                reads = reads and not self._there(model_file)

    def _maker_of(self, cell: Place) -> str:
        """The rule that makes a cell."""
        if cell["unlearner"] in self.experiment.axes["unprune"]:
            return "unprune"
        method = self.params.options["unlearners"][cell["unlearner"]]["method"]
        if method == "retrain_exact":
            return "retrain_exact_dense" if cell["state"] == DENSE else "retrain_exact"
        return "retrain" if method == "retrain" else "unlearn"

    def _states_behind(self, state: str) -> list[str]:
        """A state and those that it was pruned from, the dense one last."""
        at = State.parse(state)
        if at.dense:
            return [state]
        rounds = self.inputs.rounds_before(*at)
        return [state, *(str(at._replace(sparsity=level)) for level in reversed(rounds)), DENSE]


def _with_levels(place: Place) -> dict[str, Any]:
    """A place with its state taken apart, as rules of sparse states name it."""
    return {**place, **State.parse(place["state"])._asdict()}
