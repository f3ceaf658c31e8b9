"""The journal of a run: what is read is what was written, of a killed run too."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest

from lacuna.artifacts.journal import DONE, FAILED, STARTED, STOPPED, Journal, journal_at, journals_in, read_run


def written(folder: Path) -> tuple[Path, Journal]:
    path = journal_at(folder, "x")
    return path, Journal(path, ["logs/a.log", "logs/b.log", "logs/c.log"], {"name": "x"}, cores=2, gpus=1)


def test_reader_knows_what_the_run_knows(tmp_path: Path) -> None:
    path, journal = written(tmp_path)
    journal.note("logs/a.log", STARTED)
    journal.note("logs/a.log", DONE)
    journal.note("logs/b.log", STARTED)
    journal.note("logs/b.log", FAILED)
    journal.note("logs/b.log", STARTED)  # a second attempt
    assert read_run(path) == journal.run
    assert set(journal.run.started) == {"logs/b.log"} and not journal.run.failed
    assert set(journal.run.seconds) == {"logs/a.log"}
    assert journal.run.alive() is True
    journal.close(STOPPED)
    run = read_run(path)
    assert run is not None and run.end == STOPPED and run.ended == journal.run.ended and run.alive() is False
    assert journals_in(tmp_path) == [path]


def test_run_in_batches_lives_between_two_of_them(tmp_path: Path) -> None:
    path = journal_at(tmp_path, "x")
    for batch, end, alive in (
        ((1, 3), DONE, True),
        ((2, 3), FAILED, True),
        ((2, 3), STOPPED, False),
        ((3, 3), DONE, False),
    ):
        Journal(path, [], {}, batch=batch, process=os.getpid()).close(end)
        run = read_run(path)
        assert run is not None and run.batch == batch and run.alive() is alive
    Journal(path, [], {}, batch=(1, 3), process=2**22 + 1).close(DONE)  # no such process: its number is beyond all
    run = read_run(path)
    assert run is not None and not run.alive()


def test_new_run_takes_the_place_of_the_last(tmp_path: Path) -> None:
    _, first = written(tmp_path)
    first.note("logs/a.log", STARTED)
    path, second = written(tmp_path)
    first.note("logs/a.log", DONE)  # one that outlived its journal writes into none
    run = read_run(path)
    assert run is not None and not run.started and not run.finished
    assert run == second.run


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_half_written_journal_is_read_as_far_as_it_goes(tmp_path: Path, cut: int) -> None:
    path, journal = written(tmp_path)
    for job in ("logs/a.log", "logs/b.log"):
        journal.note(job, STARTED)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole))])
    run = read_run(path)
    assert run is None or set(run.started) <= {"logs/a.log", "logs/b.log"}
    if cut < whole.index(b"\n"):
        assert run is None


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["[]"],
        ["null"],
        ["{}"],
        ['{"began": "soon", "process": 1, "node": "n", "jobs": []}'],
        ["\0\0\0"],
        ["[" * 100_000],
    ],
)
def test_what_is_no_journal_is_none(tmp_path: Path, lines: list[str]) -> None:
    path = journal_at(tmp_path, "x")
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines))
    assert read_run(path) is None
    assert read_run(path.parent) is None and read_run(tmp_path / "no") is None


def test_events_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    path, journal = written(tmp_path)
    with path.open("a") as file:
        file.write(
            '{"at": 1, "job": 99, "is": "done"}\n{"at": "x", "job": 0}\n7\n{"at": 2, "job": 0, "is": "done"}\n{"a'
        )
    run = read_run(path)
    assert run is not None and run.finished == {"logs/a.log": 2.0} and journal.run.planned == run.planned


def test_killed_run_is_known_by_its_process(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    head = json.loads(path.read_text())
    for change, alive in (
        ({}, True),
        ({"born": "1"}, False),  # the number is another process's now
        ({"process": 2**22 + 1, "born": None}, False),
        ({"node": "elsewhere"}, None),
    ):
        path.write_text(json.dumps(head | change) + "\n")
        run = read_run(path)
        assert run is not None and run.alive() is alive, change
    assert head["node"] == platform.node() and head["process"] == os.getpid()


def test_disk_that_refuses_costs_the_journal_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    _, journal = written(tmp_path)
    journal.note("logs/a.log", STARTED)
    journal.close(DONE)
    assert journal.run.end == DONE
