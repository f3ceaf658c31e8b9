"""What a job that makes models asks of a cluster: memory and time, from sizes that are known before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

A_DAY = 24 * 60  # minutes
MAPPED_MB = 16_000


def memory_mb(network: Mapping[str, int], images_mb: float, gpu: bool) -> int:
    """Megabytes: the libraries, some copies of the images, many of the weights.

    Images are mapped from their file: of many, the system keeps in memory what it has room for.
    network: its `parameters`. images_mb: size of the images' file.
    """
    libraries = 4000 if gpu else 1500
    return round(libraries + min(4 * images_mb, MAPPED_MB) + 40 * 4e-6 * network["parameters"])


def minutes(network: Mapping[str, int], images_mb: float, epochs: int, gpu: bool, models: int = 1) -> float:
    """Minutes to make `models` models, one after the other: generous, for a slow GPU or one core.

    network: its `multiplications_per_pixel`. epochs: of the recipe.
    """
    pixels = images_mb * 1e6 / 3
    # forward and backward; multiplications per second of small convolutions, measured low
    seconds = 3 * network["multiplications_per_pixel"] * pixels / (5e11 if gpu else 1e10)
    return models * (15 + epochs * seconds / 60)


def time_limit(minutes: float, attempt: int = 1) -> int:
    """The limit of an attempt in whole minutes: more at each one, a day at most.

    Long limits wait long in the queue, and the next attempt goes on from the checkpoint.
    """
    return min(round(minutes * attempt), A_DAY)


def gpus_for(device: str) -> int:
    """GPUs that a job asks for: one where the config wants one and, with device: auto, this machine has one."""
    return int(device == "cuda" or (device == "auto" and Path("/dev/nvidia0").exists()))
