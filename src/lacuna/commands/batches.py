"""An experiment of many cells, planned and run batch by batch under one command.

A plan of Snakemake keeps 35 kB for each job, so one of 100,000 cells would take 7 GB. Under `lacuna run` and `lacuna
plan` the workflow looks how many jobs there are before it plans any. If they are many its process becomes this one,
which starts Snakemake once for each batch of cells, and at last for the tables, whose plan takes the metrics as files
that nobody makes. Each Snakemake reports over a socket how its batch ended, and dies with the process that started it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from lacuna.artifacts.journal import STOPPED
from lacuna.artifacts.processes import exclusive
from lacuna.commands import closing
from lacuna.commands.launch import CACHE, JSON, VIEW
from lacuna.errors import LacunaError
from lacuna.experiment.jobs import RULES

# jobs that are planned at a time: 0.4 GB, and 40 s before the first of them starts
JOBS = 10_000
_REQUEST, _BATCH = "LACUNA_BATCHES", "LACUNA_BATCH"
# what makes tables, figures and the page, and the targets that ask for them
_LAST = [rule for rule, runs in RULES.items() if runs.at.folder in ("tables", "figures", "report")]
TARGETS = ("all", "tables", "report")
# what a batch reports before its first job, and where it meets the lock of another run
_BEGINS, _LOCKED = "begins", "locked"
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# ---- between the processes -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What `lacuna run` asks of the workflow that it starts. command: of Snakemake; folder: in which it was given;
    cells: how many in a batch, None for as many as have `JOBS` jobs."""

    command: list[str]
    folder: str
    cells: int | None = None

    def leave(self) -> None:
        """Leave it where the workflow finds it."""
        os.environ[_REQUEST] = json.dumps(dataclasses.asdict(self))

    def size(self, cells: int, jobs: int) -> int | None:
        """The cells of a batch of an experiment with so many cells and jobs; None where one plan has room for all."""
        size = self.cells or (cells if jobs <= JOBS else max(1, cells * JOBS // jobs))
        return size if size < cells else None

    def become(self, name: str, results: str, cells: int, size: int, dry: bool, refuses: bool, digest: str) -> None:
        """Go on as the process that runs an experiment in batches; does not return. Arguments: as of `Batches`."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        facts = json.dumps([self.command, self.folder, name, results, cells, size, dry, refuses, digest])
        # -P: no module of the working directory takes the place of this one
        os.execv(sys.executable, [sys.executable, "-P", "-m", "lacuna.commands.batches", facts])


@dataclass(frozen=True)
class Batch:
    """One batch, as its Snakemake knows it. first, last: the numbers of its first cell and of the one behind its last.
    The last batch has no cells: it makes the tables. run: the process that goes through the batches. channel: the
    socket to it. digest: of the experiment's values when the run began."""

    number: int
    of: int
    first: int
    last: int
    run: int
    channel: int
    digest: str

    @property
    def of_tables(self) -> bool:
        """Whether this is the last batch."""
        return self.number == self.of

    def __str__(self) -> str:
        return f"batch {self.number} of {self.of}"

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise LacunaError if the experiment's values are others than when the run began: each batch reads its files
        anew, and the numbers of its cells would be those of other cells."""
        if digest_of(values) != self.digest:
            raise LacunaError(f"the experiment was edited before {self} began; run the same command to go on with it")

    def report(self, facts: Mapping[str, Any]) -> None:
        """Tell the run something: how the batch ended, or what it would do."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.channel)) as channel:
            channel.sendall(f"{json.dumps(facts)}\n".encode())

    def begin(self) -> None:
        """Tell the run that the first job is about to begin: until then Snakemake has no word for being stopped."""
        self.report({_BEGINS: True})

    def locked(self) -> None:
        """Tell the run that another one works on the same files."""
        self.report({_LOCKED: True})

    def _die_with_run(self) -> None:
        # as if it had been killed itself: its jobs make checkpoints, and the same command goes on
        def wait() -> None:
            with contextlib.suppress(OSError):
                os.read(self.channel, 1)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=wait, name="batch", daemon=True).start()


def digest_of(values: Mapping[str, Any]) -> str:
    """A digest of an experiment's values, as its files have them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def asked(main: bool) -> tuple[Request | None, Batch | None]:
    """What this process was asked for, if it was; the processes that it starts are asked for nothing.

    main: False in a job's own process, which is part of no batch.
    """
    request, batch = (os.environ.pop(name, None) for name in (_REQUEST, _BATCH))
    if batch is not None and main:
        its = Batch(**json.loads(batch))
        os.set_inheritable(its.channel, False)
        its._die_with_run()
        return None, its
    return (Request(**json.loads(request)) if request is not None and main else None), None


def batch_size(words: Sequence[str]) -> tuple[list[str], int | None]:
    """The arguments of `lacuna run` without --batch-size, and its value.

    Raises LacunaError for one that is no number of cells.
    """
    rest, size = [], None
    words = list(words)
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word != "--batch-size":
            rest.append(word + equals + value)
            continue
        value = value if equals else (words.pop(0) if words else "")
        if not value.isdecimal() or not int(value):
            raise LacunaError(f"--batch-size: '{value}' is not allowed; allowed: a number of cells, 1 or more")
        size = int(value)
    return rest, size


# ---- the run of all batches ------------------------------------------------------------------------------------------


@dataclass
class Batches:
    """Goes through the batches of one experiment.

    command, folder: as of `Request`. name: the experiment's; results: the folder that its files lie in. cells: how many
    it has; size: how many at a time. dry: only plan. refuses: no tables are made while a cell is missing. digest: as of
    `Batch`.
    """

    command: list[str]
    folder: str
    name: str
    results: str
    cells: int
    size: int
    dry: bool
    refuses: bool
    digest: str
    plans: list[dict[str, Any]] = field(default_factory=list)
    # jobs that failed, by their logs
    failed: dict[str, str] = field(default_factory=dict)
    done: int = 0
    waiting: int = 0
    made: str = ""
    _began: float = field(default_factory=time.time)
    _child: subprocess.Popen[bytes] | None = None
    _told: int | None = None
    # whether the tables' batch has begun, and whether a job of the present one may have
    _of_tables: bool = False
    _at_work: bool = False
    # whether the present batch has met the lock of another run
    _locked: bool = False

    @property
    def of(self) -> int:
        """How many batches there are, that of the tables being the last."""
        return -(-self.cells // self.size) + 1

    def run(self) -> int:
        """Go through all; returns the exit status."""
        for ending in _ENDINGS:
            if signal.getsignal(ending) is not signal.SIG_IGN:  # as nohup wants it
                signal.signal(ending, self._pass_on)
        if self.dry:
            return self._run()
        with contextlib.ExitStack() as held:
            try:  # also between batches, when no Snakemake holds its lock
                held.enter_context(exclusive(Path(CACHE, "batches", self.name), patience=0))
            except LacunaError as error:
                self._say(f"lacuna: {self.name}: {error}")
                return 1
            except OSError:  # a folder that cannot be written: Snakemake says so
                pass
            return self._run()

    def _run(self) -> int:
        self._say(f"{self.name}: {self.cells} cells in {self.of - 1} batches, then their tables")
        for number in range(1, self.of + 1):
            if number == self.of and self._without_tables():
                break
            reports, status = self._one_when_free(number)
            goes_on = self._take_in(number, reports, status)
            if self._told is not None or any(report.get("how") == STOPPED for report in reports):
                self._say(self._stopped_in(number))
                return status if status > 0 else 1
            if not goes_on:
                if status > 0 and not reports:  # its own words stand above: a lock, an edited experiment
                    self._say(self._stopped_in(number))
                return self._end(status)
        return self._end(0)

    def _stopped_in(self, number: int) -> str:
        place = f"batch {number} of {self.of}"
        if self.dry:
            return f"stopped in {place}"
        return closing.stopped_in(place, self.done, time.time() - self._began)

    def _without_tables(self) -> bool:
        """Whether the last batch has nothing to be planned from: its cells are not there."""
        if self.dry:
            return any(plan["planned"] for plan in self.plans)
        return bool(self.failed) and self.refuses

    def _take_in(self, number: int, reports: Sequence[dict[str, Any]], status: int) -> bool:
        """Note how a batch ended; whether the next one can begin."""
        goes_on = status == 0
        for report in reports:
            if "plan" in report:
                self.plans.append(report["plan"])
                continue
            new = {log: name for name, log in report["failed"] if log not in self.failed}
            self.done += report["done"]
            self.waiting += report["left"] - len(report["failed"])
            self.failed |= new
            self.made = report.get("made", "")
            goes_on = goes_on or (bool(report["failed"]) and report["keep_going"])
        if self.dry:
            self._say(f"planned: batch {number} of {self.of}")
        elif status == 0 and not reports:
            self._say(f"batch {number} of {self.of}: nothing to do")
        return goes_on

    def _end(self, status: int) -> int:
        """Say how all of it ended; returns the exit status."""
        if self.dry and status == 0:
            from lacuna.commands import planned

            plan = planned.merged(self.name, self.plans, Path(self.results))
            print(planned.as_json(plan) if os.environ.get(VIEW) == JSON else "\n".join(planned.lines_of(plan)))
        elif self.failed:
            failed = sorted((name, log) for log, name in self.failed.items())
            elapsed = time.time() - self._began
            waits = self.refuses and (self.waiting > 0 or not self._of_tables)
            self._say(closing.failures(failed, self.waiting, waits, self.results, self.done, elapsed))
        elif status == 0 and self.done:
            self._say(closing.done(self.done, time.time() - self._began))
            if self.made:
                self._say(self.made)
        elif status == 0:
            self._say("nothing to do: all files are there and up to date")
        if status < 0:
            self._say(f"Snakemake was killed by {signal.Signals(-status).name}; run the same command to continue")
            return 128 - status
        return status or (1 if self.failed else 0)

    def _one_when_free(self, number: int) -> tuple[list[dict[str, Any]], int]:
        """`one`; a later batch waits for a run of another experiment that has begun between two, where it would have
        ended the run of all."""
        reports, status = self.one(number)
        waited = True
        while self._locked and number > 1 and waited and self._told is None:
            # one that ends meanwhile is not waited for: once more
            waited = self._wait_for_others(number)
            if self._told is None:
                reports, status = self.one(number)
        return reports, status

    def _wait_for_others(self, number: int) -> bool:
        """Wait while another run lives in this folder; whether one did."""
        lived = False
        while self._told is None and _is_held(Path(CACHE, "alive")):
            if not lived:
                self._say(f"batch {number} of {self.of} waits for the end of another run in this folder")
            lived = True
            time.sleep(1)
        return lived

    def one(self, number: int) -> tuple[list[dict[str, Any]], int]:
        """Run one batch; its reports, and Snakemake's exit status, that of a signal as a negative number."""
        self._of_tables, self._at_work, self._locked = number == self.of, False, False
        first = min((number - 1) * self.size, self.cells)
        command = self.command if number < self.of else _with(self.command, "--allowed-rules", *TARGETS, *_LAST)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                last, ends = min(first + self.size, self.cells), theirs.fileno()
                batch = Batch(number, self.of, first, last, os.getpid(), ends, self.digest)
                # a group of its own: Ctrl-C reaches it through this process, once
                self._child = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=os.environ | {_BATCH: json.dumps(dataclasses.asdict(batch))},
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                )
            if self._told is not None:  # meanwhile
                self._pass_on(self._told)
            reports = []
            for report in _values(ours):
                if _BEGINS in report:
                    self._at_work = True
                elif _LOCKED in report:
                    self._locked = True
                else:
                    reports.append(report)
            status = self._child.wait()
        self._child = None
        return reports, status

    def _pass_on(self, number: int, _: FrameType | None = None) -> None:
        """Tell the Snakemake of the present batch, and its jobs where a terminal would, that the run is to end. One
        that only plans is killed: it would end with a traceback."""
        self._told = number
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                if not self._at_work:
                    os.kill(self._child.pid, signal.SIGKILL)
                elif number == signal.SIGTERM:
                    os.kill(self._child.pid, number)
                else:
                    os.killpg(self._child.pid, number)

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # whoever looked on has gone
            print(text, file=sys.stderr, flush=True)


def _is_held(file: Path) -> bool:
    """Whether a process holds the kernel's lock of a file; no of one that is not there or cannot be locked."""
    try:
        with open(file, encoding="utf-8") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _with(command: Sequence[str], *words: str) -> list[str]:
    """A command of Snakemake with an option that takes several values: last, before targets that stand behind `--`."""
    end = list(command).index("--") if "--" in command else len(command)
    return [*command[:end], *words, *command[end:]]


def _values(channel: socket.socket) -> Iterator[dict[str, Any]]:
    """What comes over a socket until its other end is closed; a last line that is cut is left out."""
    with channel.makefile("r", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def main(facts: str) -> int:
    """Run the batches of `Request.become`; returns the exit status, that of a closed pipe as shells number it."""
    try:
        status = Batches(*json.loads(facts)).run()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # lacuna plan | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
