"""Gradients of single samples, many at a time and, for nearly every network, without a loop over samples.

Convolutions, Linear layers and batch norm in evaluation mode are derived by hand: one backward pass of the whole chunk
passes each layer the gradient of its output, and with the layer's input that gives the gradient of every sample. A
network with any other parameter goes through torch.func instead: each sample has weights of its own. Where torch.func
cannot follow either, the samples go through the network one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import conv2d, cross_entropy, linear, pad

from lacuna.data.batches import UnlearningData
from lacuna.gradients.whole import Scores, evaluating, trained
from lacuna.models.modes import plain_attention

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


def memory_at_hand(device: torch.device) -> int:
    """Bytes that may still be taken on a device; on a CPU within the limits of a container or batch job."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_free_bytes(), default=2**33)


def _free_bytes() -> Iterator[int]:
    """What the machine and each control group around this process have left, as far as the system tells."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = Path("/sys/fs/cgroup") / controllers
        names = (
            ("memory.max", "memory.current") if not controllers else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        )
        inside = Path(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            try:
                limit, used = (int((root / folder / name).read_text()) for name in names)
                yield max(0, limit - used)
            except (OSError, ValueError):
                continue  # no such file, or no limit ("max")


# ---- two ways to the same gradients ----------------------------------------------------------------------------------

Given = Callable[[Tensor], Iterable[Tensor]]  # logits → losses
Take = Callable[[str, Tensor], None]  # parameter, its gradients
Derive = Callable[[nn.Module, dict[str, nn.Parameter], Tensor, Given, Take], None]


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
        derive: Derive = _by_layer
        if not works(derive, _Unknown):
            derive = _by_sample
            # whatever vmap stumbles over: an LSTM, a custom Function, .item(), a checkpoint
            if not works(derive, Exception):
                derive = _one_by_one
                works(derive)
                if log is not None:
                    log(f"{type(model).__name__} cannot be derived many samples at a time: one by one, which is slow")
    # what the graph keeps, its gradients and the windows of a convolution; and the weights, their gradients, squares
    return derive, 3 * -(-saved // len(probe)) + 3 * sum(p.numel() for p in parameters.values())


def _each_backward(losses: Iterable[Tensor], to: Mapping[str, Tensor]) -> Iterator[tuple[Tensor | None, ...]]:
    """The gradients of each vector's sum; the last backward pass frees the graph as it goes."""
    vectors = list(losses)
    for position, loss in enumerate(vectors, 1):
        again = position < len(vectors)
        yield torch.autograd.grad(loss.sum(), list(to.values()), retain_graph=again, allow_unused=True)


def _by_sample(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    x: Tensor,
    losses: Given,
    take: Take,
) -> None:
    """Any network: the forward pass of one sample, mapped over samples that have weights of their own."""

    def logits(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(model, weights, (image[None],))[0]

    # Neither torch.func.grad nor a loss inside vmap: their first use costs seconds, it loads torch's compiler.
    weights = {name: p.detach().expand(len(x), *p.shape).requires_grad_() for name, p in parameters.items()}
    with plain_attention():  # the fused kernels know no vmap
        for gradients in _each_backward(losses(vmap(logits)(weights, x)), weights):
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
    of_logits = [slope for (slope,) in _each_backward(losses(logits), {"logits": logits})]
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


class _Unknown(Exception):
    """The network has a layer, or a use of a parameter, that is not derived by hand."""


def _by_layer(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    x: Tensor,
    losses: Given,
    take: Take,
) -> None:
    """A network of known layers, each used once: one backward pass of all samples together."""
    with _derived_by_hand(model, parameters, len(x), take) as layers:
        vectors = list(losses(model(x)))
        for layer in layers:
            layer.keeps = len(vectors) > 1
        for elsewhere in _each_backward(vectors, parameters):
            # a known layer takes its parameters' gradients for itself: what arrives comes from another use of them
            if any(gradient is not None for gradient in elsewhere):
                raise _Unknown


@contextmanager
def _derived_by_hand(
    model: nn.Module, parameters: dict[str, nn.Parameter], samples: int, take: Take
) -> Iterator[list[_Layer]]:
    """For a while the layers of a model tell `take` their parameters' gradients in the backward pass.

    Raises _Unknown if a parameter is in no known layer; the forward pass does if a layer is used in an unknown way.
    """
    layers, owned, names = [], set(), {name for name, _ in model.named_parameters()}
    for prefix, module in model.named_modules():
        own = {key: f"{prefix}.{key}".lstrip(".") for key, _ in module.named_parameters(recurse=False)}
        if not set(own.values()) <= names:
            raise _Unknown  # a tensor that another module has too
        kind = _KINDS.get(type(module))
        if (
            kind is not None
            and own
            and own.keys() <= {"weight", "bias"}
            and kind.knows(module)
            and "forward" not in vars(module)
        ):
            layers.append(kind(module, samples, {key: name for key, name in own.items() if name in parameters}, take))
            owned |= set(own.values())
    if not parameters.keys() <= owned:
        raise _Unknown
    try:
        for layer in layers:
            layer.module.forward = layer
        yield layers
    finally:
        for layer in layers:
            layer.module.__dict__.pop("forward", None)


class _Layer:
    """A layer's forward pass, whose backward pass also gives the gradient of each sample by parameter.

    a: its input [n, ...]; g: the gradient of its output. keeps: more backward passes follow, with the same input.
    """

    axes: ClassVar[tuple[int, ...]]
    keeps = False

    def __init__(self, module: Any, samples: int, names: dict[str, str], take: Take):
        self.module, self.samples, self.names, self.take, self.used = module, samples, names, take, False

    @staticmethod
    def knows(module: Any) -> bool:
        """Whether a module of this type is set up in the way that is derived here."""
        return True

    def __call__(self, a: Tensor) -> Tensor:
        if self.used or a.dim() not in self.axes or len(a) != self.samples:
            raise _Unknown
        self.used = True
        return _HandMade.apply(a, self, *self.module.parameters(recurse=False))

    def forward(self, a: Tensor) -> Tensor:
        raise NotImplementedError

    def of_input(self, a: Tensor, g: Tensor) -> Tensor:
        raise NotImplementedError

    def of_weight(self, a: Tensor, g: Tensor) -> Tensor:
        raise NotImplementedError

    def of_bias(self, a: Tensor, g: Tensor) -> Tensor:
        return _over_places(g)


class _HandMade(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, layer: _Layer, *parameters: Tensor) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(a)
        return layer.forward(a)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ((a,), (g,)), layer = (ctx.saved_tensors, gradients), ctx.layer
        for key, name in layer.names.items():
            layer.take(name, layer.of_weight(a, g) if key == "weight" else layer.of_bias(a, g))
        of_input = layer.of_input(a, g) if ctx.needs_input_grad[0] else None
        return of_input, None, *(None for _ in layer.module.parameters(recurse=False))


class _Convolution(_Layer):
    axes = (4,)
    shifted: Tensor | None = None

    @staticmethod
    def knows(module: nn.Conv2d) -> bool:
        return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)

    def forward(self, a: Tensor) -> Tensor:
        c = self.module
        return conv2d(a, c.weight, c.bias, c.stride, c.padding, c.dilation)

    def of_input(self, a: Tensor, g: Tensor) -> Tensor:
        c = self.module
        # torch.nn.grad.conv2d_input would lose the channels-last layout
        backward = torch.ops.aten.convolution_backward
        rest = (c.stride, c.padding, c.dilation, False, (0, 0), 1, (True, False, False))
        return backward(g, a, c.weight, None, *rest)[0]

    def of_weight(self, a: Tensor, g: Tensor) -> Tensor:
        c, (down, right), height = self.module, self.module.kernel_size, g.shape[2]
        shifted = self.shift(a) if self.shifted is None else self.shifted
        self.shifted = shifted if self.keeps else None
        g = g.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)
        # one product for each row of the kernel: [n, out, places] @ [n, places, kernel columns × in]
        rows = [
            g @ shifted[:, first : first + (height - 1) * c.stride[0] + 1 : c.stride[0]].flatten(1, 2)
            for first in range(0, down * c.dilation[0], c.dilation[0])
        ]
        return torch.stack(rows, 2).view(len(a), -1, down, right, a.shape[1]).permute(0, 1, 4, 2, 3)

    def shift(self, a: Tensor) -> Tensor:
        """The padded input beside itself for each column of the kernel, [n, height, columns of g, columns × in].

        Shifted along one axis alone: whole windows would copy each number once more for every row of the kernel.
        """
        c, (below, beside) = self.module, self.module.padding
        a = pad(a, (beside, beside, below, below)).permute(0, 2, 3, 1)
        windows = a.unfold(2, (c.kernel_size[1] - 1) * c.dilation[1] + 1, c.stride[1])[..., :: c.dilation[1]]
        # channels last, so that copying moves whole runs of numbers
        return windows.transpose(3, 4).flatten(3).contiguous()


class _Linear(_Layer):
    axes = (2,)

    def forward(self, a: Tensor) -> Tensor:
        return linear(a, self.module.weight, self.module.bias)

    def of_input(self, a: Tensor, g: Tensor) -> Tensor:
        return g @ self.module.weight

    def of_weight(self, a: Tensor, g: Tensor) -> Tensor:
        return g[:, :, None] * a[:, None, :]


class _BatchNorm(_Layer):
    """In evaluation mode: y = weight·(a − mean)/σ + bias, with stored mean and σ."""

    axes = (2, 3, 4)

    @staticmethod
    def knows(module: Any) -> bool:
        return not module.training and module.running_mean is not None

    def __init__(self, *given: Any):
        super().__init__(*given)
        self.inverse = torch.rsqrt(self.module.running_var + self.module.eps)
        self.scale = (self.module.weight * self.inverse).detach()

    def forward(self, a: Tensor) -> Tensor:
        shift = self.module.bias - self.module.running_mean * self.scale
        return torch.addcmul(_per_channel(shift, a), a, _per_channel(self.scale, a))

    def of_input(self, a: Tensor, g: Tensor) -> Tensor:
        return g * _per_channel(self.scale, g)

    def of_weight(self, a: Tensor, g: Tensor) -> Tensor:
        return _over_places((a - _per_channel(self.module.running_mean, a)).mul_(g)) * self.inverse


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *(1 for _ in like.shape[2:]))


def _over_places(g: Tensor) -> Tensor:
    """Summed over all axes but sample and channel."""
    return g.sum(tuple(range(2, g.dim()))) if g.dim() > 2 else g


# exact types: a subclass may compute something else
_KINDS: dict[type, type[_Layer]] = {
    nn.Conv2d: _Convolution,
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm,
    nn.BatchNorm2d: _BatchNorm,
}
