"""What Snakemake's main process spends on looking for ready jobs, as it is and with lacuna_workflow.scheduler.

    python bench/wakes.py --jobs 150 --seconds 0.5

A workflow of independent jobs that sleep, two at a time, each with a parameter that takes a millisecond to evaluate, as
those of lacuna do. Prints JSON: for both the CPU seconds of the run, its jobs among them, and the wall seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIB = Path(__file__).resolve().parents[1] / "workflow" / "lib"
PATCH = f"""
import sys

sys.path.append({str(LIB)!r})

from lacuna_workflow.scheduler import SCHEDULER

SCHEDULER.make()
"""
WORKFLOW = """
import hashlib

def a_millisecond(wildcards):
    return hashlib.sha256(bytes(2_000_000)).hexdigest()

rule all:
    input: expand("out/{{i}}", i=range({jobs}))

rule one:
    output: "out/{{i}}"
    params: code=a_millisecond
    shell: "sleep {seconds}; touch {{output}}"
"""


def run(head: str, jobs: int, seconds: float) -> dict[str, float]:
    """CPU and wall seconds of one run in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Snakefile").write_text(head + WORKFLOW.format(jobs=jobs, seconds=seconds), encoding="utf-8")
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": round(cpu, 1), "wall_s": round(wall, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args()
    found = {
        "snakemake": run("", given.jobs, given.seconds),
        "one wake": run(PATCH, given.jobs, given.seconds),
    }
    about = {"machine": platform.machine(), "python": platform.python_version(), "jobs": given.jobs}
    print(json.dumps(about | found, indent=1))


if __name__ == "__main__":
    main()
