"""What a run is asked for: tables, figures, report, tuned values, and every file of an experiment that was deleted."""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from lacuna_workflow.inputs import Files, JobInputs
from lacuna_workflow.paths import Paths

from lacuna.artifacts.files import told_as
from lacuna.commands.batches import Batch
from lacuna.commands.standing import Listing
from lacuna.experiment.jobs import Job, Jobs, collected
from lacuna.reporting.tables.record import told_of

# rules whose files the default target names
_ASKED_FOR = ("aggregate", "table", "record", "answer", "figure", "html_report")
# the patterns of what a rule makes, by its name
Outputs = Callable[[str], Iterable[str]]
Place = Mapping[str, Any]


class _Parts(NamedTuple):
    """The metrics, of cells, of populations and of probes, that the tables are made of; the cells that they leave out,
    as `missing: allow` permits."""

    metrics: list[str]
    populations: list[str]
    probes: list[str]
    missing: list[dict[str, Any]]


class RunTargets:
    """What a run of an experiment is asked for."""

    def __init__(
        self, inputs: JobInputs, paths: Paths, batch: Batch | None = None, begin: Callable[[], None] = lambda: None
    ):
        """batch: the one that the run is about. begin: called before the first file of a target is named."""
        self.begin = begin
        self.inputs, self.params, self.experiment, self.paths = inputs, inputs.params, inputs.experiment, paths
        self.batch = batch
        # the tables that one job makes, and those that have one each
        self.collected = collected(self.params.known)
        self.single = [name for name in self.experiment.tables if name not in self.collected]

    @functools.cached_property
    def parts(self) -> _Parts:
        """What the tables are made of; looked at once, for what is there must not change between the inputs and the
        params of a rule, and only where it is asked for, which a job's own process does not."""
        return self._split_cells()

    @functools.cached_property
    def reads(self) -> dict[Job, tuple[Job, ...]]:
        """All jobs of the experiment, of a batch of cells those of its cells: `Jobs.reads`."""
        return Jobs(self.experiment, self.params.known).reads

    @functools.cached_property
    def _told(self) -> dict[str, Any]:
        return {**told_of(self.params.record), "missing": self.parts.missing}

    def asked_for(self, *kinds: Callable[[], list[str]]) -> Files:
        """An input of a target: the files of these kinds; of a batch of cells those that tables are made of."""

        def files(wildcards: Any) -> list[str]:
            self.begin()
            if self.batch is not None and not self.batch.of_tables:
                return [*self.parts.metrics, *self.parts.populations, *self.parts.probes]
            return [file for kind in kinds for file in kind()]

        return files

    def table_files(self) -> list[str]:
        """All tables of the experiment, and its record."""
        return [*self.tables().values(), self._own("tables", "experiment.json")]

    def answer_files(self) -> list[str]:
        """What the tables answer, in words and for a paper."""
        return [self._own("tables", name) for name in ("summary.md", "tables.tex")]

    def tables(self) -> dict[str, str]:
        """All tables of the experiment, by name."""
        return {name: self._own("tables", f"{name}.csv") for name in self.experiment.tables}

    def table_inputs(self, wildcards: Any) -> dict[str, str | list[str]]:
        """What a table is made from, and what must be there before; to be unpacked."""
        facts = self.params.known["tables"][wildcards.table]
        files = {"metrics": self.parts.metrics, "population": self.parts.populations, "probe": self.parts.probes}
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
            for suffix in self.experiment.figure_formats
        ]

    def report_files(self) -> list[str]:
        """The page of the experiment."""
        return [self._own("report", f"{self.experiment.name}.html")]

    def job_files(self) -> list[str]:
        """The job.json of every cell that the tables are made of."""
        # <cell>/metrics/<experiment>.json
        return [f"{file.rsplit('/', 2)[0]}/job.json" for file in self.parts.metrics]

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
        for told in self._told_by(cell):
            names += [("cells", f"{name}.json", name) for name in told]
        values = {**cell, "experiment": self.experiment.name}
        at, log_at = self.paths.at, self.paths.log_at
        return [
            (at(folder, name).format(**values), log_at(folder, log).format(**values)) for folder, name, log in names
        ]

    def _told_by(self, cell: Place) -> tuple[list[str], list[str], list[str]]:
        """Of a cell the populations, probes and metrics that tables are made of, as patterns without a suffix."""
        own = "{state}/{unlearner}"
        populations = [f"{own}/population"] if self.experiment.shadows is not None else []
        probes = [f"{own}/probe/{target}" for target in self.experiment.targets(cell)]
        return populations, probes, [f"{own}/metrics/{{experiment}}"]

    def _split_cells(self) -> _Parts:
        parts, allow = _Parts([], [], [], []), self.experiment.missing == "allow"
        folder, name = self.paths.at("cells", ""), self.experiment.name
        patterns: dict[str, list[tuple[list[str], str]]] = {}
        for cell in self.experiment.cells():
            # the steps of all cells are looked at only where one may be missing
            steps = self.steps_of(cell) if allow else []
            if not all(self._there(file) for file, _ in steps):
                # a param: another disk makes no other tables
                lying = self.paths.lying
                told = [(told_as(lying(file)), told_as(lying(log))) for file, log in steps]
                parts.missing.append({**cell, "steps": told})
                continue
            if cell["dataset"] not in patterns:  # which alone the names hang on
                kinds = zip((parts.populations, parts.probes, parts.metrics), self._told_by(cell), strict=True)
                patterns[cell["dataset"]] = [(kind, f"{folder}{each}.json") for kind, names in kinds for each in names]
            for kind, pattern in patterns[cell["dataset"]]:
                kind.append(pattern.format(experiment=name, **cell))
        return parts

    # ---- what was deleted or set aside ------------------------------------------------------------------------------

    def files_to_make_again(self, outputs: Outputs) -> list[str]:
        """Of each job of the experiment the first output that is not there: making it makes the others.

        Snakemake by itself makes nothing that no later file is waiting for. What a plan asks for anyway is left out,
        for each file more takes its time: tables and figures, and jobs of which nothing is there while one that reads
        from them runs; and what only a search of hyper-parameters reads, which is a target of its own. With `missing:
        allow` tables are made of what is there, and nothing else is asked for.
        """
        if self.experiment.missing == "allow":
            return []
        found: list[str] = []
        patterns: dict[str, list[str]] = {}
        files, root = Listing(self.paths.there), f"{self.paths.root}/"
        read_by_running: set[Job] = set()
        wanted: set[Job] = set()
        for job, read in reversed(self.reads.items()):  # a job stands behind those that it reads from
            if job.rule not in _ASKED_FOR and job not in wanted:
                continue
            wanted.update(read)
            if job.rule not in patterns:
                written = (self.paths.written(str(pattern)) for pattern in outputs(job.rule))
                patterns[job.rule] = [pattern.removeprefix(root) for pattern in written]
            missing, whole = self._missing_of(job, patterns[job.rule], files)
            waited_for = job.rule in _ASKED_FOR or (job in read_by_running and whole)
            if missing and not waited_for:
                found.append(root + missing)
            if missing:
                read_by_running.update(read)
        return found[::-1]

    def _missing_of(self, job: Job, patterns: list[str], there: Listing) -> tuple[str, bool]:
        """The first of a job's files that is not there, or nothing; and whether none of them is there."""
        values = {"experiment": self.experiment.name, **dict(job.wildcards)}
        first = patterns[0].format_map(values)
        if first.rpartition("/")[0] not in there:
            return first, True  # all that a rule makes lies in one folder
        files = [first, *(pattern.format_map(values) for pattern in patterns[1:])]
        missing = [file for file in files if file not in there]
        return (missing[0] if missing else "", len(missing) == len(files))
