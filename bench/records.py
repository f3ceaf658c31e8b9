"""Snakemake's two ways to keep its records, in files and in a database: time, bytes and inodes of so many outputs.

    python -m bench.records [--records 100000] [--written 2000] [--read 20000] [--seconds-to-kill 1.5]

For each backend, in a fresh folder and without a workflow:
written: outputs are marked as begun and then recorded, as Snakemake does it at the end of a job, each with its own
transaction; the others are put there at once, for they are only to be read.
read: some of them are read as by another process, in jobs of six outputs, as a run does that finds nothing to do.
killed: kill -9 of a run in its second job: does the same command go on, and if not, what does it say? That is plain
Snakemake; with lacuna's patch `stale_runs` the lock of a killed run goes away, if it is one of the file backend.
Prints JSON: CPU and wall-clock seconds for each 1,000 outputs, MB and inodes of all.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord
from snakemake.persistence.db import DbPersistence
from snakemake.persistence.file import FilePersistence

BACKENDS = {"file": FilePersistence, "db": DbPersistence}
OF_JOB = 6
PLACE = "results/cells/digits/resnet8/short/seed{seed}/class/p0-0.50/ft{job}"
NAMES = ("model.safetensors", "mask.npz", "predictions.npz", "job.json", "history.csv", "metrics/scale.json")
WORKFLOW = """
rule all:
    input: "b"
rule a:
    output: "a"
    shell: "touch {output}"
rule b:
    input: "a"
    output: "b"
    shell: "sleep 5; touch {output}"
"""


def key(number: int) -> str:
    job = number // OF_JOB
    return f"{PLACE.format(seed=job % 10, job=job)}/{NAMES[number % OF_JOB]}"


def record(number: int) -> MetadataRecord:
    """One of the size that a cell's have: params are the recipe, the network, the unlearner and two digests."""
    folder = PLACE.format(seed=0, job=number // OF_JOB)
    entry = repr({"method": "ft", "lr": 0.001, "epochs": 5, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 128})
    return MetadataRecord(
        rule="unlearn",
        input=[f"{folder}/{name}" for name in ("images.safetensors", "meta.json", "split.npz", "model", "mask.npz")],
        log=[f"{folder}.log"],
        params=[entry, entry, entry, repr("0123456789abcdef"), repr(False)],
        record_format_version=RECORD_FORMAT_VERSION,
        software_stack_hash="d41d8cd98f00b204e9800998ecf8427e",
        starttime=1.0,
        endtime=2.0,
        incomplete=False,
        input_checksums={},
    )


def timed(number: int, work: Callable[[], Any]) -> dict[str, float]:
    """The seconds of some work for each 1,000 of so many outputs."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    scale = 1000 / number
    return {
        "cpu_s": round((time.process_time() - cpu) * scale, 2),
        "wall_s": round((time.perf_counter() - wall) * scale, 2),
    }


def write(store: Any, numbers: range) -> None:
    for number in numbers:
        name = key(number)
        store._mark_incomplete(name, None)
        store._get_recorded_starttime(name)
        store._read_record(name)
        store._write_record(name, record(number))
        store._unmark_incomplete(name)


def put(backend: str, store: Any, numbers: range) -> None:
    """Put records there without the cost of a transaction for each."""
    if backend == "file":
        for number in numbers:
            store._write_record(key(number), record(number))
        return
    with sqlite3.connect(store.path / "metadata.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(snakemake_metadata)")]
        marks = ", ".join("?" * len(columns))
        for number in numbers:
            values = {**record(number).model_dump(), "namespace": store.namespace, "target": key(number)}
            row = [json.dumps(v) if isinstance(v, list | dict) else v for v in map(values.get, columns)]
            database.execute(f"INSERT INTO snakemake_metadata VALUES ({marks})", row)


def read(store: Any, numbers: range) -> None:
    for first in numbers[::OF_JOB]:
        names = [key(number) for number in range(first, min(first + OF_JOB, numbers.stop))]
        store._filter_incomplete_keys(names)
        for name in names:
            assert store._read_record(name) is not None


def size(folder: Path) -> dict[str, float]:
    found = [os.lstat(Path(root, name)) for root, folders, files in os.walk(folder) for name in (*folders, *files)]
    return {"mb": round(sum(each.st_blocks for each in found) * 512 / 1e6, 1), "inodes": len(found)}


def killed(backend: str, seconds: float) -> str:
    """What the same command does after kill -9 of a run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Snakefile").write_text(WORKFLOW, encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--cores", "1", "--persistence-backend", backend]
        with subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as run:
            while not Path(folder, "a").exists() and run.poll() is None:
                time.sleep(0.05)
            time.sleep(seconds)
            os.killpg(run.pid, signal.SIGKILL)
        command += ["--rerun-incomplete"]
        again = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        reasons = [line for line in again.stderr.splitlines() if "Error" in line or "locked" in line]
        return "goes on" if again.returncode == 0 else " ".join(reasons[:2])


def measure(backend: str, records: int, written: int, looked_at: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, ".snakemake")
        store = BACKENDS[backend](path=folder)
        found: dict[str, Any] = {"written, each 1,000": timed(written, lambda: write(store, range(written)))}
        put(backend, store, range(written, records))
        again = BACKENDS[backend](path=folder)
        found["read, each 1,000"] = timed(looked_at, lambda: read(again, range(looked_at)))
        return {**found, **size(folder), "kill -9, then the same command": killed(backend, seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--written", type=int, default=2000)
    parser.add_argument("--read", type=int, default=20_000)
    parser.add_argument("--seconds-to-kill", type=float, default=1.5)
    given = parser.parse_args()
    print(
        json.dumps(
            {
                "load": os.getloadavg()[0],
                "records": given.records,
                **{
                    name: measure(name, given.records, given.written, given.read, given.seconds_to_kill)
                    for name in BACKENDS
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
