"""Gradients of single samples, layer by layer: the backward passes of known layers, derived by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

Given = Callable[[Tensor], Iterable[Tensor]]  # logits → losses
Take = Callable[[str, Tensor], None]  # parameter, its gradients


def each_backward(losses: Iterable[Tensor], to: Mapping[str, Tensor]) -> Iterator[tuple[Tensor | None, ...]]:
    """The gradients of each vector's sum; the last backward pass frees the graph as it goes."""
    vectors = list(losses)
    for position, loss in enumerate(vectors, 1):
        again = position < len(vectors)
        yield torch.autograd.grad(loss.sum(), list(to.values()), retain_graph=again, allow_unused=True)


class Unknown(Exception):
    """The network has a layer, or a use of a parameter, that is not derived by hand."""


def by_layer(
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
        for elsewhere in each_backward(vectors, parameters):
            # a known layer takes its parameters' gradients for itself: what arrives comes from another use of them
            if any(gradient is not None for gradient in elsewhere):
                raise Unknown


@contextmanager
def _derived_by_hand(
    model: nn.Module, parameters: dict[str, nn.Parameter], samples: int, take: Take
) -> Iterator[list[_Layer]]:
    """For a while the layers of a model tell `take` their parameters' gradients in the backward pass.

    Raises Unknown if a parameter is in no known layer; the forward pass does if a layer is used in an unknown way.
    """
    layers, owned, names = [], set(), {name for name, _ in model.named_parameters()}
    for prefix, module in model.named_modules():
        own = {key: f"{prefix}.{key}".lstrip(".") for key, _ in module.named_parameters(recurse=False)}
        if not set(own.values()) <= names:
            raise Unknown  # a tensor that another module has too
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
        raise Unknown
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
            raise Unknown
        self.used = True
        output: Tensor = _HandMade.apply(a, self, *self.module.parameters(recurse=False))
        return output

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
        of_input: Tensor = backward(g, a, c.weight, None, *rest)[0]
        return of_input

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
        of_input: Tensor = g @ self.module.weight
        return of_input

    def of_weight(self, a: Tensor, g: Tensor) -> Tensor:
        return g[:, :, None] * a[:, None, :]


class _BatchNorm(_Layer):
    """In evaluation mode: y = weight·(a − mean)/σ + bias, with stored mean and σ."""

    axes = (2, 3, 4)

    @staticmethod
    def knows(module: Any) -> bool:
        return not module.training and module.running_mean is not None

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
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
