"""What a network answers, its state, and copies of it."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.models.kernels import folded
from lacuna.models.modes import evaluating
from lacuna.randomness import seeded

State = dict[str, Tensor]
# images of a batch of predictions: on a GPU; on a CPU as many as 64 of 3×32×32, whose activations its caches hold
ON_GPU, ON_CPU, FEWEST, MOST = 1000, 64 * 3 * 32 * 32, 16, 256


def state_of(model: nn.Module) -> State:
    """A copy of parameters and buffers on the CPU, contiguous, by name."""
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in model.state_dict().items()}


def load_tensors(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state into the model, in place; raises RuntimeError where it does not fit.

    A state from a file is tensors alone, but modules tell its form by the versions that the model's own carries.
    """
    complete = OrderedDict(state)
    complete._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(complete)


def copy_of(model: nn.Module) -> nn.Module:
    """A model that shares nothing with the given one."""
    return copy.deepcopy(model)


@torch.no_grad()
def answers_finite(model: nn.Module, data: UnlearningData) -> bool:
    """Whether all logits of the first images of D_r and of D_f are finite, in evaluation mode.

    Weights can be finite and so large that no answer is. Those of all images are checked where they are predicted.
    """
    images = min(256, prediction_batch(data))
    first = next(model.parameters())
    with evaluating(model), seeded(0, first.device):
        for part in ("retain", "forget"):
            if len(data.parts.get(part, ())):
                x, _ = next(data.plain_batches(part, images, first.dtype))
                if not bool(torch.isfinite(model(x)).all()):
                    return False
    return True


def prediction_batch(data: UnlearningData) -> int:
    """Images that are predicted at once: 1,000 on a GPU; on a CPU 64 of 3×32×32, and 16 to 256 of other shapes."""
    if data.device.type != "cpu":
        return ON_GPU
    return min(max(ON_CPU // math.prod(data.images.shape[1:]), FEWEST), MOST)


@torch.no_grad()
def logits(model: nn.Module, data: UnlearningData, part: str, batch_size: int | None = None) -> Tensor:
    """Logits in evaluation mode, float32 [n, classes] on the CPU, in the stored order of the part.

    The same at every call, also those of a network that draws in evaluation mode. They come from a GPU in one piece.
    On a CPU those of lacuna's own networks differ by rounding from what the model itself answers; see `folded`.
    batch_size: None is `prediction_batch`.
    """
    first = next(model.parameters())
    batch_size = batch_size or prediction_batch(data)
    with evaluating(model), seeded(0, first.device), folded(model):
        return torch.cat([model(x).float() for x, _ in data.plain_batches(part, batch_size, first.dtype)]).cpu()


def accuracy(model: nn.Module, data: UnlearningData, part: str) -> float:
    """Accuracy on a part, in percent; ties go to the first class."""
    predicted = logits(model, data, part).argmax(1)
    return 100.0 * float((predicted == data.labels[data.parts[part]].cpu()).double().mean())
