"""Masked small gradients: start anew where forgetting and retaining pull alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Count, Fraction, NonNegative, Positive
from lacuna.gradients.whole import lowest, mean_gradient
from lacuna.models.inference import copy_of
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.sparsity.mask import Scope, prunable
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.methods.ft import FineTuning


@register("msg")
@dataclass(frozen=True, kw_only=True)
class MaskedSmallGradients(FineTuning):
    """Masked small gradients: draw the prunable weights with the smallest |∇(ℓ_r − ℓ_f)| again, then SGD on ℓ(D_r).

    Gradients at θ_o in evaluation mode, ℓ_r over as many random retained samples as D_f has. A weight is drawn again
    as the model draws its own; masked weights stay 0 and are not counted. Prunable are the convolutions, as published;
    in a transformer the Linear layers but the classifier too.
    share: share of the unmasked prunable weights that start anew, in (0, 1).
    scope: what is ranked together: the weights of a layer (layer, as the published code does) or all (global).
    damping: factor on the gradient of the other prunable weights; all other parameters have the whole gradient.
    Published values (ResNet-18, age of faces): share 0.3, scope layer, damping 0.1, epochs 5, batch_size 64, lr 1e-3.
    There the rate of an epoch is lr times 1/3, 2/3, 1, 2/3, 1/3, which no schedule here is.
    Cost: 1 forward, 1 backward a step; once a forward and a backward over 2|D_f| samples.
    Source: NeurIPS 2023 unlearning challenge, second place (arXiv 2406.09073); Cadet et al., arXiv 2410.01276.
    """

    lr: Positive = 1e-3
    epochs: Count = 5
    batch_size: Count = 64
    share: Fraction = 0.3
    scope: Scope = "layer"
    damping: NonNegative = 0.1

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        chosen = self.choose(model, data, work)
        fresh = copy_of(model)
        reinitialise(fresh, derive(work.seed, "msg", "init"))
        drawn = prunable(fresh)
        with torch.no_grad():
            for name, weight in prunable(model).items():
                if name not in chosen:
                    continue  # it is not trained
                weight.copy_(torch.where(chosen[name], drawn[name], weight))
        work.memory["scales"] = {
            name: torch.where(c, 1.0, self.damping).to(drawn[name].dtype) for name, c in chosen.items()
        }
        return data

    def choose(self, model: nn.Module, data: UnlearningData, work: LoopState) -> dict[str, Tensor]:
        """True for the weights that start anew."""
        retain, wanted = data.index("retain"), len(data.index("forget"))
        generator = torch.Generator().manual_seed(derive(work.seed, "msg", "sample"))
        sample = retain[torch.randperm(len(retain), generator=generator)[:wanted].to(retain.device)]
        both = dataclasses.replace(data, parts={"retain": sample, "forget": data.index("forget")})
        on_retain, on_forget = (mean_gradient(model, both, part, self.batch_size) for part in ("retain", "forget"))
        scores = {name: (on_retain[name] - on_forget[name]).abs() for name in prunable(model) if name in on_retain}
        if not scores:
            raise LacunaError("msg: none of the prunable weights is trained; allowed: a network where some are")
        if self.scope == "global":
            return lowest(scores, self.share, work.mask)
        return {name: lowest({name: s}, self.share, work.mask)[name] for name, s in scores.items()}

    def backward(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> Tensor:
        loss = super().backward(model, batches, work)
        for name, weight in prunable(model).items():
            if weight.grad is not None and name in work.memory["scales"]:
                weight.grad *= work.memory["scales"][name]
        return loss
