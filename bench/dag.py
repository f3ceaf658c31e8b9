"""How long Snakemake takes to plan a grid of a given size, and how much memory: the curve from 100 to 10,000 cells.

    python bench/dag.py [--cells 100 1000 10000] [--batches 10] [--finished 2000]

Each plan is a dry run of the real Snakefile with profiles/local in a fresh directory. A cell is an unlearned model;
its evaluation is a job too, and models, splits and tables come on top. --batches: the largest of these grids once more,
the first of so many batches of it. --finished: how long a run over that many
finished cells takes to say that there is nothing to do (their files are empty, only Snakemake takes them for whole).
Prints JSON: for each size cells, jobs, seconds of CPU and of wall-clock time, peak memory in MB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def snakemake(folder: Path, *arguments: str) -> tuple[str, dict[str, float]]:
    """One run of Snakemake there: what it says, and its CPU and wall-clock seconds and peak memory."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(ROOT / "Snakefile"),
        "--profile",
        str(ROOT / "profiles/local"),
    ]
    command += ["--cores", "1", "--configfile", "grid.yaml", *arguments]
    with tempfile.TemporaryFile("w+") as told:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=told, stderr=subprocess.STDOUT)
        # wait4: the usage of this process alone, not the largest of all so far
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
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
        snakemake(folder, "--touch", "--forceall", "--quiet", "all")
        text, cost = snakemake(folder, "--dry-run")
        if "Nothing to be done" not in text:
            sys.exit(f"something is left to do:\n{text[-2000:]}")
    return {
        "cells": sum(file.startswith("results/cells/") and "/metrics/" in file for file in files),
        "files": len(files),
        **cost,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[100, 300, 1000, 3000, 10000])
    parser.add_argument("--finished", type=int, nargs="*", default=[2000])
    parser.add_argument("--batches", type=int, default=10)
    given = parser.parse_args()
    curve = [plan(cells) for cells in given.cells]
    version = subprocess.run(
        [sys.executable, "-m", "snakemake", "--version"], capture_output=True, text=True, check=True
    )
    print(
        json.dumps(
            {
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "python": platform.python_version(),
                "snakemake": version.stdout.strip(),
                "plan": curve,
                f"one of {given.batches} batches": plan(max(given.cells), "--batch", f"aggregate=1/{given.batches}")
                if given.cells
                else None,
                "nothing_to_do": [rerun(cells) for cells in given.finished],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
