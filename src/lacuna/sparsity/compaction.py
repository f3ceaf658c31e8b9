"""Removing filters for real: the network without the channels that a mask has wholly removed.

Which tensors share a channel is read from torch-pruning's dependency graph. Nothing but the mask decides, so that a
compacted network is stored as a mask and a state: `load_into(compact(new_model(...), mask, shape), path)`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lacuna.errors import LacunaError
from lacuna.models.modes import evaluating
from lacuna.sparsity.mask import Mask
from lacuna.training.loop import copy_of, load_tensors

# largest difference of a logit, in float64, relative to the largest logit
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Channels:
    """Output channels that several tensors share: a layer's own, or those of all layers that write to one stream.

    layer: the first layer with these channels, by module name. count: how many there are.
    rows: for each parameter that has them as its first axis, its rows and the channel of each, int64 [rows] twice.
    dealt: a grouped convolution reads or writes them, each group its share: they can be masked, not taken out.
    """

    layer: str
    count: int
    rows: dict[str, tuple[Tensor, Tensor]]
    dealt: bool = False

    def kept(self, mask: Mask) -> Tensor:
        """bool [count]: false where every row of every tensor is removed."""
        kept = torch.zeros(self.count, dtype=torch.bool)
        for name, (row, channel) in self.rows.items():
            if name not in mask:
                return torch.ones(self.count, dtype=torch.bool)
            alive = mask[name].flatten(1).any(1) if mask[name].dim() > 1 else mask[name]
            kept[channel[alive[row]]] = True
        return kept


def channels(model: nn.Module, shape: Sequence[int], coupled: bool = True) -> list[Channels]:
    """The channels of a network that can be removed, in the order of its layers; those of its outputs cannot.

    shape: of one image, (channels, height, width). coupled: layers whose outputs are added have their channels in
    common; otherwise each layer has its own, and those of the batch norm right behind it.
    Raises LacunaError if the network cannot be traced.
    """
    return channels_both_ways(model, shape)[0 if coupled else 1]


def channels_both_ways(model: nn.Module, shape: Sequence[int]) -> tuple[list[Channels], list[Channels]]:
    """`channels` coupled, and of each layer alone."""
    model = copy_of(model).cpu()
    with _followed(model):
        graph = _graph(model, shape)
        coupled = _channels(model, graph)
        return coupled, _own_channels(model, graph, coupled)


@contextlib.contextmanager
def _followed(model: nn.Module) -> Iterator[None]:
    """Whatever torch-pruning stumbles over is a network that it cannot follow."""
    try:
        yield
    except LacunaError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise LacunaError(
            f"{type(model).__name__}: its channels cannot be followed ({reason}); allowed: a pruner of single weights"
        ) from None


def _graph(model: nn.Module, shape: Sequence[int]) -> Any:
    """The dependency graph of a model, which is left in evaluation mode with a gradient for each parameter."""
    import torch_pruning  # needed by few jobs

    model.requires_grad_(True)
    image = torch.zeros(1, *shape, dtype=next(model.parameters()).dtype)
    with torch.enable_grad():
        return torch_pruning.DependencyGraph().build_dependency(model, image, verbose=False)


def _layers(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def _group(graph: Any, layer: nn.Conv2d | nn.Linear, indices: Sequence[int]) -> list[Any]:
    """What goes with these output channels of a layer: modules, their channels, and those of the layer behind each.

    A module with fewer channels is one that the layer's are multiplied with (a gate of one channel): it stays whole.
    """

    def items(some: Sequence[int]) -> Any:
        return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, list(some))

    def too_small(item: Any) -> bool:
        module = item.dep.target.module
        if not isinstance(module, nn.Module) or next(module.parameters(), None) is None:
            return False
        written = graph.is_out_channel_pruning_fn(item.dep.handler)
        size = (graph.get_out_channels if written else graph.get_in_channels)(item.dep.target)
        return size is not None and bool(item.idxs) and max(int(i) for i in item.idxs) >= size

    every = items(range(len(layer.weight)))
    whole = {(item.dep.target, item.dep.handler) for item in every if too_small(item)}
    some = every if len(indices) == len(layer.weight) else items(indices)
    return [item for item in some if (item.dep.target, item.dep.handler) not in whole]


def _channels(model: nn.Module, graph: Any) -> list[Channels]:
    names = {module: name for name, module in model.named_modules()}
    found: list[Channels] = []
    seen: set[str] = set()
    for layer, module in _layers(model).items():
        if layer in seen or module not in graph.module2node:
            continue
        count = len(module.weight)
        rows: dict[str, tuple[Tensor, Tensor]] = {}
        outputs = dealt = False
        for item in _group(graph, module, range(count)):
            target = item.dep.target
            dealt = dealt or _deals(target.module)
            if not graph.is_out_channel_pruning_fn(item.dep.handler):
                continue  # it only reads them
            outputs = outputs or not target.outputs
            if target.module in names:
                seen.add(names[target.module])
                pairs = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
                rows |= {
                    f"{names[target.module]}.{name}": pairs
                    for name, p in target.module.named_parameters(recurse=False)
                    if p.dim() and len(p) > int(pairs[0].max())  # a PReLU may have one slope for all channels
                }
        if not outputs:
            found.append(Channels(layer, count, rows, dealt))
    return found


def _deals(module: Any) -> bool:
    """Whether a module is a grouped convolution; a depthwise one reads each channel alone."""
    return isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups < module.out_channels


def _own_channels(model: nn.Module, graph: Any, coupled: Sequence[Channels]) -> list[Channels]:
    names = {module: name for name, module in model.named_modules()}
    free = {name for shared in coupled for name in shared.rows}
    found = []
    for layer, module in _layers(model).items():
        if f"{layer}.weight" not in free:
            continue
        behind = [
            node.module
            for node in graph.module2node[module].outputs
            if isinstance(node.module, _BatchNorm) and node.module.num_features == len(module.weight)
        ]
        every = torch.arange(len(module.weight))
        rows = {
            f"{names[m]}.{p}": (every, every) for m in (module, *behind) for p, _ in m.named_parameters(recurse=False)
        }
        found.append(Channels(layer, len(every), rows, _deals(module)))
    return found


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
        with _followed(model):
            positions = _remove(small, _graph(small, shape), mask)
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

    >>> small = compact(model, mask, (3, 32, 32))  # doctest: +SKIP
    """
    return Compaction.of(model, mask, shape).network


def _picked(state: Mapping[str, Tensor], positions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: state[name].cpu().flatten()[place] for name, place in positions.items()}


@torch.no_grad()
def _remove(model: nn.Module, graph: Any, mask: Mask) -> dict[str, Tensor]:
    """Take removed channels out, in place. Returns the positions of what is left."""
    groups = _channels(model, graph)
    for value in (*model.parameters(), *model.buffers()):
        # every entry carries its own address through the surgery; float64 holds it exactly
        value.copy_(torch.arange(value.numel()).view(value.shape))
    layers = _layers(model)
    for shared in groups:
        if shared.dealt:
            continue
        kept = shared.kept(mask)
        kept[0] |= not kept.any()
        if gone := (~kept).nonzero().flatten().tolist():
            for dependency, indices in _group(graph, layers[shared.layer], gone):
                dependency(indices)
    return {name: value.to(torch.int64, copy=True) for name, value in model.state_dict().items()}


@torch.no_grad()
def _difference(masked: nn.Module, small: nn.Module, shape: Sequence[int]) -> float:
    """The largest difference of a logit, relative to the largest logit where that is above 1."""
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with evaluating(masked), evaluating(small):
        expected, found = masked(image.clone()), small(image.clone())  # a network may write into its input
    return float((expected - found).abs().max() / expected.abs().max().clamp(min=1.0))
