"""Several processes on one GPU, with and without MPS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from bench.gpu.places import COMMAND
from bench.gpu.stage import Stage, random_images


def packing(stage: Stage) -> None:
    networks = ("resnet20", "resnet18") if not stage.toy else ("resnet8",)
    counts = (1, 2, 4, 8) if not stage.toy else (1, 2)
    seconds = 1.0 if stage.toy else 2.0
    for name in networks:
        for served in (False, True) if stage.device == "cuda" else (False,):
            if stage.left() < 15:
                stage.row(f"packing {name}", "MPS" if served else "", note="no time left")
                continue
            with tempfile.TemporaryDirectory() as folder, mps(served, folder) as environment:
                if environment is None:
                    stage.row("packing", "MPS", "failed", note="nvidia-cuda-mps-control did not start")
                    continue
                for count, rates in together(name, counts, seconds, stage, environment):
                    setting = f"{count} processes" + (", MPS" if served else "")
                    ended = f"{len(rates)} of {count} ended well"
                    stage.row(f"packing {name}", setting, round(sum(rates)), "images/s together", ended)


class mps:
    """The multi-process service of our own for as long as the block lasts; None where it does not start."""

    def __init__(self, served: bool, folder: str):
        self.served = served
        self.environment = dict(os.environ)
        if served:
            self.environment |= {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}

    def __enter__(self) -> dict[str, str] | None:
        if not self.served:
            return self.environment
        try:
            done = subprocess.run(["nvidia-cuda-mps-control", "-d"], env=self.environment, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if done.returncode else self.environment

    def __exit__(self, *error: object) -> None:
        if self.served and shutil.which("nvidia-cuda-mps-control"):
            subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", env=self.environment, timeout=30, check=False)


def together(
    name: str, counts: tuple[int, ...], seconds: float, stage: Stage, environment: dict[str, str]
) -> Iterator[tuple[int, list[float]]]:
    """Images per second of each of so many processes that train at the same time; those not in a round wait."""
    command = [*COMMAND, "--worker", name, "--device", stage.device, "--seconds", str(seconds)]
    jobs = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(max(counts))
    ]
    try:
        ready = [job for job in jobs if said(job).startswith("ready")]
        for count in counts:
            if stage.left() < seconds + 3:
                return
            round_of = ready[:count]
            for job in round_of:
                assert job.stdin is not None
                job.stdin.write("go\n")
                job.stdin.flush()
            yield count, [float(told) for job in round_of if (told := said(job))]
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def said(job: subprocess.Popen[str]) -> str:
    """The next line of a worker; empty once it is gone."""
    assert job.stdout is not None
    return job.stdout.readline().strip()


def worker(name: str, device: str, seconds: float) -> None:
    """Train for so many seconds at each line that comes in; prints images per second."""
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.init import reinitialise
    from lacuna.training.loop import fit
    from lacuna.training.recipes import RECIPES

    torch.set_num_threads(1)
    model = build(MODELS[name], {"width": 4} if name == "resnet8" else {}).build(10, 3)
    reinitialise(model, 0)
    model = model.to(device)
    n = 256 if name == "resnet8" else 2560
    images = random_images(n, device)
    recipe = build(RECIPES["sgd"], {"epochs": 1, "batch_size": 256, "precision": "auto", "rewind_epoch": 0})
    fit(model, recipe, images, seed=0)
    print("ready", flush=True)
    for _ in sys.stdin:
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            fit(model, recipe, images, seed=done)
            if device == "cuda":
                torch.cuda.synchronize()
            done += n
        print(done / (time.perf_counter() - start), flush=True)
