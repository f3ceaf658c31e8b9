"""One seed of a published table, through snakemake."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.gpu.packing import mps
from bench.gpu.places import ROOT
from bench.gpu.rows import next_seed
from bench.gpu.stage import Stage


def table(stage: Stage) -> None:
    """One seed more of the published table through snakemake; the metrics of its finished cells come back."""
    try:
        import snakemake  # noqa: F401
        import yaml
    except ImportError:
        stage.row("table", note="snakemake is missing: --wheels FOLDER")
        return
    if stage.images is None and not stage.toy:
        stage.row("table", note="no images: --data IMAGES.npz")
        return
    folder = Path(tempfile.mkdtemp(prefix="table-"))
    shutil.copytree(
        ROOT, folder / "lacuna", ignore=shutil.ignore_patterns(".git", ".venv", ".gpu", "results", ".snakemake")
    )
    seed = next_seed()
    project = folder / "lacuna"
    if stage.images is not None:
        (project / "data").mkdir(exist_ok=True)
        shutil.copy(stage.images, project / "data" / "cifar10_full.npz")
    name = "jia2023_table3_fast"
    text = (project / f"config/experiments/{name}.yaml").read_text(encoding="utf-8")
    chosen = yaml.safe_load(text.replace("seeds: [0]", f"seeds: [{seed}]"))
    if stage.toy:
        chosen = yaml.safe_load((project / "config/config.yaml").read_text(encoding="utf-8"))
        chosen["grid"] |= {"sparsities": ["dense"], "scenarios": {"class": {"forget_class": 3}}}
        chosen["grid"]["unlearners"] = {k: {} for k in ("original", "retrain")} | {
            "ft": {"epochs": 1, "batch_size": 64}
        }
        chosen["grid"]["recipes"]["short"]["epochs"] = 3
        chosen |= {"name": name, "device": "cpu", "metrics": ["UA", "RA", "TA", "MIA", "avg_gap"]}
    # what fits in any case first, so that a run whose time ends has a table; then all of it
    first = copy.deepcopy(chosen) | {"name": f"{name}_first"}
    scenario = next(iter(chosen["grid"]["scenarios"]))
    first["grid"]["scenarios"] = {scenario: chosen["grid"]["scenarios"][scenario]}
    for later in ("retrain_b", "retrain_exact", "retrain_exact_b", "scrub"):
        first["grid"]["unlearners"].pop(later, None)
    start, ended = time.perf_counter(), []
    (folder / "mps").mkdir()
    with open(folder / "log", "w", encoding="utf-8") as log, mps(stage.device == "cuda", str(folder / "mps")) as shared:
        for part in (first, chosen) if not stage.toy else (chosen,):
            file = project / f"config/experiments/now_{part['name']}.yaml"
            file.write_text(yaml.safe_dump(part, sort_keys=False), encoding="utf-8")
            # jobs share the GPU
            command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--keep-going"]
            command += ["--cores", "2" if stage.toy else "12", "--resources", "gpu=8", "--configfile", str(file)]
            job = subprocess.Popen(
                command, cwd=project, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=shared
            )
            try:
                job.wait(timeout=max(10.0, stage.left() - 10))
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGTERM)
                job.wait(timeout=30)
            ended.append(f"{part['name']}: rc {job.returncode} after {time.perf_counter() - start:.0f} s")
            if job.returncode:
                break
    cells = []
    for path in sorted(project.glob("results/cells/**/metrics/*.json")):
        read = json.loads(path.read_text(encoding="utf-8"))
        cells.append({"cell": read.get("cell"), "metrics": read.get("metrics")})
        for metric, value in (read.get("metrics") or {}).items():
            if metric.split("/")[0] in ("UA", "RA", "TA", "MIA", "avg_gap", "time_s"):
                stage.row("table", "/".join(map(str, (read.get("cell") or {}).values())), value, metric)
    models = len(list(project.glob("results/**/model.safetensors")))
    said_last = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    tail = [line for line in said_last if "log" not in line]
    stage.row(
        "table",
        f"seed {seed}",
        len(cells) or "failed",
        "cells",
        f"{models} models; {'; '.join(ended)}; {' | '.join(tail)[:300]}",
    )
    for table in project.glob("results/tables/*/*.csv"):
        kept = stage.out / "tables" / table.parent.name
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(table, kept / table.name)
    for job_file in sorted(project.glob("results/**/job.json")):
        told = json.loads(job_file.read_text(encoding="utf-8"))
        place = "/".join(map(str, (told.get("cell") or {}).values()))
        stage.row("table job", place, round(told.get("seconds") or 0, 2), "s", str(told.get("execution") or ""))
    shutil.copy(folder / "log", stage.out / "table.log")
    (stage.out / "cells.json").write_text(json.dumps({"seed": seed, "cells": cells}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
