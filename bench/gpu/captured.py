"""Captured and compiled steps against eager ones, and what is not captured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from bench.gpu.networks import distance, tiny
from bench.gpu.stage import Stage


def captured_alike(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """50 steps in a CUDA graph against 50 eager ones: the losses, in single precision, and the weights in double."""
    import torch

    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    if stage.device != "cuda":
        stage.row("captured", "50 steps", note="needs CUDA")
        return
    data = tiny(stage.device)
    options: dict[str, Any] = {"epochs": 50, "lr": 0.01, "batch_size": 64, "schedule": "cosine", "crop": 1}
    for precision, dtype, tolerance in (("fp32_strict", torch.float32, 1e-5), ("fp32", torch.float64, 1e-9)):
        losses = {}
        for execution in ("captured", "eager"):
            model = copy.deepcopy(network).to(stage.device, dtype)
            recipe = Recipe(precision=precision, execution=execution, **options)  # type: ignore[arg-type]
            run = fit(model, recipe, data, seed=3)
            losses[execution] = torch.tensor([row["loss"] for row in run.history], dtype=torch.float64)
            if execution == "captured" and run.execution != "captured":
                raise RuntimeError(f"steps are {run.execution}: {run.why}")
        apart = float(((losses["captured"] - losses["eager"]).abs() / losses["eager"].abs()).max())
        judged("captured", f"losses of 50 steps, {dtype}".replace("torch.", ""), apart, tolerance)


def compiled_alike(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """The forward pass by torch.compile against the eager one."""
    import torch

    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    if stage.device != "cuda":
        stage.row("compiled", "8 steps", note="needs CUDA")
        return
    models = []
    for execution in ("compiled", "eager"):
        models.append(copy.deepcopy(network).to(stage.device, torch.float64))
        recipe = Recipe(epochs=2, lr=0.01, batch_size=16, schedule="constant", crop=1, execution=execution)  # type: ignore[arg-type]
        run = fit(models[-1], recipe, tiny(stage.device), seed=3)
        if execution == "compiled" and run.execution != "compiled":
            raise RuntimeError(f"steps are {run.execution} ({run.why})")
    judged("compiled", "float64, 8 steps", distance(*models, network), 1e-6)


def captured_refuses(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Networks that no graph can hold run eager, to the same weights; one with dropout is captured."""
    import numpy as np
    from torch import nn

    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    class Waits(nn.Module):
        def __init__(self, inner: nn.Module):
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(x) * (1.0 if float(x.sum().detach()) < 1e30 else 2.0)

    class Draws(Waits):
        def forward(self, x: Any) -> Any:
            return self.inner(x) * float(np.random.default_rng(np.random.randint(2**31)).normal(1, 0.1))  # noqa: NPY002

    class Counts(Waits):
        step = 0

        def forward(self, x: Any) -> Any:
            self.step += self.training
            return self.inner(x) * (1 + 0.1 * (self.step % 3))

    class Drops(Waits):
        def forward(self, x: Any) -> Any:
            return nn.functional.dropout(self.inner(x), 0.3, self.training)

    data = tiny(stage.device)
    options: dict[str, Any] = {"epochs": 4, "lr": 0.01, "batch_size": 16, "schedule": "constant", "crop": 1}
    for kind, expected in ((Waits, "eager"), (Draws, "eager"), (Counts, "eager"), (Drops, "captured")):
        models = []
        for execution in ("captured", "eager"):
            model = kind(copy.deepcopy(network)).double().to(stage.device)
            run = fit(model, Recipe(execution=execution, **options), data, seed=4)  # type: ignore[arg-type]
            models.append(model)
            if execution == "captured":
                how = f"{kind.__name__}: {run.execution}"
                note = run.why
                if stage.device == "cuda" and run.execution != expected:
                    raise RuntimeError(f"{kind.__name__}: steps are {run.execution} ({run.why}), not {expected}")
        judged("captured", how, distance(*models), 1e-9, note)
