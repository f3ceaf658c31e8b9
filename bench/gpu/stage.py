"""What a stage is told, and what stages share."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.gpu.places import COMMAND, ROOT, SHARDS


@dataclass
class Stage:
    """What a stage is told: where it runs, at which size, until when; `rows` go out one by one."""

    device: str
    toy: bool
    deadline: float
    images: Path | None
    out: Path
    # a stage of many small checks divides them among processes; counted, so that each takes its own
    shard: int | None = None
    checks: int = 0

    begun: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def row(self, name: str, setting: str = "", value: Any = "", unit: str = "", note: str = "") -> None:
        at = round(time.monotonic() - self.begun, 1)
        for place, word in ((f"{ROOT}/", ""), (sys.executable, "python"), (tempfile.gettempdir(), "")):
            note = note.replace(place, word)  # the machine's own folders tell nobody anything
        line = {"name": name, "setting": setting, "value": value, "unit": unit, "at": at, "note": note}
        print("ROW " + json.dumps(line), flush=True)

    def tried(self, name: str, setting: str, work: Callable[[], None]) -> None:
        """Run a check, if it is one of this shard; what fails is a row by its name and ends nothing."""
        self.checks += 1
        if self.shard is not None and self.checks % SHARDS != self.shard:
            return
        if self.left() < 5:
            self.row(name, setting, note="no time left")
            return
        try:
            work()
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            self.row(name, setting, "failed", note=f"{type(error).__name__}: {text}")


def allow_tf32(yes: bool) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = yes
    torch.backends.cudnn.allow_tf32 = yes


def timed(work: Callable[[], Any], device: str, seconds: float = 0.5) -> float:
    """Seconds of one call: the median of five groups, by device events on a GPU, after a warm-up."""
    import torch

    def group(times: int) -> float:
        if device != "cuda":
            start = time.perf_counter()
            for _ in range(times):
                work()
            return (time.perf_counter() - start) / times
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / times

    work()
    one = group(2)
    times = max(1, int(seconds / 5 / max(one, 1e-6)))
    return statistics.median(group(times) for _ in range(5))


def in_shards(stage: Stage, name: str) -> None:
    """A stage's checks in processes side by side, whose rows are passed on."""
    import threading

    command = [*COMMAND, "--stage", name, "--device", stage.device, "--out", str(stage.out)]
    command += ["--seconds", f"{stage.left() - 1:.0f}"] + (["--data", str(stage.images)] if stage.images else [])
    jobs = [
        subprocess.Popen([*command, "--shard", str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(SHARDS)
    ]

    def passed(job: subprocess.Popen[str], i: int) -> None:
        out, errors = job.communicate()
        sys.stdout.write("".join(line for line in out.splitlines(True) if line.startswith("ROW ")))
        sys.stdout.flush()
        if job.returncode:
            stage.row("shard", str(i), "failed", note=f"ended with {job.returncode}: {' '.join(errors.split())[-300:]}")

    threads = [threading.Thread(target=passed, args=(job, i)) for i, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def random_images(n: int, device: str, size: int = 32) -> Any:
    import numpy as np

    from lacuna.data.batches import Augment, UnlearningData

    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8), "y": rng.integers(0, 10, n)}
    meta = {"classes": 10, "mean": [0.5] * 3, "std": [0.25] * 3}
    return UnlearningData.from_arrays(arrays, meta, {"retain": np.arange(n)}, device, augment=Augment(4, True))
