"""Jobs that need not import torch again: on the machine of the run a script is forked from a process that has.

Snakemake starts Python anew for every job, and `import torch` alone takes longer than many of them. Here a job is a
child of one process that the run starts when its first job comes, and that ends with the run (`warm_parent`); one for
each number of threads, which libraries read when they are loaded. The two speak over a pair of sockets without a name,
so nobody else can reach them. A job has its own process, exit status and signals as ever; what it has used is what the
kernel has counted when it ends.

A CUDA context does not survive a fork. So the process of a job that holds a GPU may stay: then called a worker, it runs
further such jobs one after the other, as long as each leaves nothing that the next could see (`leftovers`). There are
never more workers than such jobs at once. Knows nothing of Snakemake (`warm_patch` does).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lacuna_workflow import warm_parent
from lacuna_workflow.warm_parent import BEGAN, BEGIN, DONE, INTERRUPTED, LEFT, UNABLE, USED

# as Snakemake's own shell sets them for a job
THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")
TEMPORARY = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")
# the process that jobs are forked from; arguments: where this package lies, the number of its socket
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from lacuna_workflow.warm_parent import main; main()"

# the end of a process that nobody reported
KILLED = f"{128 + signal.SIGKILL}\n"


@dataclass(frozen=True)
class Used:
    """What a job has used: seconds by the clock, CPU seconds, megabytes of resident memory at the peak, megabytes read
    from and written to storage.

    Counted by the kernel; processes that the job started count for CPU and storage once it has waited for them.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    read_mb: float
    written_mb: float


# is told what a job has used
Measure = Callable[[Used], None]


class Answers:
    """What the process of a job says, line by line. counted: what the kernel counted of the job, once that was said."""

    def __init__(self, job: socket.socket):
        self.file = job.makefile()
        self.counted: str | None = None

    def line(self) -> str:
        """The next line; empty where the other side is gone."""
        with contextlib.suppress(ConnectionResetError):  # it had not read all that it was told
            while (line := self.file.readline()).startswith(USED):
                # a worker tells of its job before it ends, which is told of all of its jobs
                self.counted = self.counted or line
            return line
        return ""

    def used(self, seconds: float) -> Used | None:
        """What a job has used that took so many seconds; None where nobody counted."""
        if not self.counted:
            return None
        cpu_seconds, peak_kb, read, written = map(float, self.counted.removeprefix(USED).split())
        return Used(seconds, cpu_seconds, peak_kb / 2**10, read / 2**11, written / 2**11)

    def close(self) -> None:
        self.file.close()


class Warm:
    """One process that jobs are forked from, as long as it lives. environment: of its jobs, in which it is started."""

    def __init__(self, environment: dict[str, str]):
        control, theirs = _pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        library = str(Path(warm_parent.__file__).parents[1])
        command = [sys.executable, "-P", "-c", BOOT, library, str(theirs.fileno())]
        with contextlib.ExitStack() as undo, theirs:
            undo.enter_context(control)
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
            undo.pop_all()
        self.control = control

    def start(self, request: bytes) -> socket.socket | None:
        """The socket of a new job; None where the process is gone. Raises OSError where no socket could be had."""
        ours, theirs = _pair()
        with contextlib.ExitStack() as undo, theirs:
            undo.enter_context(ours)
            try:
                socket.send_fds(self.control, [request], [theirs.fileno()])
            except (BrokenPipeError, ConnectionResetError):
                return None
            undo.pop_all()
        return ours

    def end(self) -> int:
        """Its exit status, once it is gone."""
        self.control.close()
        return self.process.wait()


class Worker:
    """A process that runs jobs one after the other. kind: the environment that its jobs have in common."""

    def __init__(self, pid: int, job: socket.socket, answers: Answers, kind: dict[str, str]):
        self.pid, self.job, self.answers, self.kind = pid, job, answers, kind
        # whether it waits for another job, and if not, what the last one left
        self.waits, self.left = True, ""

    def run(self, request: bytes, measure: Measure | None) -> int | None:
        """The exit status of a job; None where it has not begun."""
        last = _watched(self.pid, self.job, self.answers, measure, request + b"\n")
        if last.startswith(LEFT):
            self.left, last = last.removeprefix(LEFT).strip(), self.answers.line() or KILLED
        self.waits = last == f"{DONE}\n"
        return 0 if self.waits else _status(last)

    def end(self) -> None:
        """Let it end, and wait until it is gone."""
        with self.job, contextlib.closing(self.answers), contextlib.suppress(OSError):
            self.job.shutdown(socket.SHUT_WR)
            while self.answers.line():
                pass


class WarmJobs:
    """The processes of a run, by the number of threads of their jobs.

    keeps: when a process that may stay does so, "cuda": once it holds a CUDA context, without which a fork serves as
    well; "always": in any case, for a rehearsal without a GPU.
    """

    def __init__(self, keeps: str = "cuda") -> None:
        self.lock, self.keeps = threading.Lock(), keeps
        self.parents: dict[str, Warm] = {}
        self.idle: list[Worker] = []
        # why workers ended, but for jobs that failed
        self.left: list[str] = []

    def run(
        self, script: str, threads: int, temporary: str | None, measure: Measure | None = None, stays: bool = False
    ) -> int | None:
        """Run a script to its end; its exit status, None where no process could be had that starts it.

        temporary: the folder for temporary files, if the job has one; stays: its process may be that of other jobs.
        """
        environment = environment_of(threads, temporary)
        request = {"script": script, "folder": os.getcwd(), "environment": environment}
        text = json.dumps(request).encode()
        kind = {name: value for name, value in environment.items() if name not in TEMPORARY}
        while stays and (worker := self._idle(kind)):
            if (status := self._run_in(worker, text, measure)) is not None:
                return status
        job = self._started(str(threads), environment, json.dumps({"stays": self.keeps}).encode() if stays else text)
        if job is None:
            return None
        answers = Answers(job)
        with contextlib.ExitStack() as undo:
            undo.enter_context(job)
            undo.callback(answers.close)
            if first := answers.line():
                if stays:
                    undo.pop_all()
                    status = self._run_in(Worker(int(first), job, answers, kind), text, measure)
                else:
                    status = _status(_watched(int(first), job, answers, measure, BEGIN))
                if status is not None:
                    return status
        # not begun: after an interrupt nothing is to begin
        with contextlib.suppress(subprocess.TimeoutExpired):
            if (parent := self.parents.get(str(threads))) and parent.process.wait(1) == INTERRUPTED:
                return INTERRUPTED
        return None

    def _idle(self, kind: dict[str, str]) -> Worker | None:
        """A worker of a kind that waits; without one, those of other kinds end: what they hold a new one will need."""
        with self.lock:
            for worker in self.idle:
                if worker.kind == kind:
                    self.idle.remove(worker)
                    return worker
            others, self.idle = self.idle, []
        for worker in others:
            worker.end()
        return None

    def _run_in(self, worker: Worker, request: bytes, measure: Measure | None) -> int | None:
        """The exit status of a job in a worker, which then waits for another one or is gone; None where none began."""
        status = worker.run(request, measure)
        if worker.waits:
            with self.lock:
                self.idle.append(worker)
        else:
            self.left += [worker.left] if worker.left else []
            worker.end()
        return status

    def end(self) -> None:
        """End them, and wait until they are gone."""
        while self.idle:
            self.idle.pop().end()
        while self.parents:
            self.parents.popitem()[1].end()

    def _started(self, threads: str, environment: dict[str, str], request: bytes) -> socket.socket | None:
        """A job's socket, from the process that is there or from a new one; None where none could be had."""
        if len(request) > warm_parent.LARGEST:
            return None
        # no descriptor, process or memory may be left
        with self.lock, contextlib.suppress(OSError):
            if (parent := self.parents.get(threads)) is not None:
                if (job := parent.start(request)) is not None:
                    return job
                if parent.end() == UNABLE:
                    return None
                del self.parents[threads]
            self.parents[threads] = Warm(environment)
            return self.parents[threads].start(request)
        return None


def _watched(pid: int, job: socket.socket, answers: Answers, measure: Measure | None, begin: bytes) -> str:
    """Let a process begin a job, and wait for the line at its end: it does not outlive the one that would report it.

    Empty where it cannot be watched, or is gone already: it has not begun, and ends when its socket closes.
    """
    answers.counted, start = None, time.monotonic()
    with contextlib.ExitStack() as watch:
        try:
            descriptor = os.pidfd_open(pid)
            watch.callback(os.close, descriptor)
            job.sendall(begin)
        except (BrokenPipeError, ProcessLookupError):
            return _not_begun(answers.line())
        except OSError:
            return ""
        line = answers.line()
        if line and line != f"{BEGAN}\n":
            return _not_begun(line)
        if line and (last := answers.line()):
            if measure is not None and (used := answers.used(time.monotonic() - start)):
                measure(used)
            return last
        # nobody reports its end any more
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        # not `select`, which takes no descriptor above 1,023
        gone = select.poll()
        gone.register(descriptor, select.POLLIN)
        gone.poll()
        return KILLED


def _not_begun(last: str) -> str:
    """The line at the end of a job that had not begun, which starts cold; after an interrupt nothing is to begin."""
    return last if last == f"{INTERRUPTED}\n" else ""


def _status(last: str) -> int | None:
    """The exit status in the line at the end of a job; None where it has not begun."""
    return int(last) if last else None


def _pair(*kind: socket.SocketKind | socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    """Two sockets, none on the place of a closed standard stream: jobs would print into it."""
    ours, theirs = socket.socketpair(*kind)
    with ours, theirs:
        return _above(ours), _above(theirs)


def _above(end: socket.socket) -> socket.socket:
    """The same socket, taken over, on a place above those of the standard streams."""
    if end.fileno() > 2:
        return socket.socket(fileno=end.detach())
    return socket.socket(fileno=fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, 3))


def environment_of(threads: int, temporary: str | None) -> dict[str, str]:
    """The environment that Snakemake's shell gives a script."""
    environment = dict(os.environ)
    for name in THREADS:
        environment[f"{name}_THREADS" if name.endswith("MAXIMUM") else f"{name}_NUM_THREADS"] = str(threads)
    return environment | (dict.fromkeys(TEMPORARY, temporary) if temporary else {})
