"""What a run says when it begins and when it ends, and what a dry run says last."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacuna_workflow.planned import later_jobs, overwritten_by, plan_of
from lacuna_workflow.progress import Progress, follow, speak_for_snakemake, viewed, with_files
from lacuna_workflow.study import Study
from lacuna_workflow.targets import RunTargets

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import logger

from lacuna.artifacts.journal import DONE, FAILED, STOPPED
from lacuna.artifacts.layout import FOLDERS
from lacuna.commands import closing
from lacuna.commands.launch import JSON, VIEW
from lacuna.commands.planned import as_json, as_report, lines_of
from lacuna.commands.standing import Grid


class RunMessages:
    """The messages of one run of an experiment."""

    def __init__(self, workflow: Any, study: Study, targets: RunTargets):
        self.workflow, self.study, self.targets = workflow, study, targets
        self._progress: Progress | None = None
        if not workflow.is_main_process:
            return
        if viewed():
            speak_for_snakemake(study.batch)
        logger.addHandler(_AtEnd(self))

    def begin(self) -> None:
        """Before the first job."""
        study = self.study
        if study.batch is not None:
            study.batch.begin()
        self._progress = follow(self.workflow, self._grid(), study.paths.there, study.batch)
        if self._progress is None:
            return
        try:
            warnings = overwritten_by(self.workflow, self._progress.grid)
        except Exception as error:  # a run does not end for want of a warning
            warnings = [f"lacuna: whether the run overwrites files of others, is not told ({error!r})"]
        for line in warnings:
            print(line, file=sys.stderr, flush=True)

    def _grid(self) -> Grid:
        """The jobs of the run's cells; a batch of tables has none."""
        study = self.study
        reads = self.targets.reads if study.followed is study.experiment else None
        return Grid(study.followed, study.known, Path(study.paths.there), reads)

    def succeed(self) -> None:
        """After a run of which no job failed."""
        self._end(DONE)
        ran = [job for job in with_files(self.workflow.dag.jobs) if self.workflow.dag.finished(job)]
        overlays = [str(job.output.overlay) for job in ran if job.rule.name.endswith("collect_winners")]
        name, results = self.study.experiment.name, self.study.paths.there
        # of what was asked for: other tables may be those of an earlier run
        folders = {place for place in FOLDERS if any(self._lies_in(job, place) for job in ran)}
        told = closing.made(
            name, folders, overlays, len(self.targets.parts.missing) if "tables" in folders else 0, results
        )
        if self.study.batch is not None:
            self._report(DONE, len(ran), made=told)
            return
        print(closing.done(len(ran), self._elapsed()), file=sys.stderr)
        if told:
            print(told, file=sys.stderr)

    def _lies_in(self, job: Any, place: str) -> bool:
        """Whether a job's files are those of this experiment in one of the folders of results."""
        folder = self.study.paths.at(place, "").format_map(_Any(experiment=self.study.experiment.name))
        return "*" not in folder and str(job.output[0]).startswith(self.study.paths.lying(folder))

    def fail(self) -> None:
        """After a run of which jobs failed, or that was told to stop; ends the process."""
        scheduler, dag = self.workflow.scheduler, self.workflow.dag
        failed = sorted((job.format_wildcards(job.rule.message), job.log[0]) for job in with_files(scheduler.failed))
        left = with_files(dag.needrun_jobs())
        done = len(with_files(dag.needrun_jobs(exclude_finished=False))) - len(left)
        # jobs that end with a run which is told to stop did not fail
        if not getattr(scheduler, "_user_kill", None) and any(not closing.told_to_stop(log) for _, log in failed):
            how, waiting, elapsed = FAILED, len(left) - len(failed), self._elapsed()
            refused = waiting > 0 and self.study.experiment.missing == "refuse"
            told = closing.failures(failed, waiting, refused, self.study.paths.there, done, elapsed)
        elif getattr(scheduler, "_executor_error", None):
            self._end(FAILED)
            return  # the queue refused: Snakemake says why
        else:
            how = STOPPED
            told = closing.stopped(done, len(left), self._elapsed())
        self._end(how)
        self.workflow.logger_manager.logfile_hint()
        if self.study.batch is not None:
            self._report(how, done, len(left), failed if how == FAILED else [])
        else:
            print(told, file=sys.stderr)
        # nothing more to say: Snakemake would end with a WorkflowError that names no job
        sys.exit(1)

    def _report(
        self, how: str, done: int, left: int = 0, failed: Sequence[tuple[str, str]] = (), made: str = ""
    ) -> None:
        """Tell the run of all batches how this one ended: it says so once for all."""
        if self.study.batch is not None:
            goes_on = bool(self.workflow.execution_settings.keep_going)
            facts = {
                "how": how,
                "done": done,
                "left": left,
                "failed": list(failed),
                "keep_going": goes_on,
                "made": made,
            }
            self.study.batch.report(facts)

    def _end(self, how: str) -> None:
        if self._progress is not None:
            self._progress.end(how)

    def _elapsed(self) -> float | None:
        return time.time() - self._progress.journal.run.began if self._progress is not None else None

    def plan(self) -> None:
        """At the end of a dry run: the table of the grid, and what runs again and why."""
        try:
            study = self.study
            grid = self._grid()
            plan = plan_of(self.workflow, study, grid)
            if study.batch is not None:
                study.batch.report({"plan": as_report(plan, later_jobs(grid))})
                return
            if not plan.jobs and not os.environ.get(VIEW):
                return  # of targets that are no jobs of the experiment
            print(as_json(plan) if os.environ.get(VIEW) == JSON else "\n".join(lines_of(plan)), flush=True)
        except BrokenPipeError:
            pass  # whoever looked on has gone
        except Exception as error:  # Snakemake has told its plan
            print(f"lacuna: the table of the plan cannot be made ({error!r})", file=sys.stderr)


class _Any(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "*"


class _AtEnd(logging.Handler):
    """Lets a dry run tell its plan when the process ends, if Snakemake has told what it would run by then."""

    def __init__(self, messages: RunMessages):
        super().__init__()
        self._messages, self._waits = messages, False

    def emit(self, record: logging.LogRecord) -> None:
        told = str(getattr(record, "event", "") or "") == "run_info" or record.msg == NOTHING_TO_BE_DONE_MSG
        # not known while the workflow is read
        if told and not self._waits and self._messages.workflow.dryrun:
            self._waits = True
            atexit.register(self._messages.plan)
