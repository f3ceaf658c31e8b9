"""The process that warm jobs are forked from: it has imported what they need of other packages, and nothing of lacuna.

Started by `warm`, which alone holds the other end of its socket; when that closes, it ends. A request is JSON, with the
socket of its job: over it the run is told the job's process, lets it begin once it watches it, and is told its exit
status when it ends.

A request that only says "stays" makes a worker: over its socket it gets the requests of jobs, one a line. At the end of
each it says that it is done and waits for another one; else it ends, and its exit status follows as that of any job.
Before the line at the end of a job comes one with what the kernel has counted of it.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import selectors
import signal
import socket
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Sequence
from typing import Any, NoReturn

from lacuna_workflow.leftovers import OWN, Clean

# what jobs import of other packages, the dearest first; lacuna itself is read anew by each job, for it may change
PACKAGES = (
    "torch",
    "numpy",
    "pandas",
    "matplotlib.figure",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg",
    "matplotlib.style",
    "scipy.linalg",
    "scipy.special",
    "jsonschema",
    "safetensors.numpy",
    "yaml",
    "tqdm",
    "statistics",
    "encodings.cp437",
    "snakemake.io",
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
# what it answers; at the end of a job, what a worker says that waits for another one, or before it ends, with a reason
BEGAN, DONE, LEFT = "began", "done", "left "
# before what the kernel counted: CPU seconds, the peak of resident memory in KB, blocks of 512 bytes read and written
USED = "used "
# by this a job notices the end of its run (lacuna.artifacts.processes), which a worker does for its jobs
RUN = "LACUNA_RUN"


def import_packages() -> None:
    """Import them; ends this process where one cannot be: a job that needs it says so itself, started cold.

    What is imported by halves fails otherwise than by itself, and with too little memory the next one may never end.
    """
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except Exception:
            os._exit(UNABLE)
    # those of packages take down what ends with a job's process anyway: torch's alone touch 7,000 pages of memory
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        finalizer.atexit = False
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


def tell(job: socket.socket, line: object) -> None:
    """Say a line to the run."""
    with contextlib.suppress(OSError):  # it no longer listens
        job.sendall(f"{line}\n".encode())


def tell_used(job: socket.socket, *counted: resource.struct_rusage, before: Sequence[float] = (0, 0, 0)) -> None:
    """Say what the kernel has counted of a job: of its process first, then of others that it has waited for.

    before: CPU seconds and blocks that are no part of it.
    """
    seconds, read, written = (now - then for now, then in zip(spent(*counted), before, strict=True))
    tell(job, f"{USED}{seconds} {counted[0].ru_maxrss} {read} {written}")


def spent(*counted: resource.struct_rusage) -> tuple[float, int, int]:
    """CPU seconds, and blocks of 512 bytes read and written, of all together."""
    seconds = sum(one.ru_utime + one.ru_stime for one in counted)
    return seconds, sum(one.ru_inblock for one in counted), sum(one.ru_oublock for one in counted)


def counted_here() -> tuple[resource.struct_rusage, resource.struct_rusage]:
    """What the kernel has counted of this process so far, and of those that it has waited for."""
    return resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)


def become(request: dict[str, Any], job: socket.socket) -> NoReturn:
    """Be the job of a request, in a process of its own, to its end, once the run watches this process."""
    begins = job.recv(1)
    if begins:
        tell(job, BEGAN)
    job.close()
    if not begins:
        os._exit(1)
    begin(request)
    end(status_of(request["script"]))


def stay(job: socket.socket, interrupts: Any, keeps: str) -> NoReturn:
    """Be the jobs that come over a socket, one after the other, until one fails or leaves what the next could see.

    keeps: "always", or "cuda": a process without a CUDA context ends after its job. It does not outlive the run: as a
    job of its own does, it gets SIGTERM then.
    """
    begun = _thread.allocate_lock()
    begun.acquire()
    _thread.start_new_thread(_end_with, (job.fileno(), begun))
    begun.acquire()
    requests, clean = job.makefile(), Clean()
    while True:
        # between jobs the run alone ends it
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        line = requests.readline()
        if not line:
            os._exit(0)
        signal.signal(signal.SIGINT, interrupts)
        tell(job, BEGAN)
        request = json.loads(line)
        request["environment"].pop(RUN, None)
        clean.begin()
        begin(request)
        before = spent(*counted_here())
        status = clean.run(status_of, request["script"])
        tell_used(job, *counted_here(), before=before)
        if status:
            end(status)
        torch = sys.modules.get("torch")
        if keeps == "cuda" and not (torch and torch.cuda.is_initialized()):
            end(0)
        try:
            left = clean.left()
        except BaseException as error:
            left = repr(error)
        if left:
            tell(job, LEFT + " ".join(left.split()))
            end(0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tell(job, DONE)


def _end_with(run: int, begun: _thread.LockType) -> None:
    """Send this process SIGTERM once nobody holds the other end of a socket."""
    begun.release()
    poll = select.poll()
    poll.register(run, select.POLLRDHUP)
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)


def begin(request: dict[str, Any]) -> None:
    """Take the environment and folder of a job, and a stream of random numbers of its own."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if numpy := sys.modules.get("numpy"):
        # a job of its own would not draw as the one before did
        numpy.random.seed()


def end(status: int) -> NoReturn:
    """End this process as an interpreter ends."""
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
        tell(job, pid)
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
            # until the parent watches this process too; not where it is gone or cannot
            watched = os.read(ready, 1)
            os.close(ready)
            request = json.loads(text)
            if watched and (keeps := request.get("stays")):
                stay(job, self.interrupts, keeps)
            elif watched:
                become(request, job)
        except KeyboardInterrupt:
            status = INTERRUPTED
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def report(self, descriptor: int) -> None:
        """What a job that has ended has used, and its exit status as a shell has it."""
        pid, job = self.jobs.pop(descriptor)
        self.selector.unregister(descriptor)
        os.close(descriptor)
        _, wait, counted = os.wait4(pid, 0)
        status = os.waitstatus_to_exitcode(wait)
        tell_used(job, counted)
        tell(job, status if status >= 0 else 128 - status)
        job.close()


def main() -> NoReturn:
    """Serve the run; arguments are where this package lies and the number of the socket. Jobs find nothing of it."""
    library, control = sys.argv[1], int(sys.argv[2])
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            # closed: what is opened next would take its place, and jobs print into it
            os.open(os.devnull, os.O_RDWR)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    del sys.path[: sys.path.index(library) + 1]
    try:
        import_packages()
    except KeyboardInterrupt:
        # the run hears of it too, and starts nothing in its place
        os._exit(INTERRUPTED)
    Parent(socket.socket(fileno=control)).serve()
    # nothing is left to do, and taking down what was imported takes time
    os._exit(0)
