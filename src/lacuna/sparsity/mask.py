"""Masks: which weights exist. They live beside the weights; `training.sgd` holds them after each step, `Mask.check` at
the end of each run."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lacuna.artifacts.files import pack_bits, unpack_bits
from lacuna.errors import LacunaError
from lacuna.models.anatomy import classifier, computed_weights, weights

Scope = Literal["global", "layer"]
Sparsity = str | float | Fraction


def prunable(model: nn.Module, include_linear: bool = False) -> dict[str, nn.Parameter]:
    """The weights that pruning may remove: every convolution's, by state name; never biases or norms.

    A weight that layers share is there once, one that a parametrization computes is not. include_linear adds Linear
    weights except the classifier; so does a network with a true attribute `prunes_linear`
    (a transformer, which has next to nothing else), whoever asks.
    Raises LacunaError if the model has none.
    """
    include_linear = include_linear or getattr(model, "prunes_linear", False)
    head = classifier(model)[1].weight if include_linear else None
    kinds = (nn.Conv2d, nn.Linear) if include_linear else nn.Conv2d
    candidates = {name: weight for name, weight in weights(model, kinds).items() if weight is not head}
    if not candidates:
        if computed := computed_weights(model, kinds):
            raise LacunaError(
                f"{type(model).__name__} has no prunable weights: '{computed[0]}' is computed from other parameters (a "
                "parametrization), which no mask can hold at 0; allowed: a convolution with a weight of its own"
            )
        lacking = "convolution, and no Linear but the classifier" if include_linear else "convolution"
        raise LacunaError(
            f"{type(model).__name__} has no prunable weights, it holds no {lacking}; "
            "allowed: a model with convolutions, or one with hidden Linear layers and either prunes_linear = True in "
            "its class or include_linear in the pruner"
        )
    return candidates


def refuse_computed(model: nn.Module, include_linear: bool = False) -> None:
    """Raise LacunaError if a weight that would be prunable is computed from other parameters."""
    include_linear = include_linear or getattr(model, "prunes_linear", False)
    if computed := computed_weights(model, (nn.Conv2d, nn.Linear) if include_linear else nn.Conv2d):
        raise LacunaError(
            f"'{computed[0]}' is computed from other parameters (a parametrization), which no mask can hold at 0; "
            "allowed: a network whose prunable layers have weights of their own"
        )


def maskable(model: nn.Module) -> dict[str, nn.Parameter]:
    """What the mask of a dense model covers: the prunable weights, of a network without convolutions the Linear ones.

    Raises LacunaError if the model has none.
    """
    return prunable(model, include_linear=not any(isinstance(module, nn.Conv2d) for module in model.modules()))


class Mask:
    """A 0/1 mask over named tensors: 1 (true) keeps, 0 (false) removes. Immutable; `mask[name]` is a bool tensor.

    kept: a tensor by the name of each masked parameter, of its shape; what is not 0 is kept. It is copied to the CPU.
    Tensors of one axis (bias and batch norm of a removed filter) are held at 0 as all others, but only the weights,
    tensors of two or more axes, count in sparsity and overlap.

    `Mask.from_scores` removes the lowest scores, `Mask.full` nothing; `apply` sets masked weights to 0, and
    `unlearn(..., mask=mask)` holds them there.

    >>> import torch
    >>> from lacuna import Mask
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2, bias=False), torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> mask = Mask.from_scores({"0.weight": torch.arange(8.0).reshape(2, 1, 2, 2)}, sparsity="0.75")
    >>> mask.sparsity, mask["0.weight"].flatten().tolist()[-3:]
    (0.75, [False, True, True])
    >>> mask.apply(model)
    >>> int(model[0].weight.count_nonzero())
    2
    >>> mask.iou(Mask.full(model))
    0.25
    """

    def __init__(self, kept: Mapping[str, Tensor]):
        self._kept = {name: keep.detach().to("cpu", torch.bool, copy=True).contiguous() for name, keep in kept.items()}

    @classmethod
    def full(cls, model: nn.Module) -> Mask:
        """The mask of a dense model: every weight of `maskable` kept."""
        return cls({name: torch.ones_like(w, dtype=torch.bool) for name, w in maskable(model).items()})

    @classmethod
    def from_scores(
        cls,
        scores: Mapping[str, Tensor],
        sparsity: Sparsity,
        scope: Scope = "global",
        within: Mask | None = None,
    ) -> Mask:
        """Remove the round(s·N) lowest scores (half to even), over all weights together or within each layer.

        scores: one tensor per weight, higher is kept. sparsity: s in [0, 1); a text is taken exactly.
        within: a mask whose removed weights go first, whatever their score; its tensors without a score stay.
        Among equal scores at the threshold the first in order go.
        Raises LacunaError for a score that is NaN, or if `within` has removed more than s already.
        """
        share = Fraction(str(sparsity))
        if not 0 <= share < 1:
            raise LacunaError(f"sparsity: {sparsity} is not allowed; allowed: 0 <= sparsity < 1")
        flat = {name: s.detach().cpu().flatten() for name, s in scores.items()}
        if bad := [name for name, s in flat.items() if bool(s.isnan().any())]:
            raise LacunaError(f"the pruning scores of '{bad[0]}' are not numbers; try a smaller learning rate")
        there = {
            name: within[name].flatten() if within is not None and name in within else torch.ones(len(s)).bool()
            for name, s in flat.items()
        }
        kept: dict[str, Tensor] = {}
        for names in [[name] for name in flat] if scope == "layer" else [list(flat)]:
            left = torch.cat([there[name] for name in names])
            surplus = int(left.count_nonzero()) - (len(left) - round(share * len(left)))
            if within is not None and surplus < 0:
                raise LacunaError(
                    f"sparsity: {float(share):g} is not allowed; allowed: at least {within.sparsity:g}, "
                    "which is removed already"
                )
            keep = _keep(torch.cat([flat[name] for name in names]), left, surplus)
            kept |= zip(names, keep.split([len(flat[name]) for name in names]), strict=True)
        if within is not None:
            kept |= {name: within[name] for name in within if name not in scores}
        return cls({name: keep.view(scores[name].shape) if name in scores else keep for name, keep in kept.items()})

    def grown(self, scores: Mapping[str, Tensor], share: str | float | Fraction, scope: Scope = "global") -> Mask:
        """The mask with the round(share·n) highest-scoring of its n removed weights kept again; what is kept stays.

        scores: one tensor per weight; tensors without a score stay as they are. share: in [0, 1]; a text is taken
        exactly. scope: rank all removed weights together or within each layer. Among equal scores at the threshold the
        last in order grow.
        Raises LacunaError for a share out of range or a score that is NaN.
        """
        share = Fraction(str(share))
        if not 0 <= share <= 1:
            raise LacunaError(f"share of grown weights: {float(share):g} is not allowed; allowed: 0 <= share <= 1")
        kept = dict(self._kept)
        for names in [list(scores)] if scope == "global" else [[name] for name in scores]:
            removed = sum(int((~self[name]).sum()) for name in names)
            left = removed - round(share * removed)
            if left < removed:
                lifted = {name: scores[name].detach().cpu().masked_fill(self[name], math.inf) for name in names}
                total = sum(self[name].numel() for name in names)
                kept |= Mask.from_scores(lifted, Fraction(left, total))._kept
        return Mask(kept)

    def __repr__(self) -> str:
        total = sum(k.numel() for k in self.weights.values())
        return f"Mask({self.sparsity:.4g} of {total} weights removed)" if total else "Mask(no weights)"

    def __getitem__(self, name: str) -> Tensor:
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())

    def pairs(self, model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        """Each masked parameter of the model with its mask, on its device and in its type.

        Raises LacunaError if the model has no such parameter or one of another shape.
        """
        parameters = dict(model.named_parameters())
        pairs = []
        for name, keep in self._kept.items():
            if name not in parameters or parameters[name].shape != keep.shape:
                shape = tuple(parameters[name].shape) if name in parameters else "no such parameter"
                raise LacunaError(f"mask of '{name}' {tuple(keep.shape)} does not fit the model: {shape}")
            weight = parameters[name]
            pairs.append((weight, torch.empty_like(weight).copy_(keep)))
        return pairs

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Set masked weights to exactly 0, in place."""
        for weight, keep in self.pairs(model):
            weight.masked_fill_(keep == 0, 0.0)

    @torch.no_grad()
    def check(self, model: nn.Module) -> None:
        """Raise LacunaError naming the tensor if a masked weight is not exactly 0."""
        parameters = dict(model.named_parameters())
        for name, keep in self._kept.items():
            leaked = parameters[name].detach().cpu()[~keep]
            if bool((leaked != 0).any()):
                raise LacunaError(
                    f"mask violated: '{name}' has {int((leaked != 0).sum())} masked weights that are not 0 "
                    f"(largest {float(leaked.abs().max()):g}); the method changed weights behind the loop's back"
                )

    @property
    def weights(self) -> dict[str, Tensor]:
        """The tensors that count: those of two or more axes."""
        return {name: k for name, k in self._kept.items() if k.dim() > 1}

    @property
    def sparsity(self) -> float:
        """Share of the weights that are removed, in [0, 1]."""
        total = sum(k.numel() for k in self.weights.values())
        return 1 - sum(int(k.count_nonzero()) for k in self.weights.values()) / total

    def sparsity_per_layer(self) -> dict[str, float]:
        """The same for each tensor of weights."""
        return {name: 1 - float(k.double().mean()) for name, k in self.weights.items()}

    def collapsed(self) -> list[str]:
        """Tensors with no weight left (layer collapse)."""
        return [name for name, k in self.weights.items() if not bool(k.any())]

    def iou(self, other: Mask) -> float:
        """Intersection over union of the kept weights of two masks over the same tensors, in [0, 1]."""
        both = sum(int((k & other[name]).sum()) for name, k in self.weights.items())
        either = sum(int((k | other[name]).sum()) for name, k in self.weights.items())
        return both / either if either else 1.0

    def bits(self) -> dict[str, np.ndarray]:
        """The mask as bool arrays by name."""
        return {name: k.numpy() for name, k in self._kept.items()}

    def pack(self) -> dict[str, np.ndarray]:
        """One bit per weight, for a file (`artifacts.pack_bits`)."""
        return pack_bits(self.bits())

    @classmethod
    def unpack(cls, packed: Mapping[str, np.ndarray]) -> Mask:
        """The mask that `pack` gave."""
        return cls({name: torch.from_numpy(bits) for name, bits in unpack_bits(packed).items()})

    def digest(self) -> str:
        """SHA-256 over names, shapes and bits."""
        digest = hashlib.sha256()
        for name, k in sorted(self._kept.items()):
            digest.update(f"{name}|{tuple(k.shape)}|".encode() + np.packbits(k.numpy().reshape(-1)).tobytes())
        return digest.hexdigest()


def _keep(scores: Tensor, left: Tensor, removed: int) -> Tensor:
    """True for all that are left but the `removed` lowest of them."""
    if not removed:
        return left
    # only the survivors are ranked, and in NumPy, which is several times faster here: SynFlow asks a hundred times
    there = left.numpy()
    ranked = scores.numpy()[there]
    threshold = np.partition(ranked, removed - 1)[removed - 1]
    keep = ranked > threshold
    ties = np.flatnonzero(ranked == threshold)
    surplus = len(keep) - np.count_nonzero(keep) - removed
    keep[ties[len(ties) - surplus :]] = True
    kept = there.copy()
    kept[there] = keep
    return torch.from_numpy(kept)
