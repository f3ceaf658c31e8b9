"""Many small cells on few GPUs of a cluster: one GPU for each, shards of one GPU, or one allocation for all of them.

Makes the same cells of a tiny experiment each way, on the cluster that is there (tests/slurm/cluster.sh start, with
LACUNA_SLURM_CPUS=16 so that cores are not what is short), and prints JSON: jobs submitted, seconds that they waited in
the queue (sum, and the longest), seconds from the command to its end, and whether all models have the same bytes.

    python bench/packing.py [--cells 8] [--at-once 4]
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # whose modules name each other without it

from tests.workflow.project import EXPERIMENT, Project

CELLS = "results/cells/digits/resnet8/brief/seed0/class/dense"
SITE = '    slurm_partition: "gpu"\n'
ON_CLUSTER = ("--profile", "profiles/slurm", "--cores", "64")


def jobs_since(first: int) -> list[dict[str, float]]:
    """Seconds in the queue and in execution of the jobs after a number, as the controller remembers them."""
    told = subprocess.run(
        ["squeue", "--noheader", "--states", "all", "--format", "%i|%V|%S|%M|%T"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    jobs = []
    for line in told.splitlines():
        number, submitted, started, *_ = line.split("|")
        if int(number) > first:
            waited = datetime.datetime.fromisoformat(started) - datetime.datetime.fromisoformat(submitted)
            jobs.append({"id": int(number), "waited": waited.total_seconds()})
    return jobs


def last_job() -> int:
    told = subprocess.run(
        ["squeue", "--noheader", "--states", "all", "--format", "%i"], capture_output=True, text=True, check=True
    )
    return max(map(int, told.stdout.split()), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=4, help="cells that share a GPU")
    given = parser.parse_args()

    folder = Path(tempfile.mkdtemp(prefix="packing-"))
    base = Project.new(folder / "base")
    labels = [f"ga{i}" for i in range(given.cells)]
    unlearners = {"retrain": {}} | {label: {"method": "ga", "epochs": 2, "lr": 1e-3} for label in labels}
    base.choose(EXPERIMENT | {"grid": EXPERIMENT["grid"] | {"unlearners": unlearners, "sparsities": ["dense"]}})
    base.edit("profiles/slurm/config.yaml", lambda t: t.replace("device=cuda", "device=cpu"))
    targets = [f"{CELLS}/{label}/model.safetensors" for label in labels]
    # what all cells need, so that only they are measured
    done = base.run("results/models/digits/resnet8/brief/seed0/dense/model.safetensors", f"{CELLS}/retrain/job.json")
    if done.code:
        sys.exit(done.output)

    def packed(name: str, site: str) -> Project:
        project = base.copy(folder / name)
        project.edit("profiles/slurm/config.yaml", lambda t: t.replace(SITE, SITE + site))
        return Project(project.folder, ON_CLUSTER)

    def by_snakemake(project: Project) -> None:
        if (done := project.run(*targets)).code:
            sys.exit(done.output)

    def in_one_allocation(project: Project) -> None:
        command = Project(
            project.folder,
            ("--profile", "profiles/local", "--cores", str(given.at_once), "--resources", f"gpu={given.at_once}"),
        ).command(*targets)
        allocation = ["--gpus=1", f"--cpus-per-task={given.at_once}", "--mem=8000", "--output", "allocation.log"]
        wrap = f"--wrap={' '.join(command)}"
        subprocess.run(["sbatch", "--wait", "--quiet", *allocation, wrap], cwd=project.folder, check=True)

    ways = {
        "a GPU for each cell": (packed("gpu", "    gpu: 1\n"), by_snakemake),
        "shards of a GPU": (packed("shard", f'    gpu: 0\n    gres: "shard:{8 // given.at_once}"\n'), by_snakemake),
        "one allocation": (base.copy(folder / "allocation"), in_one_allocation),
    }
    results: dict[str, dict[str, object]] = {}
    bytes_of: set[str] = set()
    for name, (project, run) in ways.items():
        first, began = last_job(), time.monotonic()
        run(project)
        seconds = time.monotonic() - began
        jobs = jobs_since(first)
        waited = [job["waited"] for job in jobs]
        results[name] = {
            "submissions": len(jobs),
            "queue_seconds": sum(waited),
            "longest_wait_seconds": max(waited),
            "total_seconds": round(seconds, 1),
        }
        bytes_of.add(hashlib.sha256(b"".join((project / target).read_bytes() for target in targets)).hexdigest())
    print(
        json.dumps(
            {"cells": given.cells, "at_once": given.at_once, "same_bytes": len(bytes_of) == 1, **results}, indent=1
        )
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
