"""Jobs that need not import torch again: on the machine of the run a script is forked from a process that has.

Snakemake starts Python anew for every job, and `import torch` alone takes longer than many of them. Here a job is a
child of one process that the run starts when its first job comes, and that ends with the run (`warm_parent`); one for
each number of threads, which libraries read when they are loaded. The two speak over a pair of sockets without a name,
so nobody else can reach them. A job has its own process, exit status, signals and benchmark as ever. Whatever has an
environment, a container or a shadow folder of its own starts as Snakemake starts it, as does all where Linux lacks
what is used.
"""

from __future__ import annotations

import atexit
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
from pathlib import Path
from typing import Any

from lacuna_workflow import is_own, warm_parent
from lacuna_workflow.internals import Patch
from lacuna_workflow.warm_parent import BEGIN, INTERRUPTED, UNABLE

import snakemake.script
from snakemake.benchmark import benchmarked
from snakemake.script import PythonScript

# as Snakemake's own shell sets them for a job
THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")
TEMPORARY = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")


class Warm:
    """One process that jobs are forked from, as long as it lives. environment: of its jobs, in which it is started."""

    def __init__(self, environment: dict[str, str]):
        control, theirs = _pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", str(Path(warm_parent.__file__)), str(theirs.fileno())]
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


class WarmJobs:
    """The processes of a run, by the number of threads of their jobs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.parents: dict[str, Warm] = {}

    def run(self, script: str, threads: int, temporary: str | None, record: Any) -> int | None:
        """Run a script to its end; its exit status, None where no process could be had that starts it.

        temporary: the folder for temporary files, if the job has one; record: of Snakemake's benchmark, or None.
        """
        environment = environment_of(threads, temporary)
        request = {"script": script, "folder": os.getcwd(), "environment": environment}
        job = self._started(str(threads), environment, json.dumps(request).encode())
        if job is None:
            return None
        with job, job.makefile() as answers:
            if (first := answers.readline()) and (status := _watched(int(first), job, answers, record)) is not None:
                return status
        # not begun: after an interrupt nothing is to begin
        with contextlib.suppress(subprocess.TimeoutExpired):
            if (parent := self.parents.get(str(threads))) and parent.process.wait(1) == INTERRUPTED:
                return INTERRUPTED
        return None

    def end(self) -> None:
        """End them, and wait until they are gone."""
        for parent in self.parents.values():
            parent.end()

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


def _watched(pid: int, job: socket.socket, answers: Any, record: Any) -> int | None:
    """Let a job's process begin, and wait for its exit status: it does not outlive the one that would report it.

    None where it cannot be watched, or is gone already: it has not begun, and ends when its socket closes.
    """
    with contextlib.ExitStack() as watch:
        try:
            descriptor = os.pidfd_open(pid)
            watch.callback(os.close, descriptor)
            if record is not None:
                watch.enter_context(benchmarked(pid, record))
            job.sendall(BEGIN)
        except Exception:  # OSError, or what measures for Snakemake has of its own
            return None
        if last := answers.readline():
            return int(last)
        # nobody reports its end any more
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        # not `select`, which takes no descriptor above 1,023
        gone = select.poll()
        gone.register(descriptor, select.POLLIN)
        gone.poll()
        return 128 + signal.SIGKILL


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


def is_plain(script: PythonScript) -> bool:
    """Whether it is one of this workflow's that runs in this Python, on this machine, in this folder.

    A script of a workflow that imports this one may set up what torch reads when it is imported.
    """
    other = (script.conda_env, script.container_img, script.env_modules, script.shadow_dir)
    plain = all(value is None for value in other) and script.resources.get("shell_exec") is None
    return plain and is_own(script.path.get_path_or_uri(secret_free=True))


def warm() -> None:
    """Let Snakemake run its Python scripts so."""
    if not (sys.platform == "linux" and hasattr(os, "pidfd_open")):
        return
    cold, jobs = PythonScript.execute_script, WarmJobs()
    atexit.register(jobs.end)

    def execute_script(self: PythonScript, fname: str, edit: bool = False) -> None:
        if edit or not is_plain(self):
            cold(self, fname, edit)
            return
        status = jobs.run(fname, self.threads, self.resources.get("tmpdir"), self.bench_record)
        if status is None:
            cold(self, fname, edit)
        elif status:
            raise subprocess.CalledProcessError(status, f"{sys.executable} {fname}")

    PythonScript.execute_script = execute_script


WARM = Patch(
    "warm_jobs",
    ((PythonScript, "execute_script"), (PythonScript, "_execute_cmd"), (snakemake.script, "PythonScript")),
    warm,
)
