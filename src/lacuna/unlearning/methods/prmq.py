"""PRMQ: prune, re-initialise, match the entropy, quantise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, mse_loss

from lacuna.data.batches import Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Count, Fraction, Positive
from lacuna.gradients.whole import lowest
from lacuna.models.anatomy import computed_weights, weights
from lacuna.models.inference import copy_of
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner, register

KINDS = (nn.Conv2d, nn.Linear)


@register("prmq")
@dataclass(frozen=True, kw_only=True)
class Prmq(LossUnlearner):
    """PRMQ: draw the smallest |θ_o| again, then SGD on ℓ(D_r) + mean over D_r of (H(p_θ(x)) − H(p_o(x)))²; H: entropy.

    Ranked over all convolution and Linear weights together, classifier included. On a sparse model masked weights are
    neither counted nor drawn: they stay 0. The published loss also weighs classes by n_c^−0.1, for its unbalanced
    images of faces, and prunes biases; neither is done here.
    share: share of the unmasked weights that are drawn again as the model draws its own, in (0, 1).
    quantise: round parameters and batch norm statistics to half precision at the end, as published.
    Published values (ResNet-18, age of faces): share 0.99, lr 5e-4, epochs 3.2, batch_size 64, quantise true. Here
    epochs 3: whole ones only.
    Cost: 2 forward, 1 backward a step.
    Source: NeurIPS 2023 unlearning challenge, fourth place (arXiv 2406.09073); Cadet et al., arXiv 2410.01276.
    """

    lr: Positive = 5e-4
    epochs: Count = 3
    batch_size: Count = 64
    share: Fraction = 0.99
    quantise: bool = True

    def loss(self, model: nn.Module, retain: Batch, work: LoopState) -> Tensor:
        logits = model(retain.x)
        with torch.no_grad():
            target = entropy(work.memory["original"](retain.x))
        return cross_entropy(logits, retain.y) + mse_loss(entropy(logits), target)

    def check(self, model: nn.Module) -> None:
        if computed := computed_weights(model, KINDS):
            raise LacunaError(
                f"prmq: '{computed[0]}' is computed from other parameters (a parametrization); allowed: layers with "
                "weights of their own"
            )

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        work.memory["original"] = copy_of(model).eval()
        fresh = copy_of(model)
        reinitialise(fresh, derive(work.seed, "prmq"))
        drawn, own = weights(fresh, KINDS), weights(model, KINDS)
        small = lowest({name: w.detach().abs() for name, w in own.items()}, self.share, work.mask)
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(torch.where(small[name], drawn[name], weight))
        return data

    @torch.no_grad()
    def finish(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        if self.quantise:
            for tensor in [*model.parameters(), *model.buffers()]:
                if tensor.is_floating_point():
                    tensor.copy_(tensor.half())


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the predicted distribution in nats, [n]."""
    log_p = log_softmax(logits, 1)
    return -(log_p.exp() * log_p).sum(1)
