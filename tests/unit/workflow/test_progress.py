"""What a run tells of its jobs: every number is that of the events, and nothing that goes wrong ends the run."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lacuna_workflow.progress as progress_module
from lacuna_workflow import log_lines
from lacuna_workflow.progress import Progress, follow, speak_for_snakemake
from lacuna_workflow.run_messages import RunMessages
from lacuna_workflow.study import Study

import pytest
from places import ROOT
from snakemake.logging import logger

from lacuna.artifacts.coordinates import COORDINATES
from lacuna.artifacts.journal import DONE, journal_at, read_run
from lacuna.commands.batches import Batch
from lacuna.commands.launch import VIEW
from lacuna.commands.standing import Grid
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.config import load
from lacuna.experiment.grid import Experiment
from lacuna.experiment.jobs import traces_of

GIVEN: dict[str, Any] = {
    "name": "small",
    "device": "cpu",
    "metrics": ["UA"],
    "grid": {
        "datasets": {"digits": {}},
        "models": {"resnet8": {"width": 4}},
        "recipes": {"short": {"epochs": 2, "rewind_epoch": 1}},
        "seeds": [0],
        "scenarios": {"class": {"forget_class": 3}},
        "pruners": {"omp": {}},
        "sparsities": ["dense"],
        "unlearners": {"retrain": {}, "ga": {"epochs": 2}},
    },
}


class FakeJob(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]

    def is_group(self) -> bool:
        return False


@pytest.fixture
def experiment(known: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VIEW, "lines")
    return load([], GIVEN, ROOT / "workflow/schemas/config.schema.yaml", known)


def grid_of(experiment: Experiment, known: Catalogue) -> Grid:
    return Grid(experiment, known, Path("results"))


@pytest.fixture
def workflow(experiment: Experiment, known: Catalogue) -> SimpleNamespace:
    """One of Snakemake's, with the jobs of the experiment, numbered by their places, and those of another workflow."""
    grid = grid_of(experiment, known)
    jobs = [
        FakeJob(jobid=number, log=[f"results/{grid.traces[job].log}"], output=[f"results/{grid.traces[job].made}"])
        for number, job in enumerate(grid.reads)
    ]
    jobs += [FakeJob(jobid=99, log=["elsewhere/a.log"], output=["b"]), FakeJob(jobid=100, log=[], output=["c"])]
    return SimpleNamespace(
        dag=SimpleNamespace(needrun_jobs=lambda: jobs), local_exec=True, cores=2, global_resources={"gpu": 1}
    )


@pytest.fixture
def progress(workflow: SimpleNamespace, experiment: Experiment, known: Catalogue) -> Iterator[Progress]:
    followed = follow(workflow, grid_of(experiment, known), "results")
    assert followed is not None
    yield followed
    followed.end(DONE)
    assert followed not in logger.handlers


def event(progress: Progress, name: str, **facts: Any) -> None:
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, "", (), None)
    record.__dict__.update(event=name, **facts)
    progress.handle(record)


def numbers(progress: Progress) -> dict[str, int]:
    """The number of a job of each rule."""
    return {job.rule: number for number, job in progress._jobs.items()}


def test_events_are_counted_and_journalled(progress: Progress, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = len(progress._jobs)
    capsys.readouterr()
    for done, number in enumerate(progress._jobs, 1):
        event(progress, "job_started", jobs=[number, 99])
        event(progress, "job_finished", job_id=number)
        assert progress.headline().startswith(f"{done} of {jobs} jobs")
    event(progress, "job_finished", job_id=99)
    event(progress, "progress", done=1, total=2)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("begins: ")]
    assert len(lines) == jobs and lines[-1].startswith(f"[{jobs} of {jobs} jobs] ")
    assert len({line.partition("] ")[2] for line in lines}) == jobs, "each names its cell"
    run = read_run(journal_at("results", "small"))
    assert (
        run is not None and set(run.finished) == set(run.planned) and run.cores == 2 and run.config["name"] == "small"
    )


def test_failed_job_says_its_reason_and_what_waits_for_it_is_not_estimated(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    number = numbers(progress)["train"]
    log = Path("results", progress._names[progress._jobs[number]])
    log.parent.mkdir(parents=True)
    log.write_text("lacuna: train dataset=digits: diverged in epoch 1\n")
    for job in progress._jobs.values():
        progress.grid.costs.learn(job, 10.0)
    event(progress, "job_started", jobs=[number])
    event(progress, "job_error", jobid=number)
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(f"failed: train: digits, resnet8, short, seed 0: diverged in epoch 1 (log: {log})")
    progress._took = 0.0  # look at once
    # all else reads the trained model: ingest, split and forget set, one after the other
    assert progress.headline().endswith(", about 30 s left")
    event(progress, "job_started", jobs=[number])  # a second attempt
    assert not progress.journal.run.failed


def test_a_batch_tells_the_time_of_all(workflow: SimpleNamespace, experiment: Experiment, known: Catalogue) -> None:
    part = dataclasses.replace(experiment, part=(0, 1))
    batch = Batch(1, 3, 0, 1, 4711, 0, "")
    followed = follow(workflow, grid_of(part, known), "results", batch)
    assert followed is not None and followed.journal.run.batch == (1, 3) and followed.journal.run.process == 4711
    assert followed._to_come == 1, "the second cell"
    assert followed.headline().startswith(f"batch 1 of 3: 0 of {len(followed._jobs)} jobs, 0 %, no estimate yet")
    for job in followed._jobs.values():
        followed.grid.costs.learn(job, 60.0)
    followed._took = 0.0
    left, both = re.search(r"about (\d+) min left, of all batches about (\d+) min", followed.headline()).groups()
    assert int(both) == 2 * int(left), "as long as the first cell with all that it needs"
    made = Path("results") / traces_of(evaluation_of(experiment, known), "small").made
    made.parent.mkdir(parents=True)
    made.touch()
    followed.end(DONE)
    again = follow(workflow, grid_of(part, known), "results", batch)
    assert again is not None and again._to_come == 0
    again.end(DONE)


def evaluation_of(experiment: Experiment, known: Catalogue) -> Any:
    """The job that evaluates the last cell."""
    return [job for job in grid_of(experiment, known).reads if job.rule == "evaluate"][-1]


def test_what_goes_wrong_does_not_end_the_run(progress: Progress, capsys: pytest.CaptureFixture[str]) -> None:
    logger.addHandler(progress)
    event(progress, "job_started", jobs=7)
    assert progress not in logger.handlers
    assert "no longer told" in capsys.readouterr().err


def test_run_that_cannot_be_followed_goes_on(
    experiment: Experiment, known: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    assert follow(SimpleNamespace(), grid_of(experiment, known), "results") is None
    assert capsys.readouterr().err.startswith("lacuna: how far the run is, is not told")


def test_without_lacuna_run_nothing_is_printed(
    workflow: SimpleNamespace,
    experiment: Experiment,
    known: Catalogue,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Snakemake's own output stays as it is; the journal is kept all the same."""
    monkeypatch.delenv(VIEW)
    followed = follow(workflow, grid_of(experiment, known), "results")
    assert followed is not None
    event(followed, "job_started", jobs=[0])
    event(followed, "job_finished", job_id=0)
    followed.end(DONE)
    assert capsys.readouterr().err == ""
    run = read_run(journal_at("results", "small"))
    assert run is not None and len(run.finished) == 1 and run.end == DONE


@pytest.mark.parametrize(
    ("level", "message", "facts", "passes"),
    [
        (logging.INFO, "Building DAG of jobs...", {}, False),
        (logging.INFO, "", {"event": "job_info"}, False),
        (logging.ERROR, "Error in rule train, jobid: 1", {"event": "job_error"}, False),
        (logging.ERROR, "Exiting because a job execution failed. Look below for error messages", {}, False),
        (logging.ERROR, 'RuleException:\nCalledProcessError in file "train.smk", line 3:\nCommand', {}, False),
        (logging.WARNING, "Touching output file", {}, True),
        (logging.ERROR, "Error: Directory cannot be locked.", {"event": "error"}, True),
        (logging.INFO, str(progress_module.NOTHING_TO_BE_DONE_MSG), {}, True),
    ],
)
def test_of_snakemakes_words_warnings_and_errors_of_no_one_job_stay(
    level: int, message: str, facts: dict[str, str], passes: bool
) -> None:
    stream = logging.StreamHandler()
    stream.name = "DefaultStreamHandler"
    logger.addHandler(stream)
    try:
        speak_for_snakemake()
    finally:
        logger.removeHandler(stream)
    record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    record.__dict__.update(facts)
    assert bool(stream.filter(record)) is passes


def test_a_run_warns_once_of_tables_of_others_that_it_makes_stale(
    workflow: SimpleNamespace, experiment: Experiment, known: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = grid_of(experiment, known)
    (train,) = (number for number, job in enumerate(grid.reads) if job.rule == "train")
    jobs = workflow.dag.needrun_jobs()
    made = Path(jobs[train].output[0])
    made.parent.mkdir(parents=True)
    made.touch()
    row = {**dict.fromkeys(COORDINATES, "x"), **dict(list(grid.reads)[train].wildcards)}
    for name in ("small", "other"):  # its own tables are no others'
        path = Path("results/tables", name, "provenance.csv")
        path.parent.mkdir(parents=True)
        path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    parts = ("_missing_output", "params_changed", "code_changed", "software_stack_changed", "input_changed")
    reason = SimpleNamespace(forced=True, _incomplete_output=False, _updated_input=(), **dict.fromkeys(parts, False))
    workflow.is_main_process, workflow.dryrun = True, False
    workflow.dag = SimpleNamespace(needrun_jobs=lambda **_: jobs, jobs=jobs, reason=lambda _: reason)
    study = Study(experiment, known, SimpleNamespace(there="results"))
    messages = RunMessages(workflow, study, SimpleNamespace(reads=grid.reads))
    messages.begin()
    assert messages._progress is not None
    messages._progress.end(DONE)
    logger.handlers = [handler for handler in logger.handlers if type(handler).__name__ != "_AtEnd"]
    said = capsys.readouterr().err
    (warning,) = (line for line in said.splitlines() if "warning" in line)
    assert warning.startswith("warning: 1 job overwrites files that the tables of 'other' were made from; ")


def test_line_of_a_cell_begins_with_the_metrics_of_most_tables(tmp_path: Path) -> None:
    metrics = {"JS_forget/retrain": 0.5, "MIA": 1, "RA": 2, "TA": 3, "UA": 4, "avg_gap/retrain": 5, "x": None}
    (tmp_path / "m.json").write_text(json.dumps({"metrics": metrics}))
    job: Any = SimpleNamespace(rule="evaluate", output={"metrics": str(tmp_path / "m.json")})
    (told,) = log_lines._result(job)
    assert told == "UA 4, RA 2, TA 3, MIA 1, avg_gap/retrain 5, JS_forget/retrain 0.5"


def test_stopped_job_is_not_told_as_failed(progress: Progress, capsys: pytest.CaptureFixture[str]) -> None:
    number = numbers(progress)["train"]
    log = Path("results", progress._names[progress._jobs[number]])
    log.parent.mkdir(parents=True)
    log.write_text("lacuna: train dataset=digits: stopped by SIGINT in epoch 1\n")
    event(progress, "job_started", jobs=[number])
    event(progress, "job_error", jobid=number)
    assert "] stopped: train: digits, resnet8, short, seed 0: " in capsys.readouterr().err.splitlines()[-1]
