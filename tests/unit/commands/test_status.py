"""lacuna status: every kind of tree ends in sentences, and the numbers are those of the files."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from places import ROOT

from lacuna.__main__ import main
from lacuna.artifacts.journal import DONE, FAILED, STARTED, STOPPED, Journal, Run, journal_at
from lacuna.commands import status
from lacuna.commands.standing import (
    STAGES,
    Estimate,
    Grid,
    Listing,
    Standing,
    at_once_in,
    name_of,
    share_of,
    stage_of,
    standing_of,
)
from lacuna.commands.status import bar, headline, lines_of, percent
from lacuna.experiment import catalogue
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.config import load
from lacuna.experiment.jobs import RULES, Job, traces_of

GIVEN = {
    "name": "small",
    "device": "cpu",
    "metrics": ["UA", "RA", "avg_gap"],
    "grid": {
        "datasets": {"digits": {}},
        "models": {"resnet8": {"width": 4}},
        "recipes": {"short": {"epochs": 2, "rewind_epoch": 1}},
        "seeds": [0, 1],
        "scenarios": {"class": {"forget_class": 3}},
        "pruners": {"omp": {}},
        "sparsities": ["dense", 0.9],
        "unlearners": {"original": {}, "retrain": {}, "ga": {"epochs": 2}},
    },
    "tuning": {},
}


@pytest.fixture
def grid(known: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    monkeypatch.setattr(catalogue, "load", lambda *_, **__: known)
    monkeypatch.chdir(tmp_path)
    experiment = load([], GIVEN, ROOT / "workflow/schemas/config.schema.yaml", known)
    return Grid(experiment, known, tmp_path / "results")


def make(grid: Grid, job: Job, log: str = "done in 3.0 s", seconds: float | None = 3.0) -> None:
    """Leave what a finished job leaves."""
    traces = grid.traces[job]
    texts = {traces.made: "{}", traces.log: f"{log}\n"}
    if seconds is not None:
        texts[traces.benchmark] = f"s\th:m:s\n{seconds}\t0:00:03\n"
    for name, text in texts.items():
        (grid.results / name).parent.mkdir(parents=True, exist_ok=True)
        (grid.results / name).write_text(text)


def fail(grid: Grid, job: Job, says: str = "lacuna: unlearn dataset=digits: diverged in epoch 1") -> None:
    log = grid.results / grid.traces[job].log
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"epoch 1/2\n{says}\n")


def journal(grid: Grid) -> Journal:
    jobs = [grid.traces[job].log for job in grid.reads if stage_of(job.rule) != "tune"]
    return Journal(journal_at(grid.results, "small"), jobs, GIVEN, cores=2)


def only(grid: Grid, rule: str, **place: str) -> Job:
    found = [job for job in grid.reads if job.rule == rule and place.items() <= dict(job.wildcards).items()]
    assert len(found) == 1, found
    return found[0]


def test_every_rule_has_a_stage() -> None:
    assert {stage_of(rule) for rule in RULES} <= set(STAGES)


def test_empty_tree_is_all_to_do_and_has_no_estimate(grid: Grid) -> None:
    standing = standing_of(grid, None)
    assert standing.cells == {"to do": 12} and standing.share == 0.0
    told = headline(standing)
    assert told.startswith("small: 0 of 12 cells done, 12 to do; 0 of ") and "no estimate yet" in told
    assert "tune" not in standing.stages(), "a search is no part of a run that does not ask for one"


def test_finished_tree_is_done_and_says_no_time(grid: Grid) -> None:
    for job in grid.reads:
        if stage_of(job.rule) != "tune":
            make(grid, job)
    standing = standing_of(grid, None)
    assert standing.share == 1.0 and standing.left is None and set(standing.states.values()) == {"done"}
    assert "left" not in headline(standing) and "#" * 24 in "\n".join(lines_of(standing, grid))


def test_failed_job_is_named_with_reason_and_log_and_what_waits_for_it_is_counted(grid: Grid) -> None:
    bad = only(grid, "train", seed="1")
    for job in grid.reads:
        if dict(job.wildcards).get("seed", "0") == "0" and stage_of(job.rule) not in ("tune", "tables", "figures"):
            make(grid, job)
    fail(grid, bad)
    told = "\n".join(lines_of(standing_of(grid, None), grid))
    log = grid.results / grid.traces[bad].log
    assert f"  train: digits, resnet8, short, seed 1: diverged in epoch 1 (log: {log})" in told
    assert "small: 6 of 12 cells done, 6 wait for a failed job" in told
    assert "about" not in headline(standing_of(grid, None)), (
        "no job that can run is left but those that were never seen"
    )


@pytest.mark.parametrize("says", ["lacuna: train x=y: stopped by SIGTERM in epoch 3", "train: epoch 1/2, loss 2"])
def test_stopped_and_killed_jobs_did_not_fail(grid: Grid, says: str) -> None:
    job = only(grid, "train", seed="1")
    fail(grid, job, says)
    assert standing_of(grid, None).states[job] == "to do"


def test_run_that_is_on_shows_its_jobs(grid: Grid) -> None:
    writer = journal(grid)
    train, other = only(grid, "train", seed="0"), only(grid, "train", seed="1")
    for job in (train, other):
        writer.note(grid.traces[job].log, STARTED)
    fail(grid, train, "train resnet8: epoch 1/2, loss 2.3")
    standing = standing_of(grid, writer.run)
    assert standing.alive and standing.states[train] == "running" == standing.states[other]
    told = "\n".join(lines_of(standing, grid))
    assert "a run is on since" in told and f"(process {os.getpid()})" in told
    assert "epoch 1/2, loss 2.3" in told and "has not begun" in told
    make(grid, train)
    writer.note(grid.traces[train].log, DONE)
    writer.note(grid.traces[other].log, FAILED)
    fail(grid, other, "lacuna: train: no room")
    standing = standing_of(grid, writer.run)
    assert standing.states[train] == "done" and [trouble.reason for trouble in standing.failed] == ["no room"]


def test_old_files_of_what_a_run_makes_again_are_not_done(grid: Grid) -> None:
    for job in grid.reads:
        make(grid, job)
    standing = standing_of(grid, journal(grid).run)
    assert set(standing.states.values()) <= {"to do", "done"}
    assert standing.cells == {"to do": 12}


def test_killed_run_and_stopped_run_say_that_the_same_command_continues(grid: Grid) -> None:
    writer = journal(grid)
    job = only(grid, "train", seed="0")
    writer.note(grid.traces[job].log, STARTED)
    writer.run.born = "1"  # as if the process had gone
    standing = standing_of(grid, writer.run)
    assert standing.alive is False and standing.states[job] == "to do" and not standing.running
    assert "was killed; the same command continues" in "\n".join(lines_of(standing, grid))
    writer.close(STOPPED)
    assert "was stopped; the same command continues" in "\n".join(lines_of(standing_of(grid, writer.run), grid))


def test_job_that_was_stopped_before_its_first_line_did_not_fail(grid: Grid) -> None:
    writer, job = journal(grid), only(grid, "train", seed="0")
    writer.note(grid.traces[job].log, STARTED)
    writer.note(grid.traces[job].log, FAILED)
    assert standing_of(grid, writer.run).states[job] == "failed", "while the run goes on nobody told it to stop"
    writer.close(STOPPED)
    assert standing_of(grid, writer.run).states[job] == "to do"
    fail(grid, job, "lacuna: train: no room")
    assert standing_of(grid, writer.run).states[job] == "failed"


def test_look_after_look_learns_the_same(grid: Grid) -> None:
    job = only(grid, "train", seed="0")
    make(grid, job, seconds=10.0)
    grid.learn()
    make(grid, job, seconds=30.0)
    grid.learn()
    assert grid.costs.seconds(job) == 30.0


def test_estimate_is_work_shared_out_among_the_jobs_at_once(grid: Grid) -> None:
    for job in grid.reads:
        if dict(job.wildcards).get("seed", "0") == "0" and stage_of(job.rule) not in ("tune", "tables", "figures"):
            make(grid, job, seconds=10.0)
    grid.learn()
    left = standing_of(grid, None).left
    jobs = sum(1 for job in grid.reads if dict(job.wildcards).get("seed") == "1")
    assert left is not None and left.seconds == pytest.approx(10.0 * jobs) and left.at_once == 1
    assert sum(left.unknown.values()) > 0 and "not counting jobs of which none has finished yet" in left.words()
    shared = standing_of(grid, journal(grid).run).left
    assert shared is not None and shared.at_once == 2


def test_job_without_benchmark_is_estimated_by_log_or_journal(grid: Grid, known: Catalogue) -> None:
    """Evaluations leave no benchmark: by the log of an earlier run, and by the run of another experiment."""
    done = only(grid, "evaluate", seed="0", state="dense", unlearner="ga")
    left = only(grid, "evaluate", seed="1", state="dense", unlearner="ga")
    make(grid, done, "done in 7.0 s: UA 3", seconds=None)
    grid.learn()
    assert grid.costs.seconds(left) == 7.0
    path, log = journal_at(grid.results, "other"), traces_of(done, "other").log
    Journal(path, [log], GIVEN)
    with path.open("a") as file:
        file.write('{"at": 10.0, "job": 0, "is": "started"}\n{"at": 14.0, "job": 0, "is": "done"}\n')
    again = Grid(grid.experiment, known, grid.results)
    again.learn()
    assert again.costs.seconds(left) == 4.0


def test_share_is_of_cost_and_not_of_jobs(grid: Grid) -> None:
    costs = {"train": 1000.0}
    for job in grid.reads:
        if dict(job.wildcards).get("seed", "0") == "0" and stage_of(job.rule) not in ("tune", "tables", "figures"):
            make(grid, job, seconds=costs.get(job.rule, 1.0))
    grid.learn()
    before = standing_of(grid, None).share
    make(grid, only(grid, "train", seed="1"), seconds=1000.0)
    assert standing_of(grid, None).share > before + 0.2


def test_folder_shows_every_experiment_of_a_tree(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    journal(grid)
    other = {**GIVEN, "name": "other"}
    Journal(journal_at(grid.results, "other"), [], other)
    Journal(journal_at(grid.results, "later"), [], {"name": "later", "what": 1})  # another version's
    journal_at(grid.results, "torn").write_text('{"began"')
    (grid.results / "tables/old").mkdir(parents=True)
    (grid.results / "tables/old/experiment.json").write_text("{}")
    assert main(["status", "results"]) == 0
    told = capsys.readouterr().out
    for line in (
        "small: 0 of 12",
        "other: 0 of 12",
        "later: it is none of this",
        "torn: results/logs",
        "old: its tables",
    ):
        assert f"\n{line}" in f"\n{told}", told


def test_json_has_every_job_that_is_told(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    journal(grid)
    bad = only(grid, "train", seed="1")
    fail(grid, bad)
    Journal(journal_at(grid.results, "small"), [grid.traces[bad].log], GIVEN).note(grid.traces[bad].log, FAILED)
    assert main(["status", "results", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["failed"] == [
        {
            "rule": "train", "dataset": "digits", "model": "resnet8", "recipe": "short", "seed": "1",
            "log": f"results/{grid.traces[bad].log}", "reason": "diverged in epoch 1",
        }
    ]  # fmt: skip
    assert sum(told["cells"].values()) == 12 and told["cells"]["held up"] == 6


def test_nothing_is_written_nor_changed(grid: Grid) -> None:
    make(grid, only(grid, "train", seed="0"))
    journal(grid)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    for path in sorted(before, reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert main(["status", "results"]) == 0
    finally:
        for path in sorted(before):
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert before == {path: path.stat().st_mtime_ns for path in Path().rglob("*")}


def test_bad_words_end_in_sentences(grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "torn.bin").write_bytes(b"\xff\xfe\0")
    for word in ("nowhere", "empty", "broken.yaml", "torn.bin", "/dev/null"):
        assert main(["status", word]) == 2, word
        assert capsys.readouterr().err.startswith("lacuna: "), word


BREAKS: dict[str, Callable[[Path], None]] = {
    "gone": lambda path: shutil.rmtree(path) if path.is_dir() else path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()) if path.is_file() else None,
    "empty": lambda path: path.write_bytes(b"") if path.is_file() else None,
    "noise": lambda path: path.write_bytes(os.urandom(3000)) if path.is_file() else None,
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)) if path.is_file() else None,
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("gone")) if path.is_file() else None,
}


@pytest.mark.parametrize("what", BREAKS)
def test_no_broken_tree_is_a_traceback(grid: Grid, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file of a tree, one after the other, and then all of them at once."""
    for job in grid.reads:
        make(grid, job)
    fail(grid, only(grid, "train", seed="0"))
    writer = journal(grid)
    for job in list(grid.reads)[:9]:
        writer.note(grid.traces[job].log, STARTED)
    files = [journal_at(grid.results, "small"), *(path for path in sorted(grid.results.rglob("*")) if path.is_file())]
    whole = grid.results.with_name("whole")
    grid.results.rename(whole)
    few = files[:: max(len(files) // 6, 1)]
    for broken in (*([path] for path in few), files):
        shutil.copytree(whole, grid.results)
        for path in broken:
            if path.exists():
                BREAKS[what](path)
        assert main(["status", "results"]) in (0, 2), broken
        told = capsys.readouterr()
        assert told.out.strip() or told.err.startswith("lacuna: ")
        shutil.rmtree(grid.results)


def test_watch_without_a_terminal_prints_a_line_for_each_change(
    grid: Grid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = journal(grid)
    steps = iter([lambda: None, lambda: make(grid, only(grid, "train", seed="0")), lambda: writer.close(STOPPED)])

    def pause(seconds: float) -> None:
        next(steps)()
        for job in grid.reads:
            if writer.run.end is None and (grid.results / grid.traces[job].made).exists():
                writer.note(grid.traces[job].log, DONE)

    monkeypatch.setattr(status, "time", type("T", (), {"sleep": staticmethod(pause), "strftime": time.strftime}))
    assert main(["status", "results", "--watch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(set(lines)) >= 2, lines
    assert "\033" not in "".join(lines)


@pytest.mark.parametrize(
    "states", [{"done": 1}, {"done": 999, "failed": 1}, {"to do": 3, "running": 1}, {"done": 1, "held up": 10**6}]
)
def test_bar_has_one_width_and_shows_every_state(states: dict[str, int]) -> None:
    told = bar({"done": 0, **states})
    assert len(told) == 24 and len(set(told)) == len(states)


def test_job_is_named_by_its_place() -> None:
    place = {"dataset": "d", "model": "m", "recipe": "r", "seed": "0", "pruner": "omp", "sparsity": "0.90"}
    job = Job("prune", tuple(place.items()))
    assert name_of(job) == "prune: omp-0.90, d, m, r, seed 0"
    assert name_of(Job("aggregate", ())) == "aggregate"
    cell = tuple({"seed": "0", "scenario": "class", "state": "dense", "unlearner": "ft"}.items())
    assert name_of(Job("unlearn", cell)) == "ft: class, dense, seed 0"
    assert name_of(Job("evaluate", cell)) == "evaluate ft: class, dense, seed 0"


def test_a_job_that_says_done_is_not_running_and_a_long_word_is_cut(grid: Grid) -> None:
    first, second = list(grid.traces)[:2]
    journal = Journal(journal_at(grid.results, "small"), [grid.traces[job].log for job in (first, second)], GIVEN)
    for job in (first, second):
        journal.note(grid.traces[job].log, STARTED)
    make(grid, first, log="done in 3.0 s: UA 1")
    make(grid, second, log="x" * 500)
    standing = standing_of(grid, journal.run)
    assert standing.alive and standing.states[first] == "done"
    assert [job for job, *_ in standing.running] == [second]
    (line,) = (line for line in lines_of(standing, grid) if "xxx" in line)
    assert line.endswith("x...") and len(line) < 300
    journal.close(DONE)


@pytest.mark.parametrize(
    ("share", "told"),
    [(0, "0 %"), (1e-6, "1 %"), (0.004, "1 %"), (0.5, "50 %"), (0.996, "99 %"), (1 - 1e-9, "99 %"), (1, "100 %")],
)
def test_percents_are_whole_and_neither_nothing_nor_all_before_it_is(share: float, told: str) -> None:
    assert percent(share) == told


def standing(left: Estimate | None, alive: bool, states: tuple[str, ...] = ("done", "to do"), share: float = 0.25):
    of = {Job("train", (("seed", str(seed)),)): state for seed, state in enumerate(states)}
    return Standing("x", of, {"done": 1, "to do": 1}, (), (), share, None, alive, left)


def test_headline_tells_the_share_and_how_the_time_was_reckoned() -> None:
    left = Estimate(60.0, 60.0, 1, {})
    assert headline(standing(left, False)) == (
        "x: 1 of 2 cells done, 1 to do; 1 of 2 jobs, 25 % of the work; about 60 s left, one job at a time"
    )
    # a run that is on shares the work out
    assert headline(standing(left, True)).endswith("25 % of the work; about 60 s left")
    assert headline(standing(Estimate(0.0, 0.0, 1, {"train": 1}), False)).endswith("are left has finished")
    assert headline(standing(None, False, ("done", "done"), 1.0)) == "x: 1 of 2 cells done, 1 to do; 2 of 2 jobs"


@pytest.mark.parametrize(
    ("seconds", "unknown", "told"),
    [
        (60.0, {}, "about 60 s left"),
        (60.0, {"train": 1}, "at least 60 s left"),
        (0.0, {"train": 1}, "no estimate yet"),
        (0.0, {}, "about 1 s left"),
    ],
)
def test_time_left_in_short(seconds: float, unknown: dict[str, int], told: str) -> None:
    assert Estimate(seconds, seconds, 1, unknown).short() == told


def test_what_a_running_job_has_run_is_no_more_left(grid: Grid) -> None:
    first, second = only(grid, "train", seed="0"), only(grid, "train", seed="1")
    left = grid.left({first: 4.0, second: 30.0}, dict.fromkeys((first, second), 10.0))
    assert (left.seconds, left.work) == (6.0, 6.0), "one that runs for longer than expected is about to end"


def test_evaluations_do_not_wait_for_a_gpu(grid: Grid) -> None:
    for rule, seconds in (("evaluate", 10.0), ("unlearn", 40.0)):
        jobs = [job for job in grid.reads if job.rule == rule][:4]
        left = grid.left(dict.fromkeys(jobs, 0.0), dict.fromkeys(jobs, 10.0), at_once=4, gpus=1)
        assert left.seconds == seconds, rule


def test_jobs_at_once_are_those_of_the_cores_or_of_the_cluster_now() -> None:
    run = Run(0.0, 1, "n", None, None, 3, {}, ())
    run.started.update(dict.fromkeys("abcd", 0.0))
    assert at_once_in(run) == (4, 3)
    assert at_once_in(dataclasses.replace(run, cores=2, gpus=None)) == (2, None)
    assert at_once_in(dataclasses.replace(run, started={})) == (1, 3)


def test_a_job_that_nothing_is_known_of_is_a_middling_one() -> None:
    short, long, unknown = (Job("train", (("seed", name),)) for name in "abc")
    expected = {short: 10.0, long: 30.0, unknown: None}
    assert share_of([unknown], expected, expected) == pytest.approx(20 / 60)
    assert share_of([short], [short, unknown], {short: None, unknown: None}) == 0.5
    assert share_of([], [], {}) == 1.0


def test_a_log_from_before_a_job_began_says_nothing_of_it(grid: Grid) -> None:
    job = only(grid, "train", seed="0")
    fail(grid, job, "train resnet8: epoch 1/2, loss 2.3")
    log = grid.results / grid.traces[job].log
    writer = journal(grid)
    writer.note(grid.traces[job].log, STARTED)
    for age, says in ((60, "has not begun"), (0, "train resnet8: epoch 1/2, loss 2.3")):
        os.utime(log, (time.time() - age,) * 2)
        ((_, _, told),) = standing_of(grid, writer.run).running
        assert told == says


def test_files_are_told_by_one_look_at_each_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    files, looked = Listing(tmp_path), []
    monkeypatch.setattr(os, "listdir", lambda folder, own=os.listdir: looked.append(folder) or own(folder))
    assert "a/b/file" in files and "a/b" in files and "a" in files
    assert not any(path in files for path in ("a/b/other", "a/c/file", "a/c/d/file", "b", "a/b/file/inside"))
    assert "a/b/file" in files and "a/c/other" not in files
    assert len(looked) == len(set(looked)) == 4, "the root, a, a/b, and what is no folder"
