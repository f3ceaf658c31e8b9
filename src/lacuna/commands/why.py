"""lacuna why: which jobs a change of a file, or of a key of the experiment, would make run again."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lacuna.commands.base import Command
from lacuna.commands.launch import ROOT, experiment_file, experiment_of
from lacuna.data.image_files import SUFFIXES
from lacuna.errors import LacunaError
from lacuna.experiment.code_digest import files_of
from lacuna.experiment.jobs import RULES, Code, Job, Jobs
from lacuna.experiment.overlay import HOW_TO_RUN
from lacuna.experiment.yaml_files import shown
from lacuna.registry import register

# the jobs that list the files of all cells, whichever these are
_LISTING = "listing"
# the rules that a key of the experiment tells what to do, beside its entries; of two that fit the first, and besides
# `collect_winners`, which is told all but how to run
_OF_KEYS: dict[str, tuple[str, ...]] = {
    "metrics": ("evaluate", "record"),
    "relearning": ("relearn",),
    "transfer.probe": ("probe",),
    "tuning": ("tune_unlearner",),
    # more seeds or states leave the models and cells that are there
    "grid.seeds": (_LISTING, "record"),
    "grid.sparsities": (_LISTING, "record", "tune_unlearner"),
    "grid.shadows.per_job": (*(rule for rule in RULES if rule.startswith("shadow_")), "population"),
    "grid.shadows": ("population", _LISTING, "record"),
    # all that lies under it
    "name": (
        "evaluate",
        "aggregate",
        "table",
        "record",
        "answer",
        "figure",
        "html_report",
        "tune_unlearner",
        "collect_winners",
    ),
    "figures": (),
    "figure_formats": ("figure",),
    "missing": (_LISTING,),
    "device": (),
    "images": (),
    # where they lie models and cells say what they were made from, which tables and figures do not
    "results": ("aggregate", "table", "record", "answer", "figure", "html_report", "collect_winners"),
    "snakemake_patches": (),
}
# where the labels of an axis stand, if not below `grid`
_SECTIONS = {"targets": "transfer"}
ENVIRONMENT = (ROOT / "workflow/envs/lacuna.yaml").resolve()
# labels of one kind that are listed one by one
_LISTED = 6


@register("why", group="run")
class Why(Command):
    """Say which jobs a change would make run again.

    Takes files of code or data, and keys of the experiment such as grid.unlearners.ga.lr; names the jobs that depend on
    each, with those that are made from theirs. Starts no job.

    Example: lacuna why src/lacuna/unlearning/methods/ga.py
    lacuna why grid.unlearners.ga.lr --configfile config/experiments/mine.yaml
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("changed", nargs="+", metavar="FILE|KEY", help="a file, or a key of the experiment")
        parser.add_argument(
            "--configfile",
            nargs="+",
            default=[],
            metavar="FILE",
            help="the experiment's files, over config/config.yaml",
        )

    def run(self, options: argparse.Namespace) -> int:
        reruns = Reruns([experiment_file(word) for word in options.configfile])
        for position, changed in enumerate(options.changed):
            print(*([""] if position else []), *reruns.report(changed), sep="\n")
        return 0


class Reruns:
    """The jobs of an experiment, asked for what a change would make run again."""

    def __init__(self, files: Sequence[str | Path]):
        """files: the experiment's, over the default one. Raises LacunaError for an experiment that is not in order."""
        self.experiment, known, _ = experiment_of(files)
        self._code, self.jobs = Code(self.experiment, known), Jobs(self.experiment, known).reads

    def report(self, changed: str) -> Iterator[str]:
        """Lines about a file, or a key such as grid.unlearners.ga.lr.

        Raises LacunaError for a word that is neither.
        """
        path = Path(changed)
        if path.exists():
            direct, cause = self._of_file(path.resolve()), "runs it"
            changed = shown(path)
            if path.is_dir() and not direct:
                raise LacunaError(
                    f"why: {changed} is a folder; allowed: a file, a folder of a dataset's images, or a key of the "
                    "experiment"
                )
        else:
            direct, cause = self._of_key(changed), "uses it"
        again = self.following(direct)
        name = self.experiment.name
        if not again:
            yield f"{changed}: no job of '{name}' would run again{self._reason(path)}"
            return
        yield f"{changed}: {len(again)} of the {len(self.jobs)} jobs of '{name}' would run again"
        rows = [("rule", "jobs", "why", "only")]
        for rule in dict.fromkeys(job.rule for job in sorted(again, key=lambda job: [*RULES].index(job.rule))):
            every = [job for job in self.jobs if job.rule == rule]
            some = [job for job in every if job in again]
            why = cause if direct.intersection(some) else "reads what those make"
            rows.append((rule, f"{len(some)} of {len(every)}", why, _only(some, every)))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            yield "  " + "  ".join((*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[3])).rstrip()
        if path.suffix == ".py":
            yield "comments, docstrings and type hints in it would make no job run again"

    def following(self, direct: set[Job]) -> set[Job]:
        """These jobs and all that are made from theirs."""
        again: set[Job] = set()
        for job, reads in self.jobs.items():  # a job stands behind those that it reads from
            if job in direct or not again.isdisjoint(reads):
                again.add(job)
        return again

    def _of_file(self, path: Path) -> set[Job]:
        """The jobs that run this code, or whose entry of the grid names this file of data, or a folder of images
        with it."""
        found = {job for job in self.jobs if path in self._files(job)}
        for rule, axis in (("ingest", "datasets"), ("choose_forget_set", "scenarios")):
            for job in (job for job in self.jobs if job.rule == rule):
                entry = self.experiment.entry(axis, self._code.labels(rule, dict(job.wildcards))[axis])
                if any(
                    isinstance(value, str) and _holds(Path(value).resolve(), path) for value in entry.values.values()
                ):
                    found.add(job)
        return found

    def _files(self, job: Job) -> frozenset[Path]:
        return _reached(RULES[job.rule].script, self._code.modules(job.rule, dict(job.wildcards)))

    def _of_key(self, key: str) -> set[Job]:
        """The jobs that a key of the experiment tells what to do."""
        whole = (
            set()
            if key.partition(".")[0] in HOW_TO_RUN
            else {job for job in self.jobs if job.rule == "collect_winners"}
        )
        for known, rules in _OF_KEYS.items():
            if f"{key}.".startswith(f"{known}."):
                lists = _LISTING in rules
                return whole | {job for job in self.jobs if job.rule in rules or (lists and self._lists(job))}
        axes: Mapping[str, Mapping[str, object]] = self.experiment.axes
        section, _, rest = key.partition(".")
        axis, _, rest = rest.partition(".")
        labels = [label for label in axes.get(axis, ()) if f"{rest}.".startswith(f"{label}.")]
        if section != _SECTIONS.get(axis, "grid") or not labels:
            entries = ", ".join(f"{_SECTIONS.get(each, 'grid')}.{each}.LABEL" for each in axes)
            raise LacunaError(
                f"why: '{key}' is no file, nor a key of '{self.experiment.name}' that a job is told; "
                f"allowed: a file, {entries}, {', '.join(_OF_KEYS)}"
            )
        label = max(labels, key=len)
        # what lists cells and the record are told every entry of the grid, also one that no cell has
        tables = {"aggregate", "record"} if section == "grid" else set()
        return whole | {job for job in self.jobs if job.rule in tables or self._label(job, axis) == label}

    def _lists(self, job: Job) -> bool:
        """Whether a job is a table's that is made from files of all cells."""
        tables = self._code.known["tables"]
        return job.rule == "aggregate" or (
            job.rule == "table" and any(read not in tables for read in tables[dict(job.wildcards)["table"]]["reads"])
        )

    def _label(self, job: Job, axis: str) -> str | None:
        """The label of an axis whose entry a job is told; None if it is told none."""
        place = dict(job.wildcards)
        if axis == "unprune":
            return place["unlearner"] if job.rule == "unprune" else None
        found = self._code.labels(job.rule, place)
        return found.get("datasets" if axis == "targets" else axis)

    def _reason(self, path: Path) -> str:
        """Why nothing would, for a file."""
        if not path.exists():
            return ""
        if path.resolve() == ENVIRONMENT:
            return ": but with `--sdm conda` every job that uses this environment would"
        if path.suffix in (".yaml", ".yml", ".json"):
            return ": its keys count, not the file; `lacuna why KEY` tells of one"
        if path.suffix == ".smk" or path.name == "Snakefile" or "lacuna_workflow" in path.resolve().parts:
            return ": it says what is planned, and only a job with other inputs or values would"
        if path.suffix == ".py":
            return ": none of them runs it"
        return ": none of them reads it as code or as the user's data"


@functools.cache
def _reached(script: str, modules: tuple[str, ...]) -> frozenset[Path]:
    return frozenset(files_of(ROOT / "workflow/scripts" / script, *modules))


def _holds(named: Path, path: Path) -> bool:
    """Whether what an entry names is this file, or a folder of images and this one of them or a folder in it."""
    if named == path:
        return True
    return named.is_dir() and path.is_relative_to(named) and (path.is_dir() or path.suffix.lower() in SUFFIXES)


def _only(some: Sequence[Job], every: Sequence[Job]) -> str:
    """The values by which some jobs of a rule differ from the others: "pruner taylor, filter_taylor"."""
    told = []
    names = [name for name, _ in every[0].wildcards]
    for position, name in enumerate(names):
        if name in ("pruner", "sparsity") and "state" in names:
            continue
        mine = [*dict.fromkeys(job.wildcards[position][1] for job in some)]
        if len(mine) < len({job.wildcards[position][1] for job in every}):
            more = f" and {len(mine) - _LISTED} more" if len(mine) > _LISTED else ""
            told.append(f"{name} {', '.join(mine[:_LISTED])}{more}")
    return "; ".join(told)
