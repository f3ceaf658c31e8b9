"""How long the tables of a large experiment take to make, and how much memory: each job by itself, on fabricated cells.

    python bench/tables.py [--cells 20000] [--few] [--in FOLDER]

A grid of 10 seeds, 2 scenarios and 25 states, with as many methods as make that many cells, two oracles and their
twins; every metric that is computed by default has a random value, some cells are missing, unchanged, or have a
note. The jobs are the scripts of the workflow, each in a process of its own. Prints JSON: for each job CPU seconds and
peak memory in MB, and the sum of the one and the largest of the other. --few: ten metrics, as a grid of very many cells
asks for. --in: a folder for the files, which stay there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lacuna.artifacts.files import write_json
from lacuna.artifacts.layout import cell_at
from lacuna.artifacts.provenance import FACTS
from lacuna.evaluation import METRICS
from lacuna.reporting import TABLES
from lacuna.reporting.tables.expected import in_order, reads_of
from lacuna.reporting.tables.making import parameters_of
from lacuna.reporting.tables.record import told_of

ROOT = Path(__file__).resolve().parents[1]
SEEDS, SCENARIOS, PRUNERS = range(10), ("class", "random"), tuple(f"p{i}" for i in range(4))
SPARSITIES = ("0.50", "0.75", "0.90", "0.95", "0.97", "0.99")
STATES = [("dense", "0.00"), *itertools.product(PRUNERS, SPARSITIES)]
LAYERS = tuple(f"block{i}.weight" for i in range(8))
ORACLES = ("retrain", "retrain_exact")
TWINS = {f"{oracle}_b": oracle for oracle in ORACLES}
# the ten of --few: four of them compare with each oracle
FEW = ("UA", "RA", "TA", "MIA", "avg_gap", "ToW", "KL_forget", "mask_iou", "sparsity", "time_s")
# tables that only special experiments have
ABSENT = ("backdoor", "probes", "recipes", "roc", "transfer")


def methods_of(cells: int) -> list[str]:
    places = len(SEEDS) * len(SCENARIOS) * len(STATES)
    return [*ORACLES, *TWINS, "original", *(f"ft{i}" for i in range(max(3, cells // places - 5)))]


def record(cells: int, few: bool) -> dict[str, Any]:
    """What experiment.json says of the experiment."""
    about = {name: METRICS[name].about for name in (FEW if few else METRICS)}  # type: ignore[attr-defined]
    better = {name: of.get("better", "none") for name, of in about.items() if of.get("default", True)}
    methods = {label: {"method": label.removesuffix("_b"), "lr": 0.1} for label in methods_of(cells)}
    axes = {"datasets": ["digits"], "models": ["resnet8"], "recipes": ["short"], "scenarios": SCENARIOS}
    grid = {axis: {label: {"method": label} for label in labels} for axis, labels in axes.items()}
    grid |= {"pruners": {label: {"method": "omp"} for label in PRUNERS}, "unlearners": methods, "unprune": {}}
    costs = [name for name in better if METRICS.module(name).endswith(".cost")]
    judging = {"oracles": ORACLES, "twins": TWINS, "better": better, "costs": costs}
    return {"name": "scale", "grid": grid, "judging": judging}


def results(cells: int, few: bool) -> Iterator[dict[str, Any]]:
    """The results of `evaluate` for the cells, in the order of a grid."""
    rng = np.random.default_rng(0)
    better = record(cells, few)["judging"]["better"]
    names = []
    for name in better:
        with_oracle = METRICS[name].about.get("oracle")  # type: ignore[attr-defined]
        names += [f"{name}/{oracle}" for oracle in ORACLES] if with_oracle else [name]
    methods = methods_of(cells)
    of_method = rng.normal(0, 5, (len(methods), len(names)))
    for seed, scenario, (pruner, sparsity) in itertools.product(SEEDS, SCENARIOS, STATES):
        for index, label in enumerate(methods):
            if index > 5 and rng.random() < 0.01:
                continue
            values = 50 + of_method[index] + rng.normal(0, 3, len(names))
            cell = {"dataset": "digits", "model": "resnet8", "recipe": "short", "seed": seed, "scenario": scenario}
            cell |= {"pruner": pruner, "sparsity": sparsity, "unlearner": label}
            yield {
                "cell": cell,
                "metrics": dict(zip(names, values.tolist(), strict=True)),
                "notes": {"UA": "draws of the attack disagree"} if rng.random() < 0.05 else {},
                "unchanged": index > 4 and rng.random() < 0.02,
                "layers": {"sparsity": dict(zip(LAYERS, rng.random(len(LAYERS)).tolist(), strict=True))},
                "layer_order": list(LAYERS),
                "origin": {**dict.fromkeys(FACTS, "1" * 16), "random_stream": 1, "threads": 1, "seconds": rng.random()},
                "evaluated_at_commit": "1" * 40,
                "job": f"results/{cell_at(cell)}/job.json",
                "inputs": {},
            }


def fabricate(folder: Path, cells: int, few: bool) -> None:
    """The metrics files of all cells, and the list of them; not synced, which would take longer than all else."""
    os.fsync = lambda file: None
    files = []
    for result in results(cells, few):
        files.append(f"results/{cell_at(result['cell'])}/metrics/scale.json")
        (folder / files[-1]).parent.mkdir(parents=True, exist_ok=True)
        write_json(files[-1], result)
    (folder / "cells.json").write_text(json.dumps({"files": files, "record": record(cells, few)}))


def make(job: str) -> None:
    """One job, in the working directory, with what Snakemake would give it."""
    from snakemake.iocontainers import InputFiles, OutputFiles, Params, Wildcards

    kept = json.loads(Path("cells.json").read_text())
    told = told_of(kept["record"]) | {"missing": []}
    tables = "results/tables/scale"
    wildcards, params, asking = {"experiment": "scale"}, {"experiment": kept["record"]}, [job] if job in TABLES else []
    inputs: dict[str, Any]
    if job == "aggregate":
        script, asking = job, [name for name in TABLES if "metrics" in reads_of(name)]
        inputs, outputs = (
            {"metrics": kept["files"], "population": []},
            {name: f"{tables}/{name}.csv" for name in asking},
        )
    elif job == "record":
        script, inputs = job, {name: f"{tables}/{name}.csv" for name in TABLES if name not in ABSENT}
        outputs = {"experiment": f"{tables}/experiment.json"}
    else:
        script, inputs = "table", {name: f"{tables}/{name}.csv" for name in reads_of(job)}
        outputs, wildcards = {"table": f"{tables}/{job}.csv"}, wildcards | {"table": job}
    asked = {name for table in asking for name in parameters_of(table)}
    params["told"] = {name: value for name, value in told.items() if name in asked}
    given = SimpleNamespace(
        rule=script,
        input=InputFiles(fromdict=inputs),
        output=OutputFiles(fromdict=outputs),
        params=Params(fromdict=params),
        wildcards=Wildcards(fromdict=wildcards),
        log=[f"results/logs/tables/scale/{job}.log"],
        config={"results": "results"},
    )
    sys.path.append(str(ROOT / "workflow/lib"))
    runpy.run_path(str(ROOT / f"workflow/scripts/{script}.py"), {"snakemake": given})


def measured(folder: Path, job: str) -> dict[str, float]:
    """CPU seconds and peak memory of a job."""
    process = subprocess.Popen([sys.executable, __file__, "--job", job], cwd=folder)
    # wait4: the usage of this process alone, not the largest of all so far
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"tables.py: {job} failed")
    return {"cpu_s": round(usage.ru_utime + usage.ru_stime, 1), "peak_mb": round(usage.ru_maxrss / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--in", dest="folder", type=Path)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        return make(arguments.job)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        if not (folder / "cells.json").exists():
            fabricate(folder, arguments.cells, arguments.few)
        single = [name for name in in_order() if name not in ABSENT and "metrics" not in reads_of(name)]
        jobs = {job: measured(folder, job) for job in ("aggregate", *single, "record")}
        kept = json.loads((folder / "cells.json").read_text())
    total = {"cpu_s": round(sum(job["cpu_s"] for job in jobs.values()), 1)}
    total["peak_mb"] = max(job["peak_mb"] for job in jobs.values())
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(json.dumps({"machine": machine, "cells": len(kept["files"]), "jobs": jobs, "all": total}, indent=1))


if __name__ == "__main__":
    main()
