"""Removing filters for real: the network without the channels that a mask has wholly removed.

Which tensors share a channel is read from torch-pruning's dependency graph. Nothing but the mask decides, so that a
compacted network is stored as a mask and a state: `load_into(compact(new_model(...), mask, shape), path)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lacuna.errors import LacunaError
from lacuna.models.inference import copy_of, load_tensors
from lacuna.models.modes import evaluating
from lacuna.sparsity.channels import coupled_channels, dependency_graph, followed, group_of, layers_of
from lacuna.sparsity.mask import Mask

# largest difference of a logit, in float64, relative to the largest logit
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Compaction:
    """A network without its removed channels, and where its numbers stand in the whole one.

    network: the small one, in the mode of the whole one and with its values. positions: for each tensor of its
    state the place of each entry in the flattened tensor of the whole network, int64.
    """

    network: nn.Module
    positions: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, mask: Mask, shape: Sequence[int]) -> Compaction:
        """Take out the channels that the mask removes in all of their layers; one of each layer always stays.

        shape: of one image, (channels, height, width).
        Raises LacunaError if the network cannot be traced, or if the small one does not give the same outputs.
        """
        masked = copy_of(model).cpu().double()
        mask.apply(masked)
        small = copy_of(masked)
        with followed(model):
            positions = _remove(small, dependency_graph(small, shape), mask)
            load_tensors(small, _picked(masked.state_dict(), positions))
            difference = _difference(masked, small, shape)
        if not difference <= TOLERANCE:
            raise LacunaError(
                f"{type(model).__name__}: without its removed channels its logits differ by {difference:.2g}; allowed: "
                "a network where a removed filter gives 0 (batch norm with weight and bias, an activation that is 0 "
                "at 0), or compact: false"
            )
        whole = dict(model.named_parameters())
        load_tensors(small, _picked(model.state_dict(), positions))
        # removed weights that stay (of a channel that another layer needs) are 0, as in the masked network
        first = next(iter(whole.values()))
        small.to(first.device, first.dtype)
        if any(p.dim() == 4 and not p.is_contiguous() for p in whole.values()):
            small.to(memory_format=torch.channels_last)
        for name, parameter in small.named_parameters():
            parameter.requires_grad_(whole[name].requires_grad)
        modes = {name: module.training for name, module in model.named_modules()}
        for name, module in small.named_modules():
            module.training = modes[name]
        compaction = cls(small, positions)
        compaction.mask(mask).apply(small)
        return compaction

    def mask(self, mask: Mask) -> Mask:
        """What of a mask of the whole network concerns the small one."""
        return Mask({name: mask[name].flatten()[self.positions[name]] for name in mask})

    def whole_mask(self, small: Mask, mask: Mask) -> Mask:
        """`mask` of the whole network with a mask of the small one in its place."""
        whole = {name: mask[name].flatten().clone() for name in mask}
        for name in small:
            whole[name][self.positions[name]] = small[name]
        return Mask({name: keep.view(mask[name].shape) for name, keep in whole.items()})

    @torch.no_grad()
    def expand(self, small: nn.Module, model: nn.Module) -> None:
        """Put the values of the small network where they belong in the whole one, in place; the rest stays."""
        state = model.state_dict()
        for name, value in small.state_dict().items():
            whole = state[name].flatten().clone()
            whole[self.positions[name].to(whole.device)] = value
            state[name].copy_(whole.view(state[name].shape))


def compact(model: nn.Module, mask: Mask, shape: Sequence[int]) -> nn.Module:
    """The network without the channels that the mask wholly removes; it gives the masked network's outputs.

    shape: of one image, (channels, height, width). The given model stays as it is.
    Raises LacunaError if the network cannot be traced, or if the small one does not give the same outputs.

    >>> conv, head = nn.Conv2d(1, 4, 3, bias=False), nn.Linear(64, 2)
    >>> model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), head)
    >>> keep = torch.ones_like(conv.weight, dtype=torch.bool)
    >>> keep[2] = False
    >>> mask = Mask({"0.weight": keep})
    >>> mask.apply(model)
    >>> small = compact(model, mask, (1, 6, 6))
    >>> small[0].out_channels, small[3].in_features
    (3, 48)
    """
    return Compaction.of(model, mask, shape).network


def _picked(state: Mapping[str, Tensor], positions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: state[name].cpu().flatten()[place] for name, place in positions.items()}


@torch.no_grad()
def _remove(model: nn.Module, graph: Any, mask: Mask) -> dict[str, Tensor]:
    """Take removed channels out, in place. Returns the positions of what is left."""
    groups = coupled_channels(model, graph)
    for value in (*model.parameters(), *model.buffers()):
        # every entry carries its own address through the surgery; float64 holds it exactly
        value.copy_(torch.arange(value.numel()).view(value.shape))
    layers = layers_of(model)
    for shared in groups:
        if shared.dealt:
            continue
        kept = shared.kept(mask)
        kept[0] |= not kept.any()
        if removed := (~kept).nonzero().flatten().tolist():
            for dependency, indices in group_of(graph, layers[shared.layer], removed):
                dependency(indices)
    return {name: value.to(torch.int64, copy=True) for name, value in model.state_dict().items()}


@torch.no_grad()
def _difference(masked: nn.Module, small: nn.Module, shape: Sequence[int]) -> float:
    """The largest difference of a logit, relative to the largest logit where that is above 1."""
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with evaluating(masked), evaluating(small):
        expected, answer = masked(image.clone()), small(image.clone())  # a network may write into its input
    return float((expected - answer).abs().max() / expected.abs().max().clamp(min=1.0))
