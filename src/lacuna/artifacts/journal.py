"""What a run writes of itself while it runs: its jobs, when each began and ended, and how the run ended.

One file for each experiment, results/logs/runs/<name>.jsonl, of the latest run; one JSON value a line. The run alone
writes it, with one write a line, so that a reader meets no half line but the last of a killed run or of a full disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lacuna.artifacts.writing import atomic

STARTED, DONE, FAILED = "started", "done", "failed"
# how a run ends
STOPPED = "stopped"
_FOLDER = "logs/runs"


def journal_at(results: str | Path, experiment: str) -> Path:
    """The journal of the latest run of an experiment."""
    return Path(results, _FOLDER, f"{experiment}.jsonl")


def journals_in(results: str | Path) -> list[Path]:
    """The journals of a results tree, by name of the experiment."""
    return sorted(Path(results, _FOLDER).glob("*.jsonl"))


@dataclass
class Run:
    """A run, by its journal. Times are seconds since 1970; jobs are named by their logs, relative to the results.

    began, ended: of the run; ended None while it runs or if it was killed. end: DONE, FAILED or STOPPED. process, node:
    where it runs. born: when that process started, in the kernel's own unit. cores, gpus: jobs that it runs at once,
    and those that want a GPU; None where a cluster decides. config: the experiment as its files have it.
    batch: of a run in batches the number of the latest one, and how many there are; the rest is told of that one, but
    for process and born, which are those of the whole run.
    planned: the jobs that it set out to run. started, finished, failed: when; one that is tried
    again is in `started`. seconds: from the start of a finished job to its end.
    """

    began: float
    process: int
    node: str
    born: str | None
    cores: int | None
    gpus: int | None
    config: Mapping[str, Any]
    planned: tuple[str, ...]
    batch: tuple[int, int] | None = None
    ended: float | None = None
    end: str | None = None
    last: float = 0.0
    started: dict[str, float] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def note(self, at: float, job: str, what: str) -> None:
        """Take in that a job began or ended."""
        self.last = at
        for events in (self.finished, self.failed):
            events.pop(job, None)
        began = self.started.pop(job, None)
        if what == STARTED:
            self.started[job] = at
        elif what == DONE:
            self.finished[job] = at
            if began is not None:
                self.seconds[job] = at - began
        else:
            self.failed[job] = at

    def alive(self) -> bool | None:
        """Whether the run still runs; None where it cannot be known: it is another machine's."""
        last = self.batch is None or self.batch[0] == self.batch[1]
        if self.end is not None and (last or self.end == STOPPED):
            return False
        if self.node != platform.node():
            return None
        return _born(self.process) == self.born if self.born is not None else _runs(self.process)


def _born(process: int) -> str | None:
    """When a process of this machine started, as Linux tells it; None where it does not, or for one that is gone."""
    try:
        # behind the command's name, which may hold anything
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def read_run(path: str | Path) -> Run | None:
    """The run of a journal; None if there is none, or none that can be read. A line that cannot be read is left out."""
    lines = _values(path)
    try:
        run = _begun(next(lines, None))
    except (LookupError, TypeError, ValueError):
        return None
    for line in lines:
        with contextlib.suppress(LookupError, TypeError, ValueError):
            at = float(line["at"])
            if "end" in line:
                run.ended, run.end, run.last = at, str(line["end"]), at
            else:
                run.note(at, run.planned[int(line["job"])], str(line["is"]))
    return run


def config_of(path: str | Path) -> Mapping[str, Any]:
    """The experiment whose run a journal is of, as its files had it; empty if there is none that can be read."""
    try:
        return _begun(next(_values(path), None)).config
    except (LookupError, TypeError, ValueError):
        return {}


def _begun(head: Any) -> Run:
    began = float(head["began"])
    planned = tuple(map(str, head["jobs"]))
    numbers = {name: None if head.get(name) is None else int(head[name]) for name in ("cores", "gpus")}
    born = head.get("born")
    config = head["config"] if isinstance(head.get("config"), Mapping) else {}
    place = (int(head["process"]), str(head["node"]), None if born is None else str(born))
    batch = None if head.get("batch") is None else (int(head["batch"][0]), int(head["batch"][1]))
    return Run(began, *place, numbers["cores"], numbers["gpus"], config, planned, batch, last=began)


def _values(path: str | Path) -> Iterator[Any]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                with contextlib.suppress(ValueError, RecursionError):
                    yield json.loads(line)
    except OSError:
        return


class Journal:
    """Writes the journal of a run. A disk that refuses costs the journal, not the run."""

    def __init__(
        self,
        path: str | Path,
        jobs: Sequence[str],
        config: Mapping[str, Any],
        cores: int | None = None,
        gpus: int | None = None,
        batch: tuple[int, int] | None = None,
        process: int | None = None,
    ):
        """path: of `journal_at`, whose earlier journal is replaced. The rest as in `Run`."""
        process = os.getpid() if process is None else process
        where = {"process": process, "node": platform.node(), "born": _born(process), "cores": cores, "gpus": gpus}
        head = {"began": time.time(), **where, "batch": batch, "config": config, "jobs": list(jobs)}
        self.run, self._file = _begun(head), -1
        self._number = {job: number for number, job in enumerate(jobs)}
        with contextlib.suppress(OSError):
            with atomic(path) as temporary:
                temporary.write_text(json.dumps(head) + "\n", encoding="utf-8")
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    def note(self, job: str, what: str) -> None:
        """Write that a job of the run began or ended: STARTED, DONE or FAILED."""
        at = time.time()
        self.run.note(at, job, what)
        self._write({"at": at, "job": self._number[job], "is": what})

    def close(self, end: str) -> None:
        """Write how the run ended: DONE, FAILED or STOPPED."""
        self.run.ended, self.run.end = time.time(), end
        self._write({"at": self.run.ended, "end": end})
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, value: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            if self._file >= 0:
                os.write(self._file, f"{json.dumps(value)}\n".encode())
