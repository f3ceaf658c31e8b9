"""What a run tells while it goes on: its journal, and under `lacuna run` one line for each job in place of four.

A handler of Snakemake's logger rather than a logger plugin: those see no jobs, only events of them, and Snakemake loads
them from a package of their own. Here nothing is asked of the command line, and where Snakemake is another than it is
known as, its own output stays.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import logging
import os
import re
import sys
import time
from collections.abc import Iterable
from typing import Any

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import logger

from lacuna.artifacts.journal import DONE, FAILED, STARTED, Journal, journal_at, read_run
from lacuna.artifacts.logs import last_line
from lacuna.commands.batches import Batch
from lacuna.commands.closing import duration, reason_in, told_to_stop
from lacuna.commands.launch import VIEW
from lacuna.commands.standing import Estimate, Grid, at_once_in, name_of, share_of
from lacuna.commands.status import cut, percent
from lacuna.experiment.jobs import Job, patterns_of

# seconds that a job takes at least to be worth a line when it begins
_LONG = 20.0
# an estimate takes no more than this share of the time
_SHARE = 0.02
_ERRORS = ("job_error", "group_error")
# what Snakemake says of a failed job besides, and of a run with one
_OF_ONE_JOB = re.compile(r"Exiting because a job execution failed|(RuleException:\s+)?CalledProcessError|Command '")


def leaves(jobs: Iterable[Any]) -> list[Any]:
    """Snakemake's jobs, those of groups one by one."""
    return [leaf for job in jobs for leaf in (job.jobs if job.is_group() else [job])]


def with_files(jobs: Iterable[Any]) -> list[Any]:
    """The jobs that make files: targets are none."""
    return [job for job in leaves(jobs) if job.output]


def at_once_of(workflow: Any) -> tuple[int | None, int | None]:
    """How many jobs a run runs at the same time, and how many that want a GPU; None where a cluster decides."""
    if not workflow.local_exec:
        return None, None
    gpus = workflow.global_resources.get("gpu")
    gpus = getattr(gpus, "value", gpus)
    return workflow.cores, gpus if isinstance(gpus, int) else None


def viewed() -> bool:
    """Whether `lacuna run` or `lacuna plan` speaks in Snakemake's place."""
    return VIEW in os.environ


def speak_for_snakemake(batch: Batch | None = None) -> None:
    """Let of Snakemake's own output only warnings and errors through that are not of one job, and that there is nothing
    to do, which of a batch is said by the run of all."""

    def passes(record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return batch is None and str(record.msg) == str(NOTHING_TO_BE_DONE_MSG)
        # a failed job is told in a line, and those that failed at the end
        event = str(getattr(record, "event", "") or "")
        return event not in _ERRORS and not _OF_ONE_JOB.match(str(record.msg))

    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(passes)


class Progress(logging.Handler):
    """Follows the jobs of a run."""

    def __init__(self, workflow: Any, grid: Grid, results: str, batch: Batch | None = None):
        """results: the folder that files lie in. batch: of a run in batches the one that this is."""
        super().__init__()
        experiment = grid.experiment
        path = journal_at(results, experiment.name)
        self.grid, self._root = grid, f"{results}/"
        self.grid.learn(read_run(path))
        self._jobs: dict[Any, Job] = {}
        for job in with_files(workflow.dag.needrun_jobs()):
            if (ours := self._ours(job)) is not None:
                self._jobs[job.jobid] = ours
        self._names = {job: self.grid.traces[job].log for job in self._jobs.values()}
        place, run = (None, None) if batch is None else ((batch.number, batch.of), batch.run)
        self.journal = Journal(path, [*self._names.values()], experiment.config, *at_once_of(workflow), place, run)
        self._batch = "" if batch is None else f"{batch}: "
        self._to_come = self._cells_to_come()
        self._expected, self._took, self._looked = self.grid.expected(), 0.0, 0.0
        self._shows = viewed()

    def _ours(self, job: Any) -> Job | None:
        """The job of the experiment that one of Snakemake's is: in a workflow that imports this one it may be none."""
        log = str(job.log[0]) if job.log else ""
        return self.grid.by_log.get(log.removeprefix(self._root)) if log.startswith(self._root) else None

    def _cells_to_come(self) -> int:
        """How many cells of later batches have not been evaluated yet."""
        experiment = self.grid.experiment
        if experiment.part is None:
            return 0
        rest = dataclasses.replace(experiment, part=(experiment.part[1] or 0, None))
        made = patterns_of("evaluate").made
        files = (made.format_map({**cell, "experiment": experiment.name}) for cell in rest.cells())
        return sum(not os.path.exists(f"{self._root}{file}") for file in files)

    def emit(self, record: logging.LogRecord) -> None:
        """Take in one of Snakemake's events. Nothing that goes wrong here ends the run."""
        try:
            event = str(getattr(record, "event", "") or "")
            if event == "job_started":
                for number in getattr(record, "jobs", ()):
                    self._note(number, STARTED)
            elif event == "group_info":
                for job in getattr(record, "jobs", ()):
                    self._note(job.jobid, STARTED)
            elif event == "job_finished":
                self._note(getattr(record, "job_id", None), DONE)
            elif event == "job_error":
                self._note(getattr(record, "jobid", None), FAILED)
        except Exception as error:
            logger.removeHandler(self)
            print(f"lacuna: how far the run is, is no longer told ({error!r})", file=sys.stderr)

    def _note(self, number: Any, what: str) -> None:
        job = self._jobs.get(number)
        if job is None:
            return
        log = self._names[job]
        self.journal.note(log, what)
        if what == DONE and log in self.journal.run.seconds:
            self.grid.costs.learn(job, self.journal.run.seconds[log])
        if self._shows:
            with contextlib.suppress(OSError, ValueError):  # whoever looked on has gone
                self._tell(job, what)

    def _tell(self, job: Job, what: str) -> None:
        """Print the line of a job that began or ended."""
        name, log = name_of(job), self.grid.results / self._names[job]
        if what == STARTED:
            seconds = self._expected.get(job)
            if seconds is None or seconds >= _LONG:
                about = f", about {duration(seconds)}" if seconds is not None else ""
                print(f"begins: {name}{about}", file=sys.stderr, flush=True)
            return
        said = last_line(log) or ""
        told = ": ".join(filter(None, (name, cut(said))))
        if what == FAILED:
            told = f"{'stopped' if told_to_stop(log) else 'failed'}: {name}: {reason_in(log)} (log: {log})"
        print(f"[{self.headline()}] {told}", file=sys.stderr, flush=True)

    def headline(self) -> str:
        """ "68 of 165 jobs, 41 %, about 12 min left" of the jobs of this run."""
        run, jobs = self.journal.run, self._names
        done = [job for job, log in jobs.items() if log in run.finished]
        if len(done) == len(jobs):
            return f"{self._batch}{len(done)} of {len(jobs)} jobs"
        began = time.monotonic()
        if began - self._looked > self._took / _SHARE:
            self._expected = {job: self.grid.costs.seconds(job) for job in jobs}
            self._looked = began
        now = time.time()
        held = {job for job, log in jobs.items() if log in run.failed}
        for job in self.grid.reads if held else ():  # a job stands behind those that it reads from
            if not held.isdisjoint(self.grid.reads[job]):
                held.add(job)
        rest = {
            job: now - run.started[log] if log in run.started else 0.0
            for job, log in jobs.items()
            if log not in run.finished and job not in held
        }
        left = self.grid.left(rest, self._expected, *at_once_in(run))
        in_all = self._in_all(left)
        self._took = max(time.monotonic() - began, self._took / 2)
        told = f"{self._batch}{len(done)} of {len(jobs)} jobs, {percent(share_of(done, jobs, self._expected))}"
        return f"{told}, {left.short()}{in_all}" if rest else told

    def _in_all(self, left: Estimate) -> str:
        """The time of all batches that are left: each cell to come takes as long as one of this batch."""
        cells = sum(job.rule == "evaluate" for job in self._names)
        if not self._to_come or not cells or left.unknown:
            return ""
        whole = self.grid.left(dict.fromkeys(self._names, 0.0), self._expected, *at_once_in(self.journal.run))
        return f", of all batches about {duration(left.seconds + self._to_come * whole.seconds / cells)}"

    def end(self, how: str) -> None:
        """Close the journal: DONE, FAILED or STOPPED."""
        logger.removeHandler(self)
        if self.journal.run.end is None:
            self.journal.close(how)


def follow(workflow: Any, grid: Grid, results: str, batch: Batch | None = None) -> Progress | None:
    """Begin the journal of a run, and its lines under `lacuna run`; None if there is no job to follow."""
    try:
        progress = Progress(workflow, grid, results, batch)
    except Exception as error:  # a run does not end for want of its journal
        print(f"lacuna: how far the run is, is not told ({error!r})", file=sys.stderr)
        return None
    logger.addHandler(progress)
    # a run that Snakemake ends without its hooks
    atexit.register(progress.end, FAILED)
    if progress.journal.run.planned and viewed():
        print(f"{progress.headline()}; how far it is: lacuna status", file=sys.stderr)
    return progress
