"""Images per second of a training step: eager, captured in a CUDA graph, compiled."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from bench.gpu.stage import Stage, allow_tf32, random_images, timed


def steps(stage: Stage) -> None:
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.cost import macs
    from lacuna.models.init import reinitialise

    cuda = stage.device == "cuda"
    torch.backends.cudnn.benchmark = True
    side = 1024 if stage.toy else 8192
    a = torch.randn(side, side, device=stage.device, dtype=torch.bfloat16)
    ceiling = 2 * side**3 / timed(lambda: a @ a, stage.device, 0.2)
    names = {"resnet18": {}, "resnet20": {}, "vgg16_bn": {}, "vit": {}} if not stage.toy else {"resnet8": {"width": 4}}
    batches = (256, 1024) if not stage.toy else (32,)
    modes = ("eager", "captured") if cuda else ("eager",)
    # in the order of what they tell, for the time may not do for all
    every = [
        (name, batch, precision, mode)
        for batch in batches
        for name in names
        for precision in ("bf16", "TF32", "fp32")
        for mode in modes
        if precision != "fp32" or batch == batches[0]
    ]
    every += [(next(iter(names)), batches[0], "bf16", "compiled")] if cuda else []
    models: dict[str, Any] = {}
    for i, (name, batch, precision, mode) in enumerate(every):
        if i == min(6, len(every) - 1):
            stage.tried("loop", "", lambda: whole_loop(stage))
        if name not in models:
            models[name] = build(MODELS[name], names[name]).build(10, 3)
            reinitialise(models[name], 0)
            models[name] = models[name].to(stage.device).train()

        def of_step(name: str = name, batch: int = batch, precision: str = precision, mode: str = mode) -> None:
            allow_tf32(precision == "TF32")
            model = copy.deepcopy(models[name])
            step = step_of(model, batch, precision == "bf16", mode, stage.device)
            seconds = timed(step, stage.device, 0.05 if stage.toy else 0.3)
            share = batch * 6 * macs(model, (3, 32, 32)) / seconds / ceiling
            stage.row(
                f"step {name}",
                f"batch {batch}, {precision}, {mode}",
                round(batch / seconds),
                "images/s",
                f"{100 * share:.1f} % of the measured bf16 product",
            )

        stage.tried(f"step {name}", f"batch {batch}, {precision}, {mode}", of_step)


def step_of(model: Any, batch: int, half: bool, mode: str, device: str) -> Callable[[], Any]:
    """A training step on fixed images: forward, loss, backward, SGD as lacuna writes it."""
    import torch
    from torch.nn.functional import cross_entropy

    from lacuna.training.sgd import Sgd

    x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), device=device)
    optimizer = Sgd(list(model.parameters()), 0.9, 5e-4)
    forward = torch.compile(model) if mode == "compiled" else model

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step(0.01)

    if mode != "captured":
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def whole_loop(stage: Stage) -> None:
    """`fit` itself on images in memory, augmented: images per second, and what the profiler sees."""
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.init import reinitialise
    from lacuna.training.loop import fit
    from lacuna.training.recipes import RECIPES

    cuda, n = stage.device == "cuda", 256 if stage.toy else 20_000
    name, options = ("resnet8", {"width": 4}) if stage.toy else ("resnet18", {})
    data = random_images(n, stage.device)
    executions = ("captured", "eager") if cuda else ("eager",)
    for precision, execution in [(p, e) for p in ("bf16", "fp32") for e in executions]:
        model = build(MODELS[name], options).build(10, 3)
        reinitialise(model, 0)
        model = model.to(stage.device)
        asked = {"epochs": 2, "batch_size": 256, "precision": precision, "rewind_epoch": 0, "execution": execution}
        run = fit(model, build(RECIPES["sgd"], asked), data, seed=0)
        # the second epoch: in the first, kernels are chosen and the graph is made
        seconds = run.history[1]["seconds"] - run.history[0]["seconds"]
        told = f"augmented; {run.execution} {run.why}".strip()
        stage.row(f"loop {name}", f"batch 256, {precision}, {execution}", round(n / seconds), "images/s", told)
    if not cuda:
        return
    from torch.profiler import ProfilerActivity, profile

    short = random_images(256 * 10, stage.device)
    asked = {"epochs": 1, "batch_size": 256, "precision": "bf16", "rewind_epoch": 0, "execution": "eager"}
    recipe = build(RECIPES["sgd"], asked)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        start = time.perf_counter()
        fit(model, recipe, short, seed=0)
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    events = seen.key_averages()
    kernels = sum(e.self_device_time_total for e in events) / 1e6
    waits = sum(e.count for e in events if "Synchronize" in e.key)
    launches = sum(e.count for e in events if "LaunchKernel" in e.key)
    stage.row(
        f"profile {name}",
        "10 eager steps, bf16",
        round(kernels / wall, 3),
        "share of time in kernels",
        f"{launches / 10:.0f} launches and {waits / 10:.1f} waits a step",
    )
    for event in sorted(events, key=lambda e: -e.self_device_time_total)[:8]:
        stage.row(
            f"profile {name}",
            event.key[:80],
            round(event.self_device_time_total / 1e3, 2),
            "ms of 10 steps",
            f"{event.count} times",
        )
