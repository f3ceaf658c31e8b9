"""Recipe `fast`, resnet18, all images, and the same in plain PyTorch."""

from __future__ import annotations

import time
from typing import Any

from bench.gpu.networks import small_network, tiny
from bench.gpu.stage import Stage


def fast(stage: Stage) -> None:
    import numpy as np

    from lacuna.data.batches import Augment, UnlearningData
    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.inference import accuracy
    from lacuna.models.init import reinitialise
    from lacuna.training.loop import fit
    from lacuna.training.recipes import RECIPES

    if stage.images is None and not stage.toy:
        stage.row("fast", note="no images: --data IMAGES.npz")
        return
    if stage.toy:
        source, epochs, model, name = tiny(stage.device), 2, small_network("resnet8", width=4), "resnet8"
    else:
        assert stage.images is not None
        stored = np.load(stage.images)
        x = np.concatenate([stored["x_train"], stored["x_test"]])
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.shape[-1] == 3 else x
        y = np.concatenate([stored["y_train"], stored["y_test"]]).astype(np.int64)
        n = len(stored["x_train"])
        order = np.random.default_rng(0).permutation(n)
        parts = {"retain": order[n // 10 :], "held_out": order[: n // 10], "test": np.arange(n, len(x))}
        pixels = x[order[n // 10 :]].astype(np.float32) / 255
        meta = {"classes": 10, "mean": pixels.mean((0, 2, 3)).tolist(), "std": pixels.std((0, 2, 3)).tolist()}
        source = UnlearningData.from_arrays({"x": x, "y": y}, meta, parts, stage.device, augment=Augment(4, True))
        epochs, name = 24, "resnet18"
        model = build(MODELS[name], {}).build(10, 3)
    reinitialise(model, 0)
    model = model.to(stage.device)
    recipe = build(RECIPES["fast"], {"epochs": epochs} | ({"batch_size": 16} if stage.toy else {}))
    run = fit(model, recipe, source, seed=0)
    images = len(source.parts["retain"]) * epochs
    stage.row(f"fast {name}", f"{epochs} epochs of {len(source.parts['retain'])} images", round(run.seconds, 2), "s")
    stage.row(f"fast {name}", "loop", round(images / run.seconds), "images/s", f"{run.execution} {run.why}".strip())
    stage.row(f"fast {name}", "test accuracy", round(accuracy(model, source, "test"), 2), "%")
    stage.row(f"fast {name}", "accuracy on the training images", round(accuracy(model, source, "retain"), 2), "%")
    course = ", ".join(f"{row['loss']:.3f}" for row in run.history)
    stage.row(f"fast {name}", "loss", round(run.history[-1]["loss"], 4), note=f"by epoch: {course}")
    stage.row(f"fast {name}", "182 epochs, extrapolated", round(run.seconds / epochs * 182 / 60, 2), "min")
    stage.tried("plain PyTorch", "", lambda: plain_pytorch(stage, source, recipe))


def plain_pytorch(stage: Stage, source: Any, recipe: Any) -> None:
    """The same training without a line of lacuna's: torchvision's resnet18, torch.optim, crops by quarter batch.

    What these images allow: a test accuracy far from this one would be lacuna's fault.
    """
    import torch
    import torchvision
    from torch import nn

    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=source.classes)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    network = network.to(stage.device, memory_format=torch.channels_last)
    x, y = source.images, source.labels
    train, test = source.parts["retain"], source.parts["test"]
    mean, std = (torch.tensor(v, device=x.device).reshape(1, -1, 1, 1) for v in (source.mean, source.std))
    per_epoch = -(-len(train) // recipe.batch_size)
    steps, size = recipe.epochs * per_epoch, x.shape[-1]
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=5e-4)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 0.5) / steps / 0.2, (1 - (s + 0.5) / steps) / 0.8)
    )
    start = time.perf_counter()
    for _ in range(recipe.epochs):
        for some in train[torch.randperm(len(train), device=x.device)].tensor_split(per_epoch):
            padded = nn.functional.pad(x[some], (4,) * 4)
            moved = [
                part[:, :, i : i + size, j : j + size]
                for part, (i, j) in zip(padded.tensor_split(4), torch.randint(9, (4, 2)).tolist(), strict=True)
            ]
            images = torch.cat(moved)
            images = torch.where(torch.rand(len(some), 1, 1, 1, device=x.device) < 0.5, images.flip(3), images)
            images = ((images.float() / 255 - mean) / std).to(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with torch.autocast(stage.device, torch.bfloat16):
                loss = nn.functional.cross_entropy(network(images), y[some])
            loss.backward()
            optimizer.step()
            rate.step()
    network.eval()

    def accuracy(index: Any) -> float:
        with torch.no_grad():
            right = [(network((x[b].float() / 255 - mean) / std).argmax(1) == y[b]).float() for b in index.split(1000)]
        return round(100 * float(torch.cat(right).mean()), 2)

    setting = "torchvision's resnet18, the same recipe"
    stage.row("plain PyTorch", setting, round(time.perf_counter() - start, 2), "s")
    stage.row("plain PyTorch", "test accuracy", accuracy(test), "%")
    stage.row("plain PyTorch", "accuracy on the training images", accuracy(train), "%")
