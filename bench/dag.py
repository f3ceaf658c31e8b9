"""How long Snakemake takes to plan a grid of a given size, and how much memory: from 100 cells to 100,000 in batches.

    python -m bench.dag [--cells 100 1000 10000] [--finished 2000] [--large 100000 [--of-large 1 11 22]] [--share 2000]

Each plan is a dry run of the real Snakefile with profiles/local in a fresh directory. A cell is an unlearned model;
its evaluation is a job too, and models, splits and tables come on top. An option without values leaves its part out.
--finished: how long a run over that many
finished cells takes to say that there is nothing to do (their files are empty, only Snakemake takes them for whole).
--large: the process that counts the jobs of so many cells and decides for batches, then each batch of `lacuna plan`, or
those that --of-large names; the last one plans the tables, for which the files that they are made of are put there,
empty. --share: of a plan of so many cells, the share of lacuna's own code, by samples of the CPU's time; the table that
a dry run ends with by itself.
Prints JSON: for each size cells, jobs, seconds of CPU and of wall-clock time, peak memory in MB of the largest process.
"""

from __future__ import annotations

import argparse
import atexit
import collections
import json
import multiprocessing
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from lacuna.commands.batches import Batches
from lacuna.commands.launch import CACHE, SCHEMA
from lacuna.experiment import catalogue
from lacuna.experiment.config import load
from lacuna.experiment.jobs import Job, traces_of

ROOT = Path(__file__).resolve().parents[1]


def experiment(cells: int) -> str:
    """A grid of about that many cells, of the shape that a large study has: 10 seeds, 2 scenarios, 25 sparse states."""
    seeds = max(1, min(10, cells // 100))
    scenarios = 1 if cells < 400 else 2
    pruners = 1 if cells < 1000 else 5
    sparsities = 5
    unlearners = max(2, round(cells / (seeds * scenarios * pruners * sparsities)))
    lines = [
        "name: scale",
        "device: cpu",
        "figures: []",
        "grid:",
        "  datasets: {digits: {}}",
        "  models: {resnet8: {}}",
    ]
    lines += ["  recipes: {short: {epochs: 30, rewind_epoch: 2}}", f"  seeds: {list(range(seeds))}"]
    names = ["{class: {forget_class: 3}}", "{class: {forget_class: 3}, random: {fraction: 0.1}}"]
    lines += [f"  scenarios: {names[scenarios - 1]}"]
    lines += ["  pruners: {" + ", ".join(f"p{i}: {{method: omp}}" for i in range(pruners)) + "}"]
    lines += [f"  sparsities: {[0.5, 0.75, 0.9, 0.95, 0.99][:sparsities]}", "  unlearners:", "    retrain: {}"]
    lines += [f"    ft{i}: {{method: ft, lr: {0.001 * (i + 1):.4f}}}" for i in range(unlearners - 1)]
    return "\n".join(lines) + "\n"


def words(*arguments: str) -> list[str]:
    """The arguments of Snakemake for the grid of the working directory."""
    where = ["-s", str(ROOT / "Snakefile"), "--profile", str(ROOT / "profiles/local")]
    return [*where, "--cores", "1", *arguments, "--configfile", "grid.yaml"]


# Snakemake waits a tenth of a second for each job whose files it touches
TOUCHING = (
    "import sys; from snakemake.cli import main; from snakemake.executors.touch import Executor; "
    "Executor.SLEEPING_TIME = 0; main(sys.argv[1:])"
)


def snakemake(
    folder: Path, *arguments: str, start: Sequence[str] = ("-m", "snakemake")
) -> tuple[str, dict[str, float]]:
    """One run of Snakemake there: what it says, and its CPU and wall-clock seconds and peak memory."""
    command = [sys.executable, *start, *words(*arguments)]
    with tempfile.TemporaryFile("w+") as told:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=told, stderr=subprocess.STDOUT)
        # wait4: the usage of this process alone, not the largest of all so far
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        told.seek(0)
        text = told.read()
    if status:
        sys.exit(text[-2000:])
    cost = {"cpu_s": usage.ru_utime + usage.ru_stime, "wall_s": wall, "peak_mb": usage.ru_maxrss / 1024}
    return text, {name: round(value, 1) for name, value in cost.items()}


def grid_in(folder: Path, cells: int) -> None:
    (folder / "grid.yaml").write_text(experiment(cells), encoding="utf-8")
    # the methods are listed once per state of the sources; no plan pays for that again
    snakemake(folder, "--list-rules")


def plan(cells: int, *arguments: str) -> dict[str, float]:
    """A dry run of a grid of which nothing exists."""
    with tempfile.TemporaryDirectory() as name:
        grid_in(Path(name), cells)
        text, cost = snakemake(Path(name), "--dry-run", "--quiet", "rules", *arguments)
    jobs = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", text, re.M)}
    return {"cells": jobs["evaluate"], "jobs": jobs["total"], **cost}


def rerun(cells: int) -> dict[str, float]:
    """A dry run of a grid of which everything exists, Snakemake's own records included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid_in(folder, cells)
        rows = [line.split("\t") for line in snakemake(folder, "--summary")[0].splitlines()]
        files = [row[0] for row in rows if row[0].startswith("results/")]
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
        snakemake(folder, "--touch", "--forceall", "--quiet", "all", start=("-c", TOUCHING))
        text, cost = snakemake(folder, "--dry-run")
        if "Nothing to be done" not in text:
            sys.exit(f"something is left to do:\n{text[-2000:]}")
    return {
        "cells": sum(file.startswith("results/cells/") and "/metrics/" in file for file in files),
        "files": len(files),
        **cost,
    }


# ---- in batches ------------------------------------------------------------------------------------------------------


def large(cells: int, numbers: list[int] | None, size: int | None = None) -> dict[str, Any]:
    """The plan of a grid in batches, of which nothing exists but what the tables are made of.

    numbers: of the batches that are planned, None for all; size: cells of a batch, None for as `lacuna plan` has it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        grid_in(folder, cells)
        command = [sys.executable, "-m", "snakemake", *words("--dry-run", "--quiet", "rules", "progress")]
        facts, counted = counted_jobs(folder, command, size)
        batches = Batches(command, name, *facts)
        found: dict[str, Any] = {"cells": batches.cells, "cells of a batch": batches.size}
        found |= {"batches": batches.of, "counting": counted}
        for number in numbers or range(1, batches.of + 1):
            if number == batches.of:
                put_inputs_of_tables(folder)
            found[f"batch {number}"] = apart(batches, number)
    return found


def apart(batches: Batches, number: int) -> dict[str, float]:
    """One batch, started by a process of its own: the kernel tells the largest of all that a process ever started."""
    ours, theirs = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        start = time.perf_counter()
        reports, status = batches.one(number)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        jobs = sum(len(report["plan"]["planned"]) for report in reports)
        cost = {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": time.perf_counter() - start}
        cost["peak_mb"] = used.ru_maxrss / 1024
        theirs.send((status, {"jobs": jobs, **{name: round(value, 1) for name, value in cost.items()}}))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    theirs.close()
    try:
        status, cost = ours.recv()
    except EOFError:  # its own words stand above
        sys.exit(f"batch {number}: its process ended before the batch had")
    process.join()
    if status:
        sys.exit(f"batch {number} ended with {status}")
    return dict(cost)


def counted_jobs(folder: Path, command: list[str], size: int | None) -> tuple[list[Any], dict[str, float]]:
    """What `Batches` is told of the grid, and what it costs to find that out: Snakemake up to that decision."""
    stop = (
        "import json, resource, sys; from lacuna.commands import batches; from snakemake.cli import main\n"
        "def become(self, *facts):\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print(json.dumps([facts, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]), flush=True)\n"
        "    import os; os._exit(0)\n"
        "batches.Request.become = become\n"
        f"batches.Request([], '.', {size}).leave()\n"
        "main(sys.argv[1:])"
    )
    told = subprocess.run(
        [sys.executable, "-c", stop, *command[3:]], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    facts, cpu, peak = json.loads(told.strip().splitlines()[-1])
    return facts, {"cpu_s": round(cpu, 1), "peak_mb": round(peak, 1)}


def put_inputs_of_tables(folder: Path) -> None:
    """The files that tables, figures and page read, empty."""
    known = catalogue.load(folder / CACHE)
    experiment = load([folder / "grid.yaml"], {}, SCHEMA, known, cache=folder / CACHE)
    (folder / "results/data/digits").mkdir(parents=True, exist_ok=True)
    (folder / "results/data/digits/meta.json").touch()
    for cell in experiment.cells():
        where = folder / "results" / traces_of(Job("evaluate", tuple(cell.items())), "scale").made
        where.parent.mkdir(parents=True)
        where.touch()
        (where.parents[1] / "job.json").touch()


# ---- whose time it is ------------------------------------------------------------------------------------------------


def share(cells: int) -> dict[str, Any]:
    """Of a dry run of a grid of which nothing exists, the share of each side."""
    with tempfile.TemporaryDirectory() as name:
        grid_in(Path(name), cells)
        for _ in range(2):  # the first one fills the caches that are kept between plans
            command = [sys.executable, "-m", "bench.dag", "--sampled", *words("--dry-run", "--quiet", "rules")]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            told = subprocess.run(command, cwd=name, env=environment, check=True, capture_output=True, text=True).stdout
    samples = json.loads(told.strip().splitlines()[-1])
    total = sum(samples.values())
    return {"cells": cells, "samples": total, **{whose: round(n / total, 4) for whose, n in samples.items()}}


def sampled(arguments: list[str]) -> None:
    """Run Snakemake in this process and print how many samples of its time, 5 ms each, are whose."""
    samples: collections.Counter[str] = collections.Counter()
    signal.signal(signal.SIGPROF, lambda _, frame: samples.update([whose(frame)]))

    def tell() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(samples), flush=True)

    atexit.register(tell)  # first, so it comes last: what a plan keeps for the next is kept before, and its table made
    from snakemake.cli import main as run

    signal.setitimer(signal.ITIMER_PROF, 0.005, 0.005)
    run(arguments)


def whose(frame: FrameType | None) -> str:
    """Whose code it is that works: the innermost that is not the standard library's or another package's."""
    while frame is not None:
        file = frame.f_code.co_filename
        if "/snakemake/" in file:
            return "snakemake"
        if file.startswith(str(ROOT)) and "site-packages" not in file and "bench" not in file:
            return "table at the end" if closes(frame) else "lacuna"
        frame = frame.f_back
    return "other"


def closes(frame: FrameType | None) -> bool:
    """Whether a dry run has ended and makes its table."""
    while frame is not None:
        if frame.f_code.co_filename.endswith("run_messages.py") and frame.f_code.co_name == "plan":
            return True
        frame = frame.f_back
    return False


def main() -> None:
    if sys.argv[1:2] == ["--sampled"]:
        sampled(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--finished", type=int, nargs="*", default=[2000])
    parser.add_argument("--large", type=int, nargs="*", default=[])
    parser.add_argument("--of-large", type=int, nargs="*", metavar="BATCH")
    parser.add_argument("--share", type=int, nargs="*", default=[])
    given = parser.parse_args()
    version = subprocess.run(
        [sys.executable, "-m", "snakemake", "--version"], capture_output=True, text=True, check=True
    )
    print(
        json.dumps(
            {
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "load": os.getloadavg()[0],
                "python": platform.python_version(),
                "snakemake": version.stdout.strip(),
                "plan": [plan(cells) for cells in given.cells],
                "in_batches": [large(cells, given.of_large) for cells in given.large],
                "nothing_to_do": [rerun(cells) for cells in given.finished],
                "share": [share(cells) for cells in given.share],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
