"""How often a method waits for the device."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.gpu.networks import options_of, tiny
from bench.gpu.stage import Stage


def counted_waits(stage: Stage, work: Callable[[], Any]) -> tuple[int, str]:
    """How often the host waits for the device while `work` runs, and at which lines of ours."""
    import traceback
    import warnings

    import torch

    places: list[str] = []

    def heard(message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
        if "synchroniz" in str(message):
            ours = [f for f in traceback.extract_stack() if "/lacuna/" in f.filename]
            places.append(f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else f"{filename}:{lineno}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = heard
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return len(places), ", ".join(f"{place} × {places.count(place)}" for place in dict.fromkeys(places))


def waits(stage: Stage, network: Any, name: str, method: type, mask: Any) -> None:
    """Host waits of a method, between an epoch more and an epoch less: what one epoch costs."""
    from lacuna.unlearning import unlearn

    if stage.device != "cuda":
        return
    held = {} if name == "retrain_exact" else {"mask": mask}
    found: list[tuple[int, str]] = []
    data = tiny(stage.device)
    data = dataclasses.replace(data, parts={k: v for k, v in data.parts.items() if k != "val"})
    for epochs in (2, 2, 3):  # the first one warms up
        options = options_of(method, execution="eager") | {"epochs": epochs}
        model = copy.deepcopy(network).to(stage.device)
        found.append(counted_waits(stage, lambda m=model, o=options: unlearn(name, m, data, **held, **o)))
    _, (fewer, _), (more, where) = found
    stage.row(f"waits {name}", "of an epoch more", more - fewer, "waits", where[:400])


def waits_of_training(stage: Stage, network: Any) -> None:
    """Host waits of an epoch of training: one, the look at its loss at the end."""
    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    if stage.device != "cuda":
        stage.row("waits of training", "an epoch more", note="needs CUDA")
        return
    data = tiny(stage.device)
    data = dataclasses.replace(data, parts={k: v for k, v in data.parts.items() if k != "val"})
    for execution in ("eager", "captured"):
        found: list[tuple[int, str]] = []
        for epochs in (5, 5, 6):  # the first one warms up
            recipe = Recipe(epochs=epochs, lr=0.05, batch_size=16, schedule="constant", crop=1, execution=execution)  # type: ignore[arg-type]
            model = copy.deepcopy(network).to(stage.device)
            found.append(counted_waits(stage, lambda m=model, r=recipe: fit(m, r, data, seed=0)))
        _, (fewer, _), (more, where) = found
        stage.row("waits of training", f"an epoch of 4 steps more, {execution}", more - fewer, "waits", where[:400])
