"""An experiment that is run batch by batch leaves what one run leaves, also where it failed, was stopped or killed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import pytest

from lacuna.artifacts.journal import journal_at, read_run

from .project import EXPERIMENT, PATIENCE, Done, Project
from .test_results import TIMES, table

# of the eight cells of the tiny experiment: two batches, and that of the tables
SIZE = "4"


@dataclass
class Story:
    """How the runs of a project ended, by name, and what else was seen."""

    project: Project
    runs: dict[str, Done] = field(default_factory=dict)
    survivors: list[int] = field(default_factory=list)


def lacuna(*words: str) -> list[str]:
    return [sys.executable, "-m", "lacuna", *words, "--configfile", "experiment.yaml", "--cores", "1"]


def start(project: Project, *words: str) -> subprocess.Popen[str]:
    return project.started(lacuna(*words))


def run(project: Project, *words: str) -> Done:
    return project.ended(start(project, *words))


def wait_for(process: subprocess.Popen[str], file: Path) -> None:
    """Wait until a run has made a file."""
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(processes: list[psutil.Process]) -> list[int]:
    """Those of some processes that outlive a while."""
    return [process.pid for process in psutil.wait_procs(processes, timeout=60)[1]]


def tell(fresh: Project, folder: Path) -> Story:
    """Plan, kill in the first batch, stop in the second, and go on; then look for more to do, in two ways."""
    project = fresh.copy(folder / "clone")
    story = Story(project)
    story.runs["plan"] = run(project, "plan", "--batch-size", SIZE)
    story.runs["whole plan"] = run(project, "plan")
    logs = project / "results/logs/cells/digits/resnet8/brief/seed0/class"

    process = start(project, "run", "--batch-size", SIZE)
    wait_for(process, logs / "dense/retrain.log")
    others = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=PATIENCE)
    story.survivors = gone(others)

    process = start(project, "run", "--batch-size", SIZE)
    wait_for(process, logs / "omp-0.90/retrain.log")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    story.runs["stopped"] = Done(process.returncode, output)

    story.runs["finished"] = run(project, "run", "--batch-size", SIZE)
    story.runs["again"] = run(project, "run", "--batch-size", SIZE)
    story.runs["one plan"] = project.plan()
    return story


def tell_of_failure(fresh: Project, folder: Path) -> Story:
    """The cell of the first batch cannot be made."""
    project = fresh.copy(folder / "clone")
    grid = EXPERIMENT["grid"] | {"sparsities": ["dense"], "unlearners": {"ga": {"epochs": 2, "lr": 1e9}, "retrain": {}}}
    project.choose(EXPERIMENT | {"grid": grid})
    story = Story(project)
    story.runs["failed"] = run(project, "run", "--batch-size", "1")
    return story


@pytest.fixture(scope="module")
def told(
    fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[Story]]:
    return {
        "interrupted": workers.submit(tell, fresh, tmp_path_factory.mktemp("batches")),
        "failing": workers.submit(tell_of_failure, fresh, tmp_path_factory.mktemp("failing")),
    }


@pytest.fixture
def story(told: dict[str, Future[Story]]) -> Story:
    return told["interrupted"].result()


def test_plans_of_batches_are_the_plan_of_all(story: Story) -> None:
    parts, whole = (
        [line for line in story.runs[name].output.splitlines() if re.match(r"tiny: \d+ of|  \w", line)]
        for name in ("plan", "whole plan")
    )
    assert "8 cells in 2 batches, then their tables" in story.runs["plan"].output
    assert parts == whole and len(parts) > 8


def test_a_killed_run_takes_its_processes_with_it(story: Story) -> None:
    assert not story.survivors


def test_a_stopped_run_says_in_which_batch(story: Story) -> None:
    done = story.runs["stopped"]
    assert done.code == 1
    assert re.search(r"^stopped in batch 2 of 3; \d+ jobs? done in .*; run the same command", done.output, re.MULTILINE)
    assert "[batch 1 of 3: " in done.output, "which the kill had left"


def test_batches_leave_what_one_run_leaves(story: Story, finished: Project) -> None:
    done = story.runs["finished"]
    assert done.code == 0, done.output
    assert done.output.count("tables: results/tables/tiny/") == 1, "one summary"
    ours, theirs = (table(of, "cells.csv") for of in (story.project, finished))
    timed = ours["metric"].str.startswith(TIMES)
    pd.testing.assert_frame_equal(ours[~timed], theirs[~timed], check_exact=True)
    for name in ("layers.csv", "missing.csv"):
        assert (story.project / f"results/tables/tiny/{name}").read_bytes() == (
            finished / f"results/tables/tiny/{name}"
        ).read_bytes()
    assert set(story.project.made("**/*")) == set(finished.made("**/*"))
    run = read_run(journal_at(story.project / "results", "tiny"))
    assert run is not None and run.batch == (3, 3) and run.end == "done" and run.alive() is False


def test_nothing_is_left_to_do(story: Story) -> None:
    assert story.runs["again"].code == 0
    assert re.findall(r"^batch \d of 3: nothing to do$", story.runs["again"].output, re.MULTILINE) == [
        f"batch {number} of 3: nothing to do" for number in (1, 2, 3)
    ]
    assert story.runs["one plan"].nothing_to_do, "what a batch runs is what one plan would"


def test_later_batches_run_where_a_job_failed(told: dict[str, Future[Story]]) -> None:
    story = told["failing"].result()
    done = story.runs["failed"]
    assert done.code == 1
    assert done.output.count("run the same command to try") == 1, "one summary"
    assert re.search(r"^1 job failed, 1 job waited for it:$", done.output, re.MULTILINE), done.output
    cells = story.project / "results/cells/digits/resnet8/brief/seed0/class/dense"
    assert (cells / "retrain/metrics/tiny.json").exists() and not (cells / "ga/metrics/tiny.json").exists()
    assert not (story.project / "results/tables/tiny/cells.csv").exists()
