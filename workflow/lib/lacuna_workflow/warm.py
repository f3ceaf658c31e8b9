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
import time
from pathlib import Path
from typing import Any

from lacuna_workflow import is_own, warm_parent
from lacuna_workflow.internals import Patch
from lacuna_workflow.warm_parent import INTERRUPTED

import snakemake.script
from snakemake.benchmark import benchmarked
from snakemake.script import PythonScript

# as Snakemake's own shell sets them for a job
THREADS = ("OMP", "GOTO", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")
TEMPORARY = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")


class Warm:
    """One process that jobs are forked from, as long as it lives. environment: of its jobs, in which it is started."""

    def __init__(self, environment: dict[str, str]):
        self.control, theirs = _pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", str(Path(warm_parent.__file__)), str(theirs.fileno())]
        with theirs:
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)

    def start(self, request: bytes) -> socket.socket | None:
        """The socket of a new job; None where the process is gone."""
        ours, theirs = _pair()
        with theirs:
            try:
                socket.send_fds(self.control, [request], [theirs.fileno()])
            except OSError:
                ours.close()
                return None
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
            if first := answers.readline():
                return _watched(int(first), answers, record)
        # not begun: after an interrupt nothing is to begin
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.parents[str(threads)].process.wait(1) == INTERRUPTED:
                return INTERRUPTED
        return None

    def end(self) -> None:
        """End them, and wait until they are gone."""
        for parent in self.parents.values():
            parent.end()

    def _started(self, threads: str, environment: dict[str, str], request: bytes) -> socket.socket | None:
        """A job's socket, from the process that is there or from a new one."""
        if len(request) > warm_parent.LARGEST:
            return None
        with self.lock:
            parent = self.parents.get(threads)
            job = parent.start(request) if parent is not None else None
            if job is None:
                if parent is not None:
                    parent.end()
                self.parents[threads] = Warm(environment)
                job = self.parents[threads].start(request)
            return job


def _watched(pid: int, answers: Any, record: Any) -> int:
    """The exit status of a job's process. It does not outlive the one that would report it."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # it has ended, and that is on its way; or no descriptor is left
        descriptor = -1
    try:
        with benchmarked(pid, record) if record is not None and descriptor >= 0 else contextlib.nullcontext():
            last = answers.readline()
            if not last:
                _end(pid, descriptor)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return int(last) if last else 128 + signal.SIGKILL


def _end(pid: int, descriptor: int) -> None:
    """End a job's process that nobody watches any more, and wait until it is gone; descriptor: its own, or -1."""
    with contextlib.suppress(ProcessLookupError):
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            select.select([descriptor], [], [])
            return
        os.kill(pid, signal.SIGTERM)
        while True:
            time.sleep(0.1)
            os.kill(pid, 0)


def _pair(*kind: socket.SocketKind | socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    """Two sockets, none on the place of a closed standard stream: jobs would print into it."""
    ours, theirs = socket.socketpair(*kind)
    return _above(ours), _above(theirs)


def _above(end: socket.socket) -> socket.socket:
    if end.fileno() > 2:
        return end
    with end:
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
