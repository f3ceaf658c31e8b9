"""After Ctrl-C, a signal or kill -9 the same command finishes with the same bytes; a damaged file says what to do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from lacuna.artifacts.journal import Run, journal_at, read_run

from .project import EXPERIMENT, PATIENCE, Done, Project

# A cell whose only job trains from scratch, long enough to be met in the middle.
EPOCHS = 60
RECIPE = EXPERIMENT["grid"]["recipes"]["brief"] | {"epochs": EPOCHS}
LONG = EXPERIMENT | {"grid": EXPERIMENT["grid"] | {"recipes": {"long": RECIPE}}}
CELL = "results/cells/digits/resnet8/long/seed0/class/dense/retrain_exact"
LOG = "results/logs/cells/digits/resnet8/long/seed0/class/dense/retrain_exact.log"
TARGET = f"{CELL}/model.safetensors"


@dataclass
class Story:
    """What a project went through: how each run ended, and what the log and the folder of its cell then held."""

    project: Project
    runs: dict[str, Done] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    journals: dict[str, Run | None] = field(default_factory=dict)
    survivors: list[str] = field(default_factory=list)

    def end(self, chapter: str, process: subprocess.Popen[str]) -> None:
        """Wait for a run to end, and note how."""
        output, _ = process.communicate(timeout=PATIENCE)
        self.tell(chapter, Done(process.returncode, output))

    def tell(self, chapter: str, done: Done) -> None:
        self.runs[chapter] = done
        self.journals[chapter] = read_run(journal_at(self.project / "results", LONG["name"]))
        self.logs[chapter] = (self.project / LOG).read_text()
        self.files[chapter] = sorted(path.name for path in (self.project / CELL).glob("*"))


def in_the_middle(project: Project, epoch: int) -> subprocess.Popen[str]:
    """Start the cell and wait until it is beyond an epoch, in which an earlier run may have left it."""
    (project / LOG).unlink(missing_ok=True)
    process = project.start(TARGET)
    deadline = time.monotonic() + PATIENCE

    def reached() -> int:
        log = (project / LOG).read_text() if (project / LOG).exists() else ""
        return max(map(int, re.findall(r"epoch (\d+)/", log)), default=0)

    while reached() < epoch:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def job_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The process of the script that Snakemake runs."""
    (script,) = [child for child in psutil.Process(process.pid).children(recursive=True) if not child.children()]
    return script


@pytest.fixture(scope="module")
def stories(
    finished: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[Story]]:
    """The same cell made without a break, and with three of them."""

    def undisturbed(project: Project) -> Story:
        story = Story(project)
        story.tell("end", project.run(TARGET))
        return story

    def disturbed(project: Project) -> Story:
        story = Story(project)

        process = in_the_middle(project, 5)
        job_of(process).send_signal(signal.SIGTERM)
        story.end("SIGTERM", process)

        process = in_the_middle(project, 10)
        job = job_of(process)
        job.suspend()
        story.runs["meanwhile"] = project.run(TARGET)
        job.resume()
        os.killpg(process.pid, signal.SIGINT)
        story.end("SIGINT", process)

        process = in_the_middle(project, 20)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        # Snakemake alone: its job is to notice
        process.kill()
        story.end("SIGKILL", process)
        story.survivors = [str(p) for p in psutil.wait_procs(family, timeout=PATIENCE)[1]]
        # as if death had come while the first files were written
        (project / TARGET).write_bytes(b"half a mod")
        (project / CELL / "rewind.safetensors").write_bytes(b"")

        story.tell("end", project.run(TARGET))
        return story

    def start(name: str, make: Callable[[Project], Story]) -> Future[Story]:
        project = finished.copy(tmp_path_factory.mktemp(name) / "clone")
        project.choose(LONG)
        return workers.submit(make, project)

    return {"disturbed": start("disturbed", disturbed), "undisturbed": start("undisturbed", undisturbed)}


@pytest.fixture(scope="module", autouse=True)  # under way beside the others
def damaged(finished: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """A cell that is made anew from a truncated dense model, twice with the same command."""

    def run() -> tuple[Project, Path, Done, Done]:
        project = finished.copy(tmp_path_factory.mktemp("damaged") / "clone")
        target = "results/cells/digits/resnet8/brief/seed0/class/dense/ga/model.safetensors"
        (project / target).unlink()
        model = project / "results/models/digits/resnet8/brief/seed0/dense/model.safetensors"
        before = model.stat()
        model.write_bytes(model.read_bytes()[: before.st_size // 2])
        os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
        failed = project.run(target)
        assert not (project / target).exists()
        assert model.with_name("model.safetensors.damaged").stat().st_size == before.st_size // 2
        return project, project / target, failed, project.run(target)

    return workers.submit(run)


def test_a_signal_to_the_job_stops_it_with_a_checkpoint(stories: dict[str, Future[Story]]) -> None:
    """SIGTERM to the script in mid-training ends the run with a sentence; the next run continues from there."""
    story = stories["disturbed"].result()
    assert story.runs["SIGTERM"].code != 0
    assert "stopped by SIGTERM in epoch" in story.logs["SIGTERM"]
    assert "stopped by SIGTERM in epoch" in story.runs["SIGTERM"].output
    assert "Traceback" not in story.runs["SIGTERM"].output
    assert story.files["SIGTERM"] == [".checkpoint.safetensors"]
    assert "continues after" in story.logs["SIGINT"]
    assert "epoch 1/" not in story.logs["SIGINT"]


def test_ctrl_c_ends_the_run_with_a_checkpoint(stories: dict[str, Future[Story]]) -> None:
    """SIGINT to the process group ends Snakemake and its job; the next run continues from there."""
    story = stories["disturbed"].result()
    assert story.runs["SIGINT"].code != 0
    assert "stopped by SIGINT in epoch" in story.logs["SIGINT"]
    assert "Traceback" not in story.runs["SIGINT"].output
    last = story.runs["SIGINT"].output.splitlines()[-1]
    assert re.fullmatch(r"stopped; 0 jobs done in \d+ \w+, 1 to do; run the same command to continue", last)
    assert story.files["SIGINT"] == [".checkpoint.safetensors"]
    assert "continues after" in story.logs["SIGKILL"]


def test_a_run_that_lives_keeps_others_out(stories: dict[str, Future[Story]]) -> None:
    """While a run lives, the same command is refused: its lock is not taken for one that a killed run left."""
    meanwhile = stories["disturbed"].result().runs["meanwhile"]
    assert meanwhile.code != 0
    assert "cannot be locked" in meanwhile.output
    assert not meanwhile.jobs


def test_kill_9_leaves_nothing_that_stops_the_same_command(stories: dict[str, Future[Story]]) -> None:
    """After kill -9 of Snakemake its job ends by itself; files half-written, the same command finishes."""
    story = stories["disturbed"].result()
    assert story.runs["SIGKILL"].code == -signal.SIGKILL
    assert not story.survivors
    assert story.runs["end"].code == 0, story.runs["end"].output
    assert story.runs["end"].jobs == {"retrain_exact: class, dense, digits, seed 0"}


def test_the_journal_says_how_each_run_ended(stories: dict[str, Future[Story]]) -> None:
    """What `lacuna status` reads: a run that was told to stop, one that was killed, and one that finished."""
    journals = stories["disturbed"].result().journals
    for chapter, end in {"SIGTERM": "stopped", "SIGINT": "stopped", "SIGKILL": None, "end": "done"}.items():
        run = journals[chapter]
        assert run is not None and run.end == end and run.alive() is False, chapter
        log = LOG.removeprefix("results/")
        assert run.planned == (log,) and set(run.finished) == ({log} if end == "done" else set()), chapter
    assert set(journals["SIGKILL"].started) == {LOG.removeprefix("results/")}


def test_an_interrupted_model_has_the_same_bits(stories: dict[str, Future[Story]]) -> None:
    """Stopped three times and continued, the cell has the bytes of one made without a break, and no debris."""
    disturbed, undisturbed = (stories[name].result() for name in ("disturbed", "undisturbed"))
    assert undisturbed.runs["end"].code == 0, undisturbed.runs["end"].output
    assert "continues after" not in undisturbed.logs["end"]
    assert disturbed.files["end"] == undisturbed.files["end"]
    assert not [name for name in disturbed.files["end"] if name.startswith(".")]
    for name in ("model.safetensors", "rewind.safetensors"):
        ours, theirs = ((story.project / CELL / name).read_bytes() for story in (disturbed, undisturbed))
        assert ours == theirs, name
    # every epoch once, whoever trained it
    epochs = [line.split(",")[0] for line in (disturbed.project / CELL / "history.csv").read_text().splitlines()]
    assert epochs == ["epoch", *map(str, range(1, EPOCHS + 1))]


def test_a_damaged_file_says_what_to_do(damaged: Future) -> None:
    """A truncated model ends the job that reads it with one sentence: the file, the reason, the remedy."""
    _, _, failed, _ = damaged.result()
    assert failed.code != 0
    assert "Traceback" not in failed.output
    assert "1 job failed:\n  ga: class, dense, digits, seed 0: results/models/" in failed.output
    assert failed.output.splitlines()[-1] == "run the same command to try it again and to continue"
    sentences = [line for line in failed.output.splitlines() if line.startswith("lacuna: ")]
    assert sentences
    for words in ("seed0/dense/model.safetensors: not a usable lacuna file", "run the same command again"):
        assert all(words in sentence for sentence in sentences)


def test_the_remedy_works(damaged: Future, finished: Project) -> None:
    """The damaged file was set aside: the same command makes it anew and the cell as it was."""
    project, target, _, cured = damaged.result()
    assert cured.code == 0, cured.output
    assert cured.jobs == {"train resnet8 on digits, brief, seed 0", "ga: class, dense, digits, seed 0"}
    assert target.read_bytes() == (finished.folder / target.relative_to(project.folder)).read_bytes()


def test_input_from_the_future_is_read_and_dated_back(finished: Project, tmp_path: Path) -> None:
    """A machine whose clock was ahead made it: its readers run at once, and then there is nothing to do."""
    project = finished.copy(tmp_path / "clone")
    cell = "results/cells/digits/resnet8/brief/seed0/class/dense/ga"
    metrics = f"{cell}/metrics/tiny.json"
    (project / metrics).unlink()
    later = time.time() + 3600
    os.utime(project / cell / "mask.npz", (later, later))
    done = project.run(metrics)
    assert done.code == 0, done.output
    assert "files from the future in results, now dated back: 1" in done.output
    assert (project / cell / "mask.npz").stat().st_mtime <= (project / metrics).stat().st_mtime <= time.time()
    assert project.plan(metrics).nothing_to_do


def test_looking_changes_nothing(finished: Project, tmp_path: Path) -> None:
    """A dry run, --lint and --summary beside the lock of a killed run: locks, results and records stay as they were."""
    project = finished.copy(tmp_path / "clone")
    (project / ".snakemake/locks").mkdir(exist_ok=True)
    (project / ".snakemake/locks/0.output.lock").write_text("results/tables/tiny/cells.csv\n")
    later = time.time() + 3600
    os.utime(project / "results/tables/tiny/cells.csv", (later, later))

    def state() -> dict[str, tuple[int, int]]:
        # Snakemake's own log and cache of a plan, and what lacuna finds out about methods, are written by every plan
        own = ("log/", "iocache/", "lacuna/catalogue", "lacuna/sizes", "lacuna/feasibility")
        files = [path for name in ("results", ".snakemake") for path in (project / name).rglob("*") if path.is_file()]
        kept = {str(path.relative_to(project.folder)): path.stat() for path in files}
        return {
            name: (found.st_mtime_ns, found.st_size)
            for name, found in kept.items()
            if not name.removeprefix(".snakemake/").startswith(own)
        }

    before = state()
    planned = project.plan()
    assert planned.code == 0, planned.output
    assert "the last run here was killed; the next one takes its lock away" in planned.output
    assert project.run("--lint").code == 0
    assert project.run("--summary").code == 0
    assert state() == before
