"""Snakemake runs this workflow's own scripts by `warm`, each patch some of them.

Whatever has an environment, a container or a shadow folder of its own starts as Snakemake starts it, as does all where
Linux lacks what is used.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lacuna_workflow import is_own
from lacuna_workflow.internals import Patch
from lacuna_workflow.warm import WarmJobs

import snakemake.script
from snakemake.benchmark import benchmarked
from snakemake.script import PythonScript

# set, every job is treated as if it held a GPU: a rehearsal of the workers where there is none
REHEARSAL = "LACUNA_REHEARSE_GPU_WORKERS"
# the kinds of jobs whose patch is made
_ON: set[str] = set()


def is_plain(script: PythonScript) -> bool:
    """Whether it is one of this workflow's that runs in this Python, on this machine, in this folder.

    A script of a workflow that imports this one may set up what torch reads when it is imported.
    """
    other = (script.conda_env, script.container_img, script.env_modules, script.shadow_dir)
    plain = all(value is None for value in other) and script.resources.get("shell_exec") is None
    return plain and is_own(script.path.get_path_or_uri(secret_free=True))


def way_of(script: PythonScript) -> str | None:
    """How a script runs: "worker", "fork", or None where Snakemake starts it; with one patch alone its jobs do so."""
    if not is_plain(script):
        return None
    if "worker" in _ON and (script.resources.get("gpu") or REHEARSAL in os.environ):
        return "worker"
    return "fork" if "fork" in _ON else None


@contextlib.contextmanager
def measured(record: Any, pid: int) -> Iterator[None]:
    """Snakemake's benchmark of a process for a while: what it had spent before is no part of it.

    Memory is that of the process, of a worker with all that it keeps (a CUDA context, torch).
    """
    seconds, read, written = _spent(pid)
    with benchmarked(pid, record):
        yield
    if record.data_collected:
        record.cpu_time = max(0.0, record.cpu_time - seconds)
        if record.io_in is not None:
            record.io_in, record.io_out = max(0.0, record.io_in - read), max(0.0, record.io_out - written)


def _spent(pid: int) -> tuple[float, float, float]:
    """CPU seconds of a process so far, and megabytes that it read and wrote."""
    process = Path("/proc", str(pid))
    try:
        # what follows the name, which may hold anything: utime and stime are fields 14 and 15
        fields = (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        counts = dict(line.split(": ") for line in (process / "io").read_text(encoding="ascii").splitlines())
    except OSError:  # it has ended
        return 0.0, 0.0, 0.0
    seconds = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return seconds, int(counts["read_bytes"]) / 2**20, int(counts["write_bytes"]) / 2**20


def warm(kind: str) -> None:
    """Let Snakemake run its Python scripts of a kind so: "fork", all; "worker", those that hold a GPU."""
    if not (sys.platform == "linux" and hasattr(os, "pidfd_open")):
        return
    _ON.add(kind)
    if len(_ON) > 1:
        return
    cold, jobs = PythonScript.execute_script, WarmJobs("always" if REHEARSAL in os.environ else "cuda")
    atexit.register(jobs.end)

    def execute_script(self: PythonScript, fname: str, edit: bool = False) -> None:
        way = None if edit else way_of(self)
        if way is None:
            cold(self, fname, edit)
            return
        measure = None if self.bench_record is None else functools.partial(measured, self.bench_record)
        status = jobs.run(fname, self.threads, self.resources.get("tmpdir"), measure, stays=way == "worker")
        if status is None:
            cold(self, fname, edit)
        elif status:
            raise subprocess.CalledProcessError(status, f"{sys.executable} {fname}")

    PythonScript.execute_script = execute_script


_USED = ((PythonScript, "execute_script"), (PythonScript, "_execute_cmd"), (snakemake.script, "PythonScript"))
WARM = Patch("warm_jobs", _USED, functools.partial(warm, "fork"))
WORKERS = Patch("gpu_workers", _USED, functools.partial(warm, "worker"))
