"""Fisher forgetting: noise where the retained data do not mind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Positive
from lacuna.gradients.per_sample import Log, mean_squares
from lacuna.gradients.whole import Scores, trained, unmasked
from lacuna.models.anatomy import classifier
from lacuna.models.modes import evaluating
from lacuna.randomness import derive
from lacuna.unlearning.base import EditUnlearner, RunOptions, register

# the published constants: largest 1/F, of the classifier, variance of a forgotten class's row, last factor
CAP, CLASSIFIER_CAP, FORGOTTEN, WIDENED = 1e3, 1e2, 1e-4, 10.0
BATCH = 32


@register("ff")
@dataclass(frozen=True, kw_only=True)
class FisherForgetting(EditUnlearner):
    """Fisher forgetting: θ ← θ + N(0, v), v = α·min(1/(F + 1e-8), c); F: diagonal Fisher information of D_r at θ_o.

    F = E_x Σ_y p(y|x) (∂ log p(y|x)/∂θ)². c is 1e3, in the classifier 1e2. v is then averaged over the input channels
    that are not masked, and ten times as large in the classifier and in 1-D tensors. If D_f is the whole of one class,
    that class's rows of the classifier become N(0, 1e-3). Masked weights get no noise.
    alpha: α.
    variant: exact, F per sample; batch32, the square of the mean gradient of 32 samples, as the common code has it.
    labels: summed over all y as in F, one backward pass for each class; sampled, one y per image drawn from p(y|x):
    unbiased, noisier, so many times cheaper (exact only).
    Published values (CIFAR-10, ResNet-18): alpha 1e-9 to 3e-8, variant batch32. Here variant exact: F as it is defined.
    Cost: once the per-sample gradients of D_r, summed for every class, sampled for one; no steps.
    Source: Golatkar et al., CVPR 2020; constants of Jia et al., NeurIPS 2023.
    """

    reads: ClassVar[str] = "retain images and the labels of both"

    alpha: Positive = 3e-8
    variant: Literal["exact", "batch32"] = "exact"
    labels: Literal["summed", "sampled"] = "summed"

    def edit(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> None:
        fisher = self.fisher(model, data, run.seed, run.log)
        exists = unmasked(fisher, run.mask)
        mean, variance = self.noise(model, fisher, exists, whole_class(data))
        generator = torch.Generator().manual_seed(derive(run.seed, "ff", "noise"))
        with torch.no_grad():
            for name, parameter in trained(model).items():
                drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
                parameter.copy_(mean[name] + variance[name].sqrt() * drawn)

    def fisher(self, model: nn.Module, data: UnlearningData, seed: int, log: Log = None) -> Scores:
        """F by parameter."""
        if self.variant == "batch32":
            if self.labels == "sampled":
                raise LacunaError(f"{self.name}.labels: sampled is not allowed with variant batch32; allowed: summed")
            return squares_of_batches(model, data)
        if self.labels == "summed":
            return mean_squares(model, data, "retain", every_label, log)
        generator = torch.Generator().manual_seed(derive(seed, "ff", "labels"))
        uniform = torch.rand(len(data.index("retain")), 1, generator=generator, dtype=torch.float64)
        return mean_squares(model, data, "retain", partial(drawn_label, uniform.to(data.device)), log)

    def noise(
        self, model: nn.Module, fisher: Scores, exists: dict[str, Tensor], forgotten: int | None
    ) -> tuple[Scores, Scores]:
        """Mean and variance of the new parameters; exists: bool, false where masked (variance 0)."""
        head, _ = classifier(model)
        means, variances = {}, {}
        for name, parameter in trained(model).items():
            of_head = name.rpartition(".")[0] == head
            kept = exists[name]
            mean = parameter.detach() * kept
            variance = (1 / (fisher[name] + 1e-8)).clamp(max=CLASSIFIER_CAP if of_head else CAP) * self.alpha * kept
            if variance.dim() > 1:
                variance = variance.sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp_min(1) * kept
            if of_head and forgotten is not None:
                mean[forgotten], variance[forgotten] = 0.0, FORGOTTEN * kept[forgotten].to(variance)
            means[name] = mean
            variances[name] = variance * WIDENED if of_head or variance.dim() == 1 else variance
        return means, variances


def whole_class(data: UnlearningData) -> int | None:
    """The class whose training samples, all of them and nothing else, are D_f; None if there is no such class."""
    forgotten = data.labels[data.index("forget")].unique()
    if len(forgotten) == 1 and not bool((data.labels[data.index("retain")] == forgotten).any()):
        return int(forgotten)
    return None


def every_label(logits: Tensor, labels: Tensor, where: slice) -> Iterable[Tensor]:
    """√p(y|x) log p(y|x), √p constant for the gradient, for each y: their squared gradients add up to F."""
    log_p = log_softmax(logits, 1)
    return ((log_p.detach() / 2).exp() * log_p).unbind(1)


def drawn_label(uniform: Tensor, logits: Tensor, labels: Tensor, where: slice) -> list[Tensor]:
    """log p(y|x) of the y that each sample's uniform number in [0, 1) picks from p(y|x); uniform: [all samples, 1]."""
    log_p = log_softmax(logits, 1)
    up_to = log_p.detach().double().exp().cumsum(1)
    y = (up_to <= uniform[where] * up_to[:, -1:]).sum(1, keepdim=True).clamp(max=logits.shape[1] - 1)
    return [log_p.gather(1, y).squeeze(1)]


def squares_of_batches(model: nn.Module, data: UnlearningData) -> Scores:
    """The common code's F: the mean over batches of Σ_y mean_i p_i(y) (∂ mean_i log p_i(y)/∂θ)².

    Every batch weighs the same, so they are of nearly equal size: a short one's square would be mostly noise.
    """
    parameters, batches = trained(model), data.steps("retain", BATCH)
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    with evaluating(model):
        for x, _ in data.plain_batches("retain", BATCH, next(model.parameters()).dtype, equal=True):
            log_p = log_softmax(model(x), 1)
            for column in log_p.unbind(1):
                gradients = torch.autograd.grad(
                    column.mean(),
                    list(parameters.values()),
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
                for sum_so_far, gradient in zip(total.values(), gradients, strict=True):
                    sum_so_far += column.detach().exp().mean() * gradient.square() / batches
    return total
