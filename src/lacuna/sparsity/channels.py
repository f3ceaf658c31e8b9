"""Channels: the filters that a network's tensors share, read from torch-pruning's dependency graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lacuna.errors import LacunaError
from lacuna.models.inference import copy_of
from lacuna.sparsity.mask import Mask


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
    with followed(model):
        graph = dependency_graph(model, shape)
        coupled = coupled_channels(model, graph)
        return coupled, _own_channels(model, graph, coupled)


@contextlib.contextmanager
def followed(model: nn.Module) -> Iterator[None]:
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


def dependency_graph(model: nn.Module, shape: Sequence[int]) -> Any:
    """The dependency graph of a model, which is left in evaluation mode with a gradient for each parameter."""
    import torch_pruning  # needed by few jobs

    model.requires_grad_(True)
    image = torch.zeros(1, *shape, dtype=next(model.parameters()).dtype)
    with torch.enable_grad():
        return torch_pruning.DependencyGraph().build_dependency(model, image, verbose=False)


def layers_of(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """The convolutions and Linear layers of a model, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def group_of(graph: Any, layer: nn.Conv2d | nn.Linear, indices: Sequence[int]) -> list[Any]:
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


def coupled_channels(model: nn.Module, graph: Any) -> list[Channels]:
    """The channels of every layer, once for layers that share them because they write to one stream."""
    names = {module: name for name, module in model.named_modules()}
    coupled: list[Channels] = []
    seen: set[str] = set()
    for layer, module in layers_of(model).items():
        if layer in seen or module not in graph.module2node:
            continue
        count = len(module.weight)
        rows: dict[str, tuple[Tensor, Tensor]] = {}
        outputs = dealt = False
        for item in group_of(graph, module, range(count)):
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
            coupled.append(Channels(layer, count, rows, dealt))
    return coupled


def _deals(module: Any) -> bool:
    """Whether a module is a grouped convolution; a depthwise one reads each channel alone."""
    return isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups < module.out_channels


def _own_channels(model: nn.Module, graph: Any, coupled: Sequence[Channels]) -> list[Channels]:
    names = {module: name for name, module in model.named_modules()}
    free = {name for shared in coupled for name in shared.rows}
    own = []
    for layer, module in layers_of(model).items():
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
        own.append(Channels(layer, len(every), rows, _deals(module)))
    return own
