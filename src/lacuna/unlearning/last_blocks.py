"""Fine-tuning or relearning the last blocks of a network, the others left as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Index, Positive
from lacuna.models.anatomy import classifier
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner

_SEQUENCES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def blocks(model: nn.Module) -> list[list[str]]:
    """The blocks of a network in order, each as names of modules; the last is the classifier.

    Modules are taken in the order of their definition. A Sequential, a list or a dict is opened, and so is a module
    with more than half of all weight tensors: it is the body, not a part. What is left is a block if it holds a weight
    of two or more axes (a residual block, a convolution, a linear layer); otherwise (a norm layer) it belongs to the
    block before it. The last block is the one with the classifier, or the last of all if there is no Linear layer.

    For lacuna's ResNets: the stem, each residual block, the classifier; for its transformers: the patches, each block
    of attention, the classifier.
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    head = f"{classifier(model)[0]}." if linear else ""
    groups: list[list[str]] = []
    weighty = False
    for name, module in _opened(model, _weights(model)):
        if not groups or (weighty and _weights(module)):
            groups.append([])
            weighty = False
        groups[-1].append(name)
        weighty = weighty or bool(_weights(module))
        if head.startswith(f"{name}."):
            break
    return groups


def _weights(module: nn.Module) -> int:
    return sum(p.dim() > 1 for p in module.parameters())


def _opened(module: nn.Module, total: int, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if isinstance(child, _SEQUENCES) or (2 * _weights(child) > total and next(child.children(), None) is not None):
            yield from _opened(child, total, f"{prefix}{name}.")
        elif next(child.parameters(), None) is not None:
            yield f"{prefix}{name}", child


@dataclass(frozen=True, kw_only=True)
class LastBlocks(LossUnlearner):
    """SGD on ℓ(D_r) of the parameters in the last k blocks and the classifier.

    k: blocks before the classifier: residual blocks, or layers with their norm (lacuna's stem is one); 0: none.
    """

    lr: Positive = 0.01
    k: Index = 1

    def loss(self, model: nn.Module, retain: Batch) -> Tensor:
        return cross_entropy(model(retain.x), retain.y)

    def check(self, model: nn.Module) -> None:
        self.moving(model)

    def moving(self, model: nn.Module) -> set[str]:
        """Names of the modules from the first of the last k blocks to the end of the network."""
        parts = blocks(model)
        if self.k >= len(parts):
            raise LacunaError(
                f"{self.name}.k: {self.k} is not allowed for {type(model).__name__}; "
                f"allowed: 0 to {len(parts) - 1} (its blocks before the classifier)"
            )
        names = [name for name, _ in model.named_modules()]
        return set(names[names.index(parts[-1 - self.k][0]) :])

    def trainable(self, model: nn.Module, work: LoopState) -> set[str]:
        moving = self.moving(model)
        return {name for name, _ in model.named_parameters() if name.rpartition(".")[0] in moving}

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        moving = self.trainable(model, work)
        still = [p for name, p in model.named_parameters() if name not in moving and p.requires_grad]
        for parameter in still:
            parameter.requires_grad_(False)  # the backward pass ends where the moving part begins
        work.memory["still"] = still
        return data

    def finish(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        for parameter in work.memory["still"]:
            parameter.requires_grad_(True)
