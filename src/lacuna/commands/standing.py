"""How far an experiment is, by the files of its results alone: nothing is locked, written or run.

A file that vanishes while it is read, or is half written, is one that is not finished.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacuna.artifacts.journal import STOPPED, Run, journals_in, read_run
from lacuna.artifacts.logs import last_line
from lacuna.commands.closing import duration, reason_in, told_to_stop
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.costs import Costs, time_left
from lacuna.experiment.grid import Experiment
from lacuna.experiment.jobs import RULES, Job, Jobs, Traces, traces_of

# the states of a job, in the order in which they are told
FINISHED, RUNNING, FAILED, HELD, WAITING = "done", "running", "failed", "held up", "to do"
STATES = (FINISHED, RUNNING, FAILED, HELD, WAITING)
# stages by rule, and for the others by the folder that their files lie in
_OF_RULE = {
    "train": "train",
    "prune": "prune",
    "unlearn": "unlearn",
    "unprune": "unlearn",
    "evaluate": "evaluate",
    **dict.fromkeys(("retrain", "retrain_exact", "retrain_exact_dense"), "oracle"),
    **dict.fromkeys((rule for rule in RULES if rule.startswith("shadow_")), "shadows"),
    "population": "shadows",
}
_OF_FOLDER = {"data": "data", "splits": "data", "tuning": "tune", "tables": "tables", "figures": "figures"}
_MEASURE = "measure"
STAGES = (
    "data",
    "train",
    "prune",
    "oracle",
    "unlearn",
    "shadows",
    _MEASURE,
    "evaluate",
    "tables",
    "figures",
    "report",
    "tune",
)
# stages whose files are what a run is for
_ENDS = ("evaluate", "tables", "figures", "report")
# finished jobs of a kind that are asked how long they took
_ASKED = 12


def stage_of(rule: str) -> str:
    """The stage that a rule belongs to."""
    folder = RULES[rule].at.folder
    return _OF_RULE.get(rule) or _OF_FOLDER.get(folder) or (folder if folder in STAGES else _MEASURE)


def name_of(job: Job) -> str:
    """A job in words: "ga: class, omp-0.90, digits, resnet8, brief, seed 0", or "evaluate ga: ..."."""
    place = dict(job.wildcards)
    if "state" in place:
        place.pop("pruner", None), place.pop("sparsity", None)
    elif "pruner" in place:
        place["state"] = f"{place.pop('pruner')}-{place.pop('sparsity')}"
    if "seed" in place:
        place["seed"] = f"seed {place['seed']}"
    first = place.pop("unlearner", "")
    order = ("figure", "target", "shadows", "folds", "scenario", "state", "dataset", "model", "recipe", "seed")
    rest = ", ".join(place[name] for name in (*order, *(k for k in place if k not in order)) if name in place)
    made = stage_of(job.rule) in ("unlearn", "oracle")  # a cell, which the label names
    return ": ".join(filter(None, (first if made else f"{job.rule} {first}".strip(), rest)))


class Listing:
    """Which files lie below a folder, by one look at each folder in it: a grid has a great many files in few folders.
    What appears in a folder after it was looked at is not seen."""

    def __init__(self, root: str | Path):
        self._root = root
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        """path: from the root, of a file or a folder."""
        folder, _, name = path.rpartition("/")
        names = self._names.get(folder)
        return name in (self._look(folder) if names is None else names)

    def _look(self, folder: str) -> frozenset[str]:
        names: frozenset[str] = frozenset()
        if not folder or folder in self:
            with contextlib.suppress(OSError):
                names = frozenset(os.listdir(os.path.join(self._root, folder)))
        self._names[folder] = names
        return names


class Grid:
    """The jobs of an experiment with the files by which each is known, and how long they take."""

    def __init__(
        self, experiment: Experiment, known: Catalogue, results: Path, reads: dict[Job, tuple[Job, ...]] | None = None
    ):
        """results: the folder that its files lie in. reads: of `Jobs`, where they are listed already."""
        self.experiment, self.results = experiment, results
        self.reads = Jobs(experiment, known).reads if reads is None else reads
        self.traces: dict[Job, Traces] = {job: traces_of(job, experiment.name) for job in self.reads}
        self.costs = Costs(experiment)

    @functools.cached_property
    def by_log(self) -> dict[str, Job]:
        """The jobs by their logs, as a journal names them."""
        return {traces.log: job for job, traces in self.traces.items()}

    @functools.cached_property
    def asked(self) -> frozenset[Job]:
        """The jobs of a run that is asked for nothing in particular: not those of a search of hyper-parameters."""
        wanted: set[Job] = set()
        for job in reversed(self.reads):  # a job stands behind those that it reads from
            if job in wanted or stage_of(job.rule) in _ENDS:
                wanted |= {job, *self.reads[job]}
        return frozenset(wanted)

    def learn(self, run: Run | None = None) -> None:
        """Learn anew how long jobs take: of some finished ones of each kind, by benchmarks, or by journals and logs.

        run: the latest of this experiment; those of others in the same results tell of jobs without a benchmark too.
        """
        self.costs = Costs(self.experiment)
        own = self.experiment.name
        runs = {own: run.seconds} if run is not None and run.seconds else {}
        for path in journals_in(self.results):
            if path.stem != own and (other := read_run(path)) is not None:
                runs[path.stem] = other.seconds
        asked: collections.Counter[Any] = collections.Counter()
        there = Listing(self.results)
        for job, traces in self.traces.items():
            noted, told = traces.benchmark in there, traces.log in there
            if not (noted or told or runs):
                continue
            kind = self.costs.nearest(job)
            if asked[kind] >= _ASKED:
                continue
            seconds = seconds_in(self.results / traces.benchmark) if noted else None
            if seconds is None:
                seconds = next((its[log] for its, log in self._told_of(job, traces.log, runs) if log in its), None)
            if seconds is None and told:
                seconds = seconds_said(self.results / traces.log)
            if seconds is not None:
                asked[kind] += 1
                self.costs.learn(job, seconds)

    def _told_of(
        self, job: Job, log: str, runs: Mapping[str, Mapping[str, float]]
    ) -> Iterator[tuple[Mapping[str, float], str]]:
        """The seconds of runs by the logs of their jobs, and what the log of a job would be called there."""
        for name, seconds in runs.items():
            yield seconds, log if name == self.experiment.name else traces_of(job, name).log

    def expected(self) -> dict[Job, float | None]:
        """The expected seconds of every job, as far as finished ones tell."""
        return {job: self.costs.seconds(job) for job in self.reads}

    def left(
        self, jobs: Mapping[Job, float], expected: Mapping[Job, float | None], at_once: int = 1, gpus: int | None = None
    ) -> Estimate:
        """The time that jobs still take. jobs: those not done, with the seconds that each has run; expected: as above;
        at_once, gpus: as of `time_left`."""
        known = {job: expected[job] for job in jobs}
        # a job that runs for longer than expected is about to end
        left = {job: max(total - jobs[job], 0.0) for job, total in known.items() if total is not None}
        on_gpu = {job for job in left if RULES[job.rule].at.folder in _OF_MODELS and job.rule != "evaluate"}
        unknown = collections.Counter(job.rule for job, total in known.items() if total is None)
        return Estimate(time_left(left, self.reads, at_once, gpus, on_gpu), sum(left.values()), at_once, dict(unknown))


def at_once_in(run: Run) -> tuple[int, int | None]:
    """How many jobs a run runs at the same time, and how many that want a GPU; on a cluster as many as now."""
    return run.cores or max(len(run.started), 1), run.gpus


def share_of(jobs: Iterable[Job], whole: Iterable[Job], expected: Mapping[Job, float | None]) -> float:
    """The share of the work of all jobs that some of them are, by cost; of jobs that nothing is known of, a middling
    one."""
    known = [seconds for seconds in expected.values() if seconds is not None]
    middling = sum(known) / len(known) if known else 1.0

    def work(some: Iterable[Job]) -> float:
        return sum(middling if (seconds := expected[job]) is None else seconds for job in some)

    total = work(whole)
    return work(jobs) / total if total else 1.0


_OF_MODELS = ("models", "cells", "shadows", "tuning")


@dataclass(frozen=True)
class Estimate:
    """Seconds until the rest is done. work: of all jobs together. at_once: jobs at the same time. unknown: jobs by rule
    that are not in it, because none of their kind has finished."""

    seconds: float
    work: float
    at_once: int
    unknown: Mapping[str, int]

    def short(self) -> str:
        """ "about 12 min left", with "at least" where some jobs are not in it, or that there is no estimate yet."""
        if not self.unknown:
            return f"about {duration(self.seconds)} left"
        return f"at least {duration(self.seconds)} left" if self.seconds else "no estimate yet"

    def words(self, end: str = " left") -> str:
        """ "about 12 min" and an end, or why there is no number."""
        missing = sum(self.unknown.values())
        if self.seconds == 0 and missing:
            return "no estimate yet: no job of the kinds that are left has finished"
        told = f"about {duration(self.seconds)}{end}"
        if not missing:
            return told
        rules = ", ".join(f"{number} {rule}" for rule, number in self.unknown.items())
        return f"{told}, not counting jobs of which none has finished yet ({rules})"


@dataclass(frozen=True)
class Trouble:
    """A job that failed, or was stopped, and why."""

    job: Job
    reason: str
    log: str


@dataclass(frozen=True)
class Standing:
    """How far an experiment is. states: of every job. cells: states of the grid's cells. running: the jobs at work,
    with the seconds since they began and the last line of their log. failed: the jobs that failed. share: of the work
    that is done, by expected cost. run: the latest run. left: the time that the rest takes; None where nothing is left.
    """

    name: str
    states: Mapping[Job, str]
    cells: Mapping[str, int]
    running: tuple[tuple[Job, float, str], ...]
    failed: tuple[Trouble, ...]
    share: float
    run: Run | None
    alive: bool | None
    left: Estimate | None

    def stages(self) -> dict[str, collections.Counter[str]]:
        """The states of the jobs of each stage that the experiment has, in the order of the pipeline."""
        found: dict[str, collections.Counter[str]] = {}
        for job, state in self.states.items():
            found.setdefault(stage_of(job.rule), collections.Counter())[state] += 1
        return {stage: found[stage] for stage in STAGES if stage in found}


def standing_of(grid: Grid, run: Run | None) -> Standing:
    """How far the experiment of a grid is, whose latest run is given."""
    alive = run.alive() if run is not None else False
    states = _states(grid, run, alive)
    now = time.time()
    running = []
    for job in (job for job, state in states.items() if state == RUNNING):
        log = grid.traces[job].log
        began = run.started.get(log, now) if run is not None else now
        running.append((job, max(now - began, 0.0), _says(grid.results / log, began)))
    failed = tuple(
        Trouble(job, reason_in(grid.results / grid.traces[job].log), str(grid.results / grid.traces[job].log))
        for job, state in states.items()
        if state == FAILED
    )
    ran = {job: seconds for job, seconds, _ in running}
    rest = {job: ran.get(job, 0.0) for job, state in states.items() if state in (RUNNING, WAITING)}
    expected = grid.expected()
    together = at_once_in(run) if run is not None and alive is not False else (1, None)
    cells = collections.Counter(state for job, state in states.items() if job.rule == "evaluate")
    return Standing(
        name=grid.experiment.name,
        states=states,
        cells=cells,
        running=tuple(running),
        failed=failed,
        share=share_of((job for job, state in states.items() if state == FINISHED), states, expected),
        run=run,
        alive=alive,
        left=grid.left(rest, expected, *together) if rest else None,
    )


def _states(grid: Grid, run: Run | None, alive: bool | None) -> dict[Job, str]:
    """The state of every job; those of a search only where the latest run was asked for them."""
    planned = set(run.planned) if run is not None else set()
    states: dict[Job, str] = {}
    for job, traces in grid.traces.items():
        if job not in grid.asked and traces.log not in planned:
            continue
        state = _state_of(traces, grid.results, run, traces.log in planned, alive)
        if state == WAITING and any(states.get(other) in (FAILED, HELD) for other in grid.reads[job]):
            state = HELD
        states[job] = state
    return states


def _state_of(traces: Traces, results: Path, run: Run | None, planned: bool, alive: bool | None) -> str:
    log = results / traces.log
    there = (results / traces.made).exists()
    if run is not None and planned:
        if traces.log in run.started:
            if alive is False:
                return _ended(log, there=False)
            # the run has not noted yet that it ended
            ended = there and _says(log, run.started[traces.log]).startswith("done in ")
            return FINISHED if ended else RUNNING
        if traces.log in run.failed:
            # one that had no time for its first line ended with the run
            ended_with_it = run.end == STOPPED and not last_line(log)
            return WAITING if told_to_stop(log) or ended_with_it else FAILED
        if traces.log in run.finished:
            return FINISHED if there else WAITING
        # an older file of it is made again
        return WAITING
    return _ended(log, there)


def _says(log: Path, began: float) -> str:
    """The last line of a running job's log; a log from before it began says nothing of it."""
    try:
        if log.stat().st_mtime < began - 1:
            return "has not begun"
    except OSError:
        return "has not begun"
    return last_line(log) or ""


def _ended(log: Path, there: bool) -> str:
    """The state of a job that nobody works on."""
    if there:
        return FINISHED
    last = last_line(log)
    # one that was killed, or told to stop, goes on with the next run
    return FAILED if last is not None and last.startswith("lacuna: ") and not told_to_stop(log) else WAITING


def seconds_said(log: Path) -> float | None:
    """The seconds that a finished job's log ends with, without those that Python took to start; None without them."""
    found = re.match(r"done in (\d+\.\d) s\b", last_line(log) or "")
    return float(found[1]) if found else None


def seconds_in(benchmark: Path) -> float | None:
    """The seconds that a benchmark of Snakemake's holds; None if there is none."""
    try:
        with open(benchmark, encoding="utf-8", errors="replace") as file:
            head, values = file.readline().split("\t"), file.readline().split("\t")
        return max(float(values[head.index("s")]), 0.0)
    except (OSError, ValueError, IndexError):
        return None


def as_json(standing: Standing, grid: Grid) -> dict[str, Any]:
    """All of it as JSON values."""
    left, run = standing.left, standing.run
    return {
        "experiment": standing.name,
        "results": str(grid.results),
        "cells": {state: standing.cells.get(state, 0) for state in STATES},
        "jobs": {state: sum(1 for each in standing.states.values() if each == state) for state in STATES},
        "stages": {stage: dict(states) for stage, states in standing.stages().items()},
        "share": round(standing.share, 4),
        "left": None if left is None else {
            "seconds": round(left.seconds, 1),
            "work": round(left.work, 1),
            "at_once": left.at_once,
            "without_estimate": dict(left.unknown),
        },
        "run": None if run is None else {
            "began": run.began, "node": run.node, "process": run.process, "alive": standing.alive, "end": run.end,
        },
        "running": [
            {**_told(job, grid), "seconds": round(seconds, 1), "says": says} for job, seconds, says in standing.running
        ],
        "failed": [{**_told(trouble.job, grid), "reason": trouble.reason} for trouble in standing.failed],
    }  # fmt: skip


def _told(job: Job, grid: Grid) -> dict[str, Any]:
    return {"rule": job.rule, **dict(job.wildcards), "log": str(grid.results / grid.traces[job].log)}
