"""What a network costs to keep and to run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.overrides import TorchFunctionMode

from lacuna.models.modes import evaluating

# a time is the median of the passes of this many seconds, at least so many
SECONDS, PASSES = 0.3, 3


def parameters(model: nn.Module) -> int:
    """How many parameters there are, masked ones included: what is multiplied and stored."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def macs(model: nn.Module, shape: Sequence[int]) -> int:
    """Multiplications with a weight for one image: those of convolutions and linear layers, biases not counted.

    Those of an attention among its tokens are none: no weight is in them.
    shape: of the image, (channels, height, width).
    """
    first = next(model.parameters())
    with evaluating(model), _Counter() as counter:
        model(torch.zeros(1, *shape, dtype=first.dtype, device=first.device))
    total: int = counter.total
    return total


class _Counter(TorchFunctionMode):
    """Sees convolutions and linear maps wherever they are called: some layers do without a module of their own."""

    total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in (conv2d, linear):
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            # each output is a sum over all that one row of the weight sees
            self.total += output.numel() * weight[0].numel()
        return output


@torch.no_grad()
def inference_ms(model: nn.Module, images: Tensor) -> float:
    """Milliseconds for one image in evaluation mode, all given ones in one batch: the median of several passes."""

    def once() -> float:
        x = images.clone()  # a network may write into its input
        if images.is_cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        model(x)
        if images.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    taken: list[float] = []
    with evaluating(model):
        once()  # the first pass chooses algorithms and fills caches
        while len(taken) < PASSES or sum(taken) < SECONDS:
            taken.append(once())
    return 1000 * statistics.median(taken) / len(images)
