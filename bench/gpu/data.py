"""Batches alone; gradients of single samples against a loop; prediction."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from typing import Any

from bench.gpu.places import ROOT
from bench.gpu.stage import Stage, random_images


def data(stage: Stage) -> None:
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.inference import logits

    n = 512 if stage.toy else 50_000
    source = random_images(n, stage.device)

    def batches(images: Any) -> None:
        for _ in images.train_batches("retain", 256, 0, 0, torch.float32):
            pass
        if stage.device == "cuda":
            torch.cuda.synchronize()

    for serve in ("device", "host"):

        def of_path(serve: str = serve) -> None:
            from lacuna.data.batches import HostImages

            images = (
                source
                if serve == "device"
                else dataclasses.replace(source, images=HostImages(source.images.cpu(), source.device))
            )
            batches(images)
            start = time.perf_counter()
            batches(images)
            stage.row(
                "batches", f"images on the {serve}, crop and flip", round(n / (time.perf_counter() - start)), "images/s"
            )

        stage.tried("batches", serve, of_path)

    def of_prediction() -> None:
        model = build(MODELS["resnet8" if stage.toy else "resnet18"], {}).build(10, 3).to(stage.device)
        logits(model, source, "retain")
        start = time.perf_counter()
        logits(model, source, "retain")
        stage.row(
            "prediction", "resnet8" if stage.toy else "resnet18", round(n / (time.perf_counter() - start)), "images/s"
        )

    stage.tried("prediction", "", of_prediction)

    def of_samples() -> None:
        command = [sys.executable, str(ROOT / "bench" / "second_order.py"), "--device", stage.device]
        command += (
            ["--samples", "8", "--repeat", "1"]
            if stage.toy
            else ["--samples", "256", "--of-loops", "16", "--repeat", "2"]
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(5.0, stage.left()), check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
        report = json.loads(done.stdout)
        for what, times in report["times_as_fast"].items():
            stage.row("gradients of single samples", what, times, "times as fast")
        for what, difference in report["largest_difference"].items():
            stage.row("gradients of single samples", what, difference, "largest relative difference")

    stage.tried("gradients of single samples", "", of_samples)

    def of_cell() -> None:
        command = [sys.executable, str(ROOT / "bench" / "evaluation.py")]
        if stage.toy:
            return
        start = time.perf_counter()
        try:
            subprocess.run(command, capture_output=True, timeout=max(5.0, stage.left()), check=True)
        except subprocess.TimeoutExpired as error:
            stage.row("evaluation", "one cell", f"over {error.timeout:.0f}", "s", "no time left")
            return
        stage.row(
            "evaluation",
            "one cell of CIFAR-10's size, CPU, with the plain SVC",
            round(time.perf_counter() - start, 1),
            "s",
        )

    stage.tried("evaluation", "", of_cell)
