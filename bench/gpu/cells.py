"""Small cells one after the other: in processes of their own, forked, and in a worker that keeps its CUDA context."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.gpu.packing import mps
from bench.gpu.places import ROOT
from bench.gpu.stage import Stage

# What a small cell does, with the modules of its job: an original's training, and its fine-tuning without some images.
# Writes a digest of the weights, its seconds by the clock, the peak of its memory on the GPU (MB) and its process.
CELL = """
import time
start = time.perf_counter()
import hashlib, json, os, sys
sys.path[:0] = {paths!r}
import lacuna_workflow.cell_job
from lacuna_workflow.model_job import use_device

import torch

from bench.gpu.stage import random_images
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.init import reinitialise
from lacuna.training.loop import fit
from lacuna.training.recipes import RECIPES
from lacuna.unlearning import unlearn

device = use_device({device!r}, 1)
model = build(MODELS[{network!r}], {options!r}).build(10, 3)
reinitialise(model, 0)
model = model.to(device)
data = random_images({images}, device)
fit(model, build(RECIPES["sgd"], {{"epochs": {epochs}, "batch_size": 64, "rewind_epoch": 0}}), data, seed=0)
data.parts.update(forget=data.parts["retain"][:64], retain=data.parts["retain"][64:])
model = unlearn("ft", model, data, seed=0, epochs=1, batch_size=64).model
digest = hashlib.sha256(b"".join(v.cpu().numpy().tobytes() for v in model.state_dict().values())).hexdigest()
peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0
with open({out!r}, "a") as file:
    file.write(json.dumps([digest, time.perf_counter() - start, peak, os.getpid()]) + "\\n")
"""


def cells(stage: Stage) -> None:
    """Seconds of a small cell in each way, from request to end; what a waiting worker holds; several cells at once."""
    try:
        import snakemake  # noqa: F401
    except ImportError:
        stage.row("cells", note="snakemake is missing: --wheels FOLDER")
        return
    times, together = (2, 2) if stage.toy else (3, 4)
    with tempfile.TemporaryDirectory() as folder:
        series = _Series(stage, Path(folder))
        try:
            series.one_by_one(times)
            series.at_once(together)
        finally:
            series.jobs.end()


class _Series:
    """The cells of a stage, and the processes that run them."""

    def __init__(self, stage: Stage, folder: Path):
        sys.path[:0] = [str(ROOT / "workflow/lib")]
        from lacuna_workflow.warm import WarmJobs

        self.stage, self.out, self.script = stage, folder / "out", str(folder / "cell.py")
        self.jobs = WarmJobs("cuda" if stage.device == "cuda" else "always")
        cell: dict[str, Any] = {"network": "resnet20", "options": {}, "images": 1024, "epochs": 2}
        if stage.toy:
            cell |= {"network": "resnet8", "options": {"width": 4}, "images": 256}
        paths = [str(ROOT), str(ROOT / "src"), str(ROOT / "workflow/lib")]
        text = CELL.format(paths=paths, device=stage.device, out=str(self.out), **cell)
        Path(self.script).write_text(text, encoding="utf-8")
        self.ways: dict[str, Callable[[], int | None]] = {
            "unforked": lambda: subprocess.run([sys.executable, self.script], check=False).returncode,
            "forked": lambda: self.jobs.run(self.script, 1, None),
            "worker": lambda: self.jobs.run(self.script, 1, None, stays=True),
        }

    def one_by_one(self, times: int) -> None:
        """A cell in each way, so often, in turns."""
        row = self.stage.row
        empty = self.memory()
        for way in self.ways:
            seconds, _ = self.cell(way)
            row("first small cell", way, round(seconds, 2), "s", "with what starts once")
        if empty is not None:
            row("a waiting worker", "GPU memory", (self.memory() or 0) - empty, "MB", "context and libraries")
        self.out.unlink()
        spent: dict[str, list[tuple[float, float]]] = {way: [] for way in self.ways}
        told: dict[str, list[Any]] = {way: [] for way in self.ways}
        for _ in range(times):
            for way in self.ways:
                if self.stage.left() > 10 or not spent[way]:
                    spent[way].append(self.cell(way))
                    told[way].append(json.loads(self.out.read_text(encoding="utf-8").splitlines()[-1]))
        for way, pairs in spent.items():
            walls, cpu = zip(*pairs, strict=True)
            inside, processes = (statistics.median(line[1] for line in told[way])), {line[3] for line in told[way]}
            note = f"{min(walls):.2f} to {max(walls):.2f}; {inside:.2f} in the script; {len(processes)} processes"
            row("small cell", way, round(statistics.median(walls), 3), "s", note)
            row("CPU of a small cell", way, round(statistics.median(cpu), 3), "CPU s", f"of {len(pairs)}")
            row("GPU memory of a small cell", way, round(told[way][-1][2]), "MB")
        row("workers that ended", value=len(self.jobs.left), note="; ".join(self.jobs.left)[:300])
        kinds = {line[0] for lines in told.values() for line in lines}
        row("small cell", "kinds of weights", len(kinds), "", "a CPU has one; sums on a GPU may come in another order")

    def at_once(self, count: int) -> None:
        """So many at the same time, on a GPU with and without its multi-process service."""
        for served in (False, True) if self.stage.device == "cuda" else (False,):
            with tempfile.TemporaryDirectory() as folder, mps(served, folder) as environment:
                if environment is None:
                    self.stage.row("small cells at once", "MPS", "failed", note="nvidia-cuda-mps-control did not start")
                    continue
                before = dict(os.environ)
                os.environ.update(environment)
                for way in ("forked", "worker"):
                    if self.stage.left() < 10:
                        break
                    setting = f"{count} at once, {way}" + (", MPS" if served else "")
                    self.round(way, count)  # in which workers begin
                    rate = count / self.round(way, count)
                    self.stage.row("small cells at once", setting, round(rate, 2), "cells/s")
                # clients end before their service
                self.jobs.end()
                os.environ.clear()
                os.environ.update(before)

    def round(self, way: str, count: int) -> float:
        """Seconds by the clock of so many cells at the same time. Raises RuntimeError if one failed."""
        start = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            ended = list(pool.map(lambda _: self.ways[way](), range(count)))
        if any(status != 0 for status in ended):
            raise RuntimeError(f"cells at once ended with {ended} ({way})")
        return time.perf_counter() - start

    def cell(self, way: str) -> tuple[float, float]:
        """Seconds of a cell by the clock, and of CPU. Raises RuntimeError if it failed."""
        cpu, start = self.cpu(), time.perf_counter()
        if (status := self.ways[way]()) != 0:
            raise RuntimeError(f"a cell ended with {status} ({way})")
        return time.perf_counter() - start, self.cpu() - cpu

    def cpu(self) -> float:
        """CPU seconds so far of all that this process started, directly or not."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = 0
        living = [parent.process.pid for parent in self.jobs.parents.values()]
        for process in [*living, *(worker.pid for worker in self.jobs.idle)]:
            fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            # utime, stime, and both of the children that it waited for
            ticks += sum(map(int, fields.split()[11:15]))
        return ended.ru_utime + ended.ru_stime + ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int | None:
        """MB that are taken of the GPU; None without one."""
        if self.stage.device != "cuda":
            return None
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return int(done.stdout) if done.stdout.strip().isdigit() else None
