"""Snakemake runs this workflow's own scripts by `warm`, each patch some of them.

Whatever has an environment, a container or a shadow folder of its own starts as Snakemake starts it, as does all where
Linux lacks what is used.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys

from lacuna_workflow import is_own
from lacuna_workflow.internals import Patch
from lacuna_workflow.warm import Used, WarmJobs

import snakemake.script
from snakemake.benchmark import BenchmarkRecord
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


def measured(record: BenchmarkRecord, used: Used) -> None:
    """Fill Snakemake's benchmark of a job with what the kernel has counted; memory is that of its own process.

    Snakemake itself asks twice a second for the memory maps of a job and its children, at 10 to 15 ms a time, and
    misses what is used after it asked last. Virtual memory, and what of the memory no other process shares, are not
    counted: None, which Snakemake writes as "-".
    """
    record.running_time, record.data_collected = used.seconds, True
    record.max_rss, record.max_vms, record.max_uss, record.max_pss = used.peak_mb, None, None, None
    record.io_in, record.io_out = used.read_mb, used.written_mb
    # the load is told as this by the running time, in percent
    record.cpu_time, record.cpu_usage = used.cpu_seconds, 100 * used.cpu_seconds


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
