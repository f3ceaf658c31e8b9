"""Small networks and data for checks, and how far two results may be apart."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

# distance from the CPU's model after a few steps, relative to how far that one moved: of float64 in float64, of all
# others in fp32 (a layer that is drawn anew draws other numbers in another precision)
TOLERANCES = {"float64": 1e-6, "fp32": 2e-2, "TF32": 0.1, "bf16": 0.1}
# msg draws weights anew whose score is over a threshold: rounding puts some of them on its other side
REDRAWN = {"msg": 2.0}


@contextlib.contextmanager
def drawn_alike() -> Iterator[None]:
    """Draw on the CPU what a batch draws on the device, so that both follow one random stream."""
    import torch

    generator, randint, rand = torch.Generator, torch.randint, torch.rand

    def moved(draw: Callable[..., Any]) -> Callable[..., Any]:
        def on_cpu(*args: Any, **options: Any) -> Any:
            if isinstance(options.get("generator"), generator) and "device" in options:
                device = options.pop("device")
                return draw(*args, **options).to(device)
            return draw(*args, **options)

        return on_cpu

    class OnCpu(generator):  # type: ignore[misc, valid-type]
        def __new__(cls, device: Any = "cpu") -> Any:
            return super().__new__(cls, "cpu")

    torch.Generator = OnCpu  # type: ignore[misc]
    torch.randint, torch.rand = moved(randint), moved(rand)
    try:
        yield
    finally:
        torch.Generator, torch.randint, torch.rand = generator, randint, rand  # type: ignore[misc]


def tiny(device: str, serve: str = "device", size: int = 8, seed: int = 0) -> Any:
    """64 retained and 24 forgotten images of 3 classes, 20 to validate, 20 to test."""
    import numpy as np

    from lacuna.data.batches import Augment, UnlearningData

    rng = np.random.default_rng(seed)
    y = np.arange(128) % 3
    patterns = rng.integers(0, 160, (3, 3, size, size))
    x = (patterns[y] + rng.integers(0, 96, (128, 3, size, size))).astype(np.uint8)
    order = rng.permutation(128)
    parts = dict(zip(("retain", "forget", "val", "test"), np.split(order, [64, 88, 108]), strict=True))
    meta = {"classes": 3, "mean": [0.4] * 3, "std": [0.3] * 3}
    return UnlearningData.from_arrays({"x": x, "y": y}, meta, parts, device, serve, augment=Augment(1, True))  # type: ignore[arg-type]


def small_network(name: str, **options: Any) -> Any:
    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.init import reinitialise

    network = build(MODELS[name], options).build(3, 3)
    reinitialise(network, 1)
    return network


# the smallest of each architecture that takes an image of `size`
SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "resnet8": ({"width": 4}, 8),
    "resnet20": ({"width": 4}, 8),
    "resnet18": ({"width": 4}, 8),
    "resnet50": ({"width": 4}, 16),
    "vgg16_bn": ({}, 32),
    "vit": ({"patch": 2, "width": 24, "depth": 2, "heads": 3}, 8),
    "swin_t": ({"patch": 2, "width": 32, "depths": (1, 1), "window": 2}, 16),
}
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.01, "rewind_epoch": 1, "schedule": "constant", "milestones": ()}


def options_of(method: type, **more: Any) -> dict[str, Any]:
    known = {f.name for f in dataclasses.fields(method)}
    return {k: v for k, v in (QUICK | more).items() if k in known}


def distance(a: Any, b: Any, start: Any = None) -> float:
    """‖a − b‖ / ‖b − start‖ over parameters and statistics of two models; counters must agree. start: or zero."""
    import torch

    def parts(model: Any) -> list[Any]:
        return [v.detach().cpu() for v in model.state_dict().values()]

    far = moved = 0.0
    for x, y, origin in zip(parts(a), parts(b), parts(b if start is None else start), strict=True):
        if not x.is_floating_point():
            if not torch.equal(x, y):
                return float("inf")
            continue
        far += float((x.double() - y.double()).square().sum())
        base = y.double() if start is None else y.double() - origin.double()
        moved += float(base.square().sum())
    return (far / moved) ** 0.5 if moved else (0.0 if far == 0 else float("inf"))
