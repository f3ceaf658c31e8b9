"""The process that warm jobs are forked from: it has imported what they need of other packages, and nothing of lacuna.

Started by `warm`, which alone holds the other end of its socket; when that closes, it ends. A request is JSON, with the
socket of its job: over it the run is told the job's process, lets it begin once it watches it, and is told its exit
status when it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
import types
from typing import Any, NoReturn

# what jobs import of other packages, the dearest first; lacuna itself is read anew by each job, for it may change
PACKAGES = (
    "torch",
    "numpy",
    "pandas",
    "matplotlib.figure",
    "scipy.linalg",
    "scipy.special",
    "jsonschema",
    "safetensors",
    "yaml",
    "tqdm",
    "snakemake.iocontainers",
    "snakemake.logging",
)
# bytes of a request, with all of its environment: what a socket takes at once
LARGEST = 1 << 17
INTERRUPTED = 128 + signal.SIGINT
# its exit status where it is of no use, now and later
UNABLE = 1
# by which a job hears that its end will be noticed
BEGIN = b"\n"


def import_packages() -> None:
    """Import them; ends this process where one cannot be: a job that needs it says so itself, started cold.

    What is imported by halves fails otherwise than by itself, and with too little memory the next one may never end.
    """
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except Exception:
            os._exit(UNABLE)
    # what was imported is not looked through again, nor copied by that into every job
    gc.collect()
    gc.freeze()


def status_of(script: str) -> int:
    """Run a script as `python script` does; its exit status."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=script, __builtins__=__builtins__)
    sys.modules["__main__"], sys.argv = main, [script]
    sys.path.insert(0, os.path.dirname(script))
    try:
        with open(script, "rb") as file:
            # not with the features of this file
            exec(compile(file.read(), script, "exec", dont_inherit=True), main.__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def begins(ready: int, job: socket.socket) -> bool:
    """Wait until the parent and the run both watch this process; no where one of them is gone or cannot."""
    begin = os.read(ready, 1) and job.recv(1)
    os.close(ready)
    job.close()
    return bool(begin)


def become(request: dict[str, Any]) -> NoReturn:
    """Be the job of a request, in a process of its own, to its end."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if numpy := sys.modules.get("numpy"):
        # a job of its own would not draw as the one before did
        numpy.random.seed()
    status = status_of(request["script"])
    # as at the end of an interpreter
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            status = status or 120
    os._exit(status)


class Parent:
    """Takes requests and reports the ends of jobs; control: the socket of the run."""

    def __init__(self, control: socket.socket):
        self.control, self.selector = control, selectors.DefaultSelector()
        self.selector.register(control, selectors.EVENT_READ)
        self.jobs: dict[int, tuple[int, socket.socket]] = {}
        # as a shell in the background has it, jobs that ignore Ctrl-C stay so; this process always does
        self.interrupts = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def serve(self) -> None:
        """Until the run closes its end."""
        while True:
            for key, _ in self.selector.select():
                if key.fd != self.control.fileno():
                    self.report(key.fd)
                elif not self.take():
                    return

    def take(self) -> bool:
        """Fork the job of the next request; whether there was one. One that cannot be is left to the run."""
        try:
            text, sockets, _, _ = socket.recv_fds(self.control, LARGEST, 1)
        except OSError:
            return True
        if not text:
            return False
        if not sockets:
            return True
        job = socket.socket(fileno=sockets[0])
        try:
            self.begin(job, text)
        except OSError:  # no process or descriptor is left
            job.close()
        return True

    def begin(self, job: socket.socket, text: bytes) -> None:
        """Fork a job. Raises OSError, and leaves no process, where it cannot be or its end could not be noticed."""
        ready, go = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(go)
            os.close(ready)
            raise
        if pid == 0:
            self.be_job(ready, go, job, text)
        os.close(ready)  # which leaves a place for the next one
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            os.close(go)  # by which it ends
            os.waitpid(pid, 0)
            raise
        self.jobs[descriptor] = pid, job
        self.selector.register(descriptor, selectors.EVENT_READ)
        self.tell(job, pid)
        with contextlib.suppress(BrokenPipeError):  # killed already
            os.write(go, BEGIN)
        os.close(go)

    def be_job(self, ready: int, go: int, job: socket.socket, text: bytes) -> NoReturn:
        """In a new process: be the job of a request, once it may begin."""
        status = 1
        try:
            # what the job holds open would hide the end of the parent, and of the run
            for other in (self.control, *(held for _, held in self.jobs.values())):
                other.close()
            for descriptor in (go, *self.jobs):
                os.close(descriptor)
            self.selector.close()
            signal.signal(signal.SIGINT, self.interrupts)
            if begins(ready, job):
                become(json.loads(text))
        except KeyboardInterrupt:
            status = INTERRUPTED
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def report(self, descriptor: int) -> None:
        """The exit status of a job that has ended, as a shell has it."""
        pid, job = self.jobs.pop(descriptor)
        self.selector.unregister(descriptor)
        os.close(descriptor)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.tell(job, status if status >= 0 else 128 - status)
        job.close()

    def tell(self, job: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # the run no longer listens
            job.sendall(f"{number}\n".encode())


if __name__ == "__main__":
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            # closed: what is opened next would take its place, and jobs print into it
            os.open(os.devnull, os.O_RDWR)
    try:
        import_packages()
    except KeyboardInterrupt:
        # the run hears of it too, and starts nothing in its place
        os._exit(INTERRUPTED)
    Parent(socket.socket(fileno=int(sys.argv[1]))).serve()
    # nothing is left to do, and taking down what was imported takes time
    os._exit(0)
