"""Convolutions of lacuna's own networks by faster kernels of oneDNN on a CPU; each of them also as PyTorch has it.

A network calls its convolutions through `rectified` and `Layers`, and does not know which form they take.
Folded: predictions in float32. γ·(w∗x − μ)/σ + β is a convolution by γ·w/σ, and oneDNN adds a shortcut in the same
pass. Blocked: a step of training in bfloat16. Activations stay in oneDNN's own layout, blocks of 16 channels, for which
it has batch norm and ReLU that are several times as fast as PyTorch's. Both round otherwise than the plain form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn, relu_
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lacuna.errors import LacunaError
from lacuna.models.modes import has_unit

# channels for which a step in blocks is at least a tenth faster: whole blocks of 16; wide convolutions gain little
_WIDTHS = range(16, 65, 16)
# what was folded so far, innermost model last; None: to be computed as it is
_FOLDED: list[dict[nn.Conv2d, _Folded | None]] = []


def normed(conv: nn.Conv2d, norm: nn.Module, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """norm(conv(x)) + shortcut; may write into the shortcut where no gradient is wanted.

    Otherwise the addition writes into the output of the batch norm, which no backward pass reads.
    """
    if (folded := _folded(conv, norm, x)) is not None:
        return folded(x, shortcut)
    y: Tensor = norm(_Blocked.apply(x, conv.weight, conv.stride, conv.padding) if x.is_mkldnn else conv(x))
    return y if shortcut is None else y.add_(shortcut)


def rectified(conv: nn.Conv2d, norm: nn.Module, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """relu(norm(conv(x)) + shortcut), as `normed`.

    Predictions are not rectified by oneDNN, which makes 0 of NaN: a network that diverged would give an answer.
    """
    return relu_(normed(conv, norm, x, shortcut))


class Layers(nn.Sequential):
    """A sequence where a batch norm stands behind each convolution."""

    def forward(self, x: Tensor) -> Tensor:
        layers = iter(self)
        for layer in layers:
            x = normed(layer, next(layers), x) if isinstance(layer, nn.Conv2d) else layer(x)
        return x


# ---- folded


@contextmanager
def folded(model: nn.Module) -> Iterator[None]:
    """For a while the convolutions of a model take up their batch norms: evaluation mode, no gradients, float32, CPU.

    The model's own tensors are not touched, and must not change meanwhile. A model that anybody watches by hooks is
    computed as it is (in training it is counted), as is a convolution or batch norm that is another class than torch's.
    """
    if not _foldable(model):
        yield
        return
    _FOLDED.append({})
    try:
        yield
    finally:
        _FOLDED.pop()


def _foldable(model: nn.Module) -> bool:
    first = next(model.parameters())
    return (
        first.device.type == "cpu"
        and not torch.is_grad_enabled()
        and _has_onednn()
        and not any(map(_watched, model.modules()))
    )


def _folded(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> _Folded | None:
    if not _FOLDED:
        return None
    known = _FOLDED[-1]
    if conv not in known:
        still = type(norm) is nn.BatchNorm2d and not norm.training and norm.running_mean is not None
        suits = still and _plain_convolution(conv) and x.dtype == torch.float32
        known[conv] = _Folded(conv, norm, list(x.shape)) if suits else None
    return known[conv]


class _Folded:
    """A convolution with the batch norm behind it, packed for oneDNN and inputs of a shape."""

    def __init__(self, conv: nn.Conv2d, norm: Any, shape: list[int]):
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        weight, self.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        self.shape = [*map(list, (conv.padding, conv.stride, conv.dilation)), conv.groups]
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight.detach(), *self.shape, shape)

    def __call__(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        """Both, plus the shortcut, which is written into."""
        parts = x, self.weight, self.bias, *self.shape
        if shortcut is None:
            y: Tensor = torch.ops.mkldnn._convolution_pointwise(*parts, "none", [], "")
            return y
        torch.ops.mkldnn._convolution_pointwise_.binary(shortcut, *parts, "add", None, None, [], None)
        return shortcut


# ---- blocked


def blocked(model: nn.Module, x: Tensor) -> Tensor:
    """Images in oneDNN's layout and bfloat16 if a step of training gains by it, else as they are; `plain` undoes it.

    It does where the forward pass is in bfloat16 autocast with gradients, all batch norms compute their statistics, and
    all convolutions have 16, 32, 48 or 64 channels; on a CPU with avx512_bf16 (with AMX it is not measured).
    """
    return x.to(torch.bfloat16).to_mkldnn() if _blockable(model, x) else x


def plain(model: nn.Module, x: Tensor) -> Tensor:
    """Activations as PyTorch has them.

    oneDNN's ReLU makes 0 of NaN. The statistics of a batch norm keep it, and hand it on to the answers of the network.
    """
    if not x.is_mkldnn:
        return x
    norms: list[Any] = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        largest = torch._foreach_norm([t for n in norms for t in (n.running_mean, n.weight, n.bias)], math.inf)
        lost = 0 * torch.stack(largest).max()
    return x.to_dense() + lost.to(x.dtype)


def _blockable(model: nn.Module, x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and x.dtype == torch.float32
        and torch.is_grad_enabled()
        and not torch._C._are_functorch_transforms_active()
        and _has_onednn()
        and has_unit("avx512_bf16")
        and not has_unit("amx_tile")
        # hooks of the network itself see images and logits, those of its classifier what it is given
        and all(_fits(m) for m in model.modules() if m is not model and not isinstance(m, nn.Linear))
    )


def _fits(module: nn.Module) -> bool:
    """Whether a module inside a network may get activations in blocks."""
    if _watched(module):
        return False
    if isinstance(module, nn.BatchNorm2d):
        counts = module.training and module.running_mean is not None
        return type(module) is nn.BatchNorm2d and counts and module.affine
    if isinstance(module, nn.Conv2d):
        simple = _plain_convolution(module) and module.groups == 1 and module.dilation == (1, 1) and module.bias is None
        return simple and module.out_channels in _WIDTHS
    return True


class _Blocked(torch.autograd.Function):
    """A convolution of activations in blocks by a float32 weight in its usual layout, in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Any, padding: Any) -> Tensor:
        half = weight.to(torch.bfloat16)
        ctx.save_for_backward(x, half)
        ctx.shape = stride, padding
        return torch.mkldnn_convolution(x, half.to_mkldnn(), None, padding, stride, [1, 1], 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise LacunaError(
                "a second derivative of a step in bfloat16 is not there on this CPU; allowed: precision: fp32"
            )
        (x, half), (stride, padding) = ctx.saved_tensors, ctx.shape
        wanted = [*ctx.needs_input_grad[:2], False]
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient, x, half, None, stride, padding, [1, 1], False, [0, 0], 1, wanted
        )
        if of_weight is not None:
            of_weight = of_weight.to_dense() if of_weight.is_mkldnn else of_weight
            # the layout of the weight, in which an optimiser takes all at once
            of_weight = of_weight.to(torch.float32, memory_format=torch.channels_last)
        return of_x, of_weight, None, None


# ---- the machine


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)


def _plain_convolution(conv: nn.Conv2d) -> bool:
    """Whether it is torch's own with a float32 weight and zeros around the image."""
    zeros = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return type(conv) is nn.Conv2d and zeros and conv.weight.dtype == torch.float32


def _watched(module: nn.Module) -> bool:
    """Whether somebody sees or changes what goes through a module."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks) or "forward" in vars(module) or nn.modules.module._has_any_global_hook()
