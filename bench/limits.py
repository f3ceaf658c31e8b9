"""What this machine can do at most, on one thread: products of matrices, convolutions, copies; fp32 and bf16.

    python bench/limits.py

CPU seconds, the best of the repeats: a ceiling. Prints JSON; GFLOP/s count a multiplication and an addition as two.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.measure import cpu_seconds, machine

REPEATS = 7


def best(work: Callable[[], object]) -> float:
    work()
    return min(cpu_seconds(work) for _ in range(REPEATS))


def product(dtype: torch.dtype, n: int = 1024) -> float:
    """GFLOP/s of a product of two n × n matrices."""
    a, b = (torch.rand(n, n).to(dtype) for _ in range(2))
    return 2 * n**3 / best(lambda: a @ b) / 1e9


def convolution(dtype: torch.dtype, n: int = 64, channels: int = 64, size: int = 16) -> float:
    """GFLOP/s of a 3 × 3 convolution in channels-last layout, forward, of a batch that the caches hold."""
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(dtype=dtype, memory_format=torch.channels_last)
    x = torch.rand(n, channels, size, size).to(dtype=dtype, memory_format=torch.channels_last)

    def work() -> None:
        with torch.no_grad():
            layer(x)

    return 2 * 9 * channels**2 * n * size**2 / best(work) / 1e9


def copy(megabytes: int = 256) -> float:
    """GB/s read and written by a copy that no cache holds."""
    source = torch.zeros(megabytes << 18)
    target = torch.empty_like(source)
    return 2 * megabytes / 1e3 / best(lambda: target.copy_(source))


def limits() -> dict[str, float]:
    """By name, one decimal."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    found = {f"matrix product, {name}, GFLOP/s": product(kind) for name, kind in kinds.items()}
    found |= {f"convolution, {name}, GFLOP/s": convolution(kind) for name, kind in kinds.items()}
    return {name: round(value, 1) for name, value in (found | {"copy, GB/s": copy()}).items()}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    print(json.dumps({"machine": machine(), "limits": limits()}, indent=1))


if __name__ == "__main__":
    main()
