"""All stages in their order, each in a process of its own."""

from __future__ import annotations

import csv
import datetime
import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.gpu.places import COLUMNS, COMMAND, REHEARSAL, ROOT, SHARES


def origin(device: str) -> dict[str, str]:
    """What every row says of where it was made; `commit` is empty outside a repository."""

    def told(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if not done.returncode else ""

    import importlib.metadata

    name, driver = platform.processor() or platform.machine(), ""
    if device == "cuda":
        name, _, driver = told("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").partition(", ")
    return {
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": os.environ.get("LACUNA_COMMIT") or told("git", "rev-parse", "HEAD"),
        "device": name,
        "driver": driver,
        "torch": importlib.metadata.version("torch"),
    }


def run(out: Path, minutes: float, names: list[str], toy: bool, device: str, images: Path | None) -> int:
    """All stages in their order, each in a process of its own; rows are written as they come."""
    out.mkdir(parents=True, exist_ok=True)
    about, end = origin(device), time.monotonic() + 60 * minutes
    told: list[dict[str, Any]] = []
    bad = 0
    for name in names:
        left = end - time.monotonic()
        seconds = REHEARSAL[name] if toy else min(left, 60 * minutes * SHARES[name])
        if seconds < 8:
            told.append({"stage": name, "note": "no time left"})
            continue
        command = [
            *COMMAND,
            "--stage",
            name,
            "--device",
            device,
            "--seconds",
            f"{seconds:.0f}",
            "--out",
            str(out),
        ]
        command += ["--rehearse"] * toy + (["--data", str(images)] if images else [])
        start = time.monotonic()
        with open(out / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            job = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
            timer = start + seconds + 5

            def add(row: dict[str, Any], writer: Any = writer, name: str = name) -> None:
                row = about | {"stage": name} | row
                writer.writerow(row)
                told.append(row)

            for row, failed in rows_of(job, timer):
                add(row)
                file.flush()
                bad += failed
        print(f"{name}: {time.monotonic() - start:.0f} s, {sum(r.get('stage') == name for r in told)} rows", flush=True)
        (out / "run.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    failed = [
        r
        for r in told
        if r.get("value") == "failed" or str(r.get("note", "")).startswith(("over ", "another", "ended"))
    ]
    for row in failed:
        print("  ".join(str(row.get(k, "")) for k in ("stage", "name", "setting", "value", "note")))
    print(f"{len(told)} rows, {len(failed)} to look at, in {out}")
    return len(failed)


def rows_of(job: subprocess.Popen[str], until: float) -> Iterator[tuple[dict[str, Any], bool]]:
    """The rows that a stage prints, until it ends or its time is up; a bad end is a row too."""
    import threading

    timer = threading.Timer(max(1.0, until - time.monotonic()), lambda: os.killpg(job.pid, signal.SIGKILL))
    timer.start()
    errors: list[str] = []
    assert job.stdout is not None and job.stderr is not None
    reader = threading.Thread(target=lambda: errors.extend(job.stderr or ()), daemon=True)
    reader.start()
    for line in job.stdout:
        if line.startswith("ROW "):
            yield json.loads(line[4:]), False
    job.wait()
    timer.cancel()
    reader.join(5)
    if job.returncode == -signal.SIGKILL:
        yield {"name": "stage", "note": "its time was up"}, False
    elif job.returncode:
        yield (
            {
                "name": "stage",
                "value": "failed",
                "note": f"ended with {job.returncode}: {' '.join(''.join(errors[-3:]).split())[:300]}",
            },
            True,
        )
