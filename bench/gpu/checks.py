"""Resume, images on the host, compaction, gradients of single samples, shadow models: as on the CPU."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.gpu.networks import SMALL, distance, drawn_alike, small_network, tiny
from bench.gpu.stage import Stage


def resumed(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """A run that was stopped after its first epoch and goes on from its checkpoint, against one in one piece."""
    import torch

    from lacuna.training.checkpoints import Checkpoint
    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    data = tiny(stage.device)
    recipe = Recipe(epochs=3, lr=0.05, batch_size=16, schedule="constant", crop=1, flip=True)
    whole, parts = (copy.deepcopy(network).double().to(stage.device) for _ in range(2))
    fit(whole, recipe, data, seed=5)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder) / "checkpoint.safetensors", 0.0)

        def stop(line: str) -> None:
            if "epoch 2/" in line:
                raise KeyboardInterrupt

        start = copy.deepcopy(parts)
        try:
            fit(parts, recipe, data, seed=5, checkpoint=checkpoint, log=stop)
        except KeyboardInterrupt:
            parts = start
        fit(parts, recipe, data, seed=5, checkpoint=checkpoint)
    torch.cuda.synchronize() if stage.device == "cuda" else None
    judged("resumed", "float64", distance(parts, whole), 1e-9)


def from_host(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Images in host memory against images on the device."""
    from lacuna.unlearning import unlearn

    made = [
        unlearn(
            "ft", copy.deepcopy(network).double().to(stage.device), tiny(stage.device, serve), epochs=2, batch_size=16
        )
        for serve in ("host", "device")
    ]
    judged("images from the host", "float64", distance(made[0].model, made[1].model), 1e-9)


def compacted(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """A network without its removed filters against the masked one."""
    import torch

    from lacuna.fields import build
    from lacuna.pruning import PRUNERS
    from lacuna.unlearning import unlearn

    data = tiny(stage.device)
    model = copy.deepcopy(network).double().to(stage.device)
    mask = build(PRUNERS["filter_l2"], {}).find_mask(model, "0.50", data, seed=0)
    mask.apply(model)
    a, b = (unlearn("ft", model, data, mask=mask, compact=c, epochs=2, batch_size=16).model for c in (True, False))
    # by the answers: weights that read a removed channel decay in the one and are not there in the other
    x, _ = next(data.plain_batches("test", 20, torch.float64))
    with torch.no_grad():
        small, whole = a(x), b(x)
    judged("compacted", "float64", float((small - whole).norm() / whole.norm()), 1e-9)


def rows_of_samples(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Gradients of single samples against a loop."""
    import torch
    from torch.nn.functional import cross_entropy

    from lacuna.gradients.whole import trained, unmasked
    from lacuna.unlearning.methods.iu import Span

    data = tiny(stage.device)
    model = copy.deepcopy(network).double().to(stage.device).eval()
    index = data.index("retain")
    span = Span(model, data, unmasked(trained(model), None))
    found = torch.cat([torch.stack([t.flatten() for t in [row]]) for row in span.rows(index)])
    x, y = next(data.plain_batches("retain", len(index), torch.float64))
    rows = []
    for i in range(len(index)):
        loss = cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        rows.append(
            span.flat(
                dict(
                    zip(
                        dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters())), strict=True
                    )
                )
            )
        )
    looped = torch.stack(rows)
    judged("gradients of single samples", "float64", float((found - looped).norm() / looped.norm()), 1e-9)


def slow_path(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Single-sample gradients of an attention network, which go by vmap."""
    from lacuna.unlearning import unlearn

    options, size = SMALL["swin_t"]
    swin = small_network("swin_t", **options).double()
    with drawn_alike():
        made = [
            unlearn("ssd", copy.deepcopy(swin).to(d), tiny(d, size=size), alpha=1.0).model
            for d in (stage.device, "cpu")
        ]
    judged("slow path", "swin_t, ssd, float64", distance(*made), 1e-6)


def shadows_alike(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Shadow models of the population attacks, trained on the device and on the CPU."""
    import torch

    from lacuna.procedures.shadows import answers, trained
    from lacuna.training.recipe import Recipe

    recipe = Recipe(epochs=2, lr=0.01, batch_size=16, schedule="constant", crop=1, rewind_epoch=1)
    models, told = [], []
    for device in (stage.device, "cpu"):
        models.append(copy.deepcopy(network).double().to(device))
        with drawn_alike():
            trained(models[-1], recipe, tiny(device), seed=6)
        told.append(torch.from_numpy(answers(models[-1], tiny(device), "shadow")["phi/forget"]))
    judged("shadow", "float64", distance(*models), 1e-6)
    judged("shadow", "its answers", float((told[0] - told[1]).norm() / told[1].norm()), 1e-5)
