"""Gradients of single samples, many at a time and, for nearly every network, without a loop over samples.

Convolutions, Linear layers and batch norm in evaluation mode are derived by hand: one backward pass of the whole chunk
passes each layer the gradient of its output, and with the layer's input that gives the gradient of every sample. A
network with any other parameter goes through torch.func instead: each sample has weights of its own. Where torch.func
cannot follow either, the samples go through the network one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from lacuna.data.batches import UnlearningData
from lacuna.gradients.by_layer import Given, Take, Unknown, by_layer, each_backward
from lacuna.gradients.memory import memory_at_hand
from lacuna.gradients.whole import Scores, trained
from lacuna.models.modes import evaluating, plain_attention

# logits [n, classes], labels [n], where these samples stand in the whole → losses [n], one backward pass for each
Losses = Callable[[Tensor, Tensor, slice], Iterable[Tensor]]
# where, name of the parameter, gradients [n, *its shape]
Sink = Callable[[slice, str, Tensor], None]
Log = Callable[[str], None] | None
# On a CPU larger chunks are hardly faster; and a fixed size gives the same bits wherever four times as much is free.
CHUNK_BYTES = 384 * 2**20


def true_label(logits: Tensor, labels: Tensor, where: slice) -> list[Tensor]:
    """Cross-entropy of each sample with its own label."""
    return [cross_entropy(logits, labels, reduction="none")]


def mean_squares(
    model: nn.Module, data: UnlearningData, part: str, losses: Losses = true_label, log: Log = None
) -> Scores:
    """The mean over a part of the squared gradient of each sample's loss, by parameter; summed over several losses.

    With the true label this is the empirical Fisher diagonal. Evaluation mode, images as stored. Per sample, as the
    Fisher information is defined: the square of a batch's mean gradient is another number.
    """
    index = data.index(part)
    total = {name: torch.zeros_like(p) for name, p in trained(model).items()}

    def add(where: slice, name: str, gradients: Tensor) -> None:
        total[name] += _sum_of_squares(gradients)

    each_gradient(model, data, index, losses, add, log=log)
    return {name: squares / len(index) for name, squares in total.items()}


def _sum_of_squares(gradients: Tensor) -> Tensor:
    """Over the first axis, as a product with ones: several times as fast as a sum where the others keep their order."""
    if gradients.dim() == 1:
        return gradients.square().sum()
    axes = sorted(range(1, gradients.dim()), key=gradients.stride, reverse=True)
    squares = gradients.permute(0, *axes).square()
    total = squares.new_ones(1, len(squares)) @ squares.flatten(1)
    return total.view(squares.shape[1:]).permute([axes.index(axis) for axis in range(1, gradients.dim())])


def each_gradient(
    model: nn.Module,
    data: UnlearningData,
    index: Tensor,
    losses: Losses,
    sink: Sink,
    chunk: int | None = None,
    log: Log = None,
) -> None:
    """Hand the gradient of every sample to `sink`, a chunk of samples and one parameter at a time.

    index: int64 [n] dataset indices. losses: each of its vectors gets a backward pass of its own. A parameter on which
    no loss depends may be left out. Evaluation mode, images as stored.
    chunk: samples at a time; the default follows the memory at hand. log: told if the samples go one by one.
    """
    parameters, dtype = trained(model), next(model.parameters()).dtype
    if not len(index):
        return
    with evaluating(model):
        probe = data.normalised(data.images[index[:2]], dtype)
        derive, numbers = _way(model, parameters, probe, log)
        if chunk is None:
            on_device = memory_at_hand(probe.device) // 4
            budget = on_device if probe.device.type == "cuda" else min(CHUNK_BYTES, on_device)
            chunk = max(1, budget // (numbers * probe.element_size()))
        for start in range(0, len(index), chunk):
            where = slice(start, min(start + chunk, len(index)))
            chosen = index[where]
            x, y = data.normalised(data.images[chosen], dtype), data.labels[chosen]
            derive(model, parameters, x, partial(_losses_of, losses, y, where), partial(sink, where))


def _losses_of(losses: Losses, labels: Tensor, where: slice, logits: Tensor) -> Iterable[Tensor]:
    return losses(logits, labels, where)


Derive = Callable[[nn.Module, dict[str, nn.Parameter], Tensor, Given, Take], None]


# ---- two ways to the same gradients ----------------------------------------------------------------------------------


def _way(model: nn.Module, parameters: dict[str, nn.Parameter], probe: Tensor, log: Log) -> tuple[Derive, int]:
    """How to derive this network, and how many numbers a sample then takes at most (roughly)."""
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel()
        return tensor

    def anything(logits: Tensor) -> list[Tensor]:
        return [logits.square().sum(1)]

    def works(derive: Derive, *refusals: type[Exception]) -> bool:
        nonlocal saved
        saved = 0
        try:
            derive(model, parameters, probe, anything, lambda *_: None)
        except refusals:
            return False
        return True

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        derive: Derive = by_layer
        if not works(derive, Unknown):
            derive = _by_sample
            # whatever vmap stumbles over: an LSTM, a custom Function, .item(), a checkpoint
            if not works(derive, Exception):
                derive = _one_by_one
                works(derive)
                if log is not None:
                    log(f"{type(model).__name__} cannot be derived many samples at a time: one by one, which is slow")
    # what the graph keeps, its gradients and the windows of a convolution; and the weights, their gradients, squares
    return derive, 3 * -(-saved // len(probe)) + 3 * sum(p.numel() for p in parameters.values())


def _by_sample(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    x: Tensor,
    losses: Given,
    take: Take,
) -> None:
    """Any network: the forward pass of one sample, mapped over samples that have weights of their own."""

    def logits(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        row: Tensor = functional_call(model, weights, (image[None],))[0]
        return row

    # Neither torch.func.grad nor a loss inside vmap: their first use costs seconds, it loads torch's compiler.
    weights = {name: p.detach().expand(len(x), *p.shape).requires_grad_() for name, p in parameters.items()}
    with plain_attention():  # the fused kernels know no vmap
        for gradients in each_backward(losses(vmap(logits)(weights, x)), weights):
            for name, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    take(name, gradient)


def _one_by_one(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    x: Tensor,
    losses: Given,
    take: Take,
) -> None:
    """Any network at all: for each sample a forward pass of its own, once for the losses and once to be derived."""
    images = x.split(1)
    with torch.no_grad():
        logits = torch.cat([model(image) for image in images])
    logits.requires_grad_()
    of_logits = [slope for (slope,) in each_backward(losses(logits), {"logits": logits})]
    found: list[dict[str, list[Tensor]]] = [{name: [] for name in parameters} for _ in of_logits]
    for i, image in enumerate(images):
        output = model(image)
        for gradients, slope in zip(found, of_logits, strict=True):
            single = torch.autograd.grad(
                output,
                list(parameters.values()),
                torch.zeros_like(output) if slope is None else slope[i : i + 1],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for name, gradient in zip(parameters, single, strict=True):
                gradients[name].append(gradient)
    for gradients in found:
        for name, each in gradients.items():
            take(name, torch.stack(each))
