"""How the measurements of this folder are taken and told."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lacuna.artifacts.machine import processor


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    model, vectors = processor()
    load = os.getloadavg()[0]
    told = {"processor": model, "vectors": vectors, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return told | {"load": round(load, 1), "torch": torch.__version__, "device": "cpu"}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest, three digits."""
    kinds = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.3g}") for name, value in kinds.items()}


def taking_turns(
    ways: Mapping[str, Callable[[], Any]], repeats: int, seconds: Callable[[Callable[[], Any]], float] = cpu_seconds
) -> dict[str, list[float]]:
    """CPU seconds of each way, `repeats` times; they take turns, so that a busy neighbour slows all alike.

    One turn before them is not counted: it chooses algorithms and fills caches. seconds: of one turn.
    """
    for work in ways.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            taken[name].append(seconds(work))
    return taken


def ratios(taken: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, float]]:
    """How many times as fast each other way is as the reference of the same turn."""
    plain = taken[reference]
    return {
        name: spread([a / b for a, b in zip(plain, values, strict=True)])
        for name, values in taken.items()
        if name != reference
    }
