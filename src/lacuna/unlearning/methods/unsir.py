"""UNSIR: noise that stands for the forgotten class, then repair."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, Index, NonNegative, Positive
from lacuna.models.modes import evaluating
from lacuna.randomness import derive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner, register


@register("unsir")
@dataclass(frozen=True, kw_only=True)
class Unsir(LossUnlearner):
    """UNSIR: impair by SGD on ℓ(N ∪ D_sub), repair by SGD on ℓ(D_sub), N = argmin −ℓ(N, y_f) + λ mean_i ‖N_i‖².

    The images of noise are learnt on θ_o by Adam from N(0, 1), in normalised units and evaluation mode, under the label
    of the forgotten class; D_f itself is read for its label only. D_sub is a random part of D_r, the same in both
    phases. The published code steps the weights with Adam too; here the shared SGD does, at the same rates.
    lr: learning rate of the impair epochs.
    repair_lr: learning rate of the epochs after them.
    impair_epochs: how many of the epochs impair; the rest repair.
    retain_per_class: samples of each retained class in D_sub; 0: all of D_r.
    noise_samples: images of noise per forgotten class.
    noise_ratio: images of noise per retained image in an impair step.
    noise_lr: step size of Adam on the noise.
    noise_steps: steps of Adam on the noise (5 epochs of 8).
    noise_penalty: λ.
    Published values (CIFAR-10, ResNet-18): epochs 2, impair_epochs 1, lr 0.02, repair_lr 0.01, retain_per_class 1000,
    noise_samples 256, noise_ratio 0.57, noise_lr 0.1, noise_steps 40, noise_penalty 0.1. The ratio is that of 256
    images, each 20 times, to 9,000 retained ones.
    Cost: 1 forward, 1 backward a step; once noise_steps forwards and backwards of the noise.
    Source: Tarun et al., IEEE TNNLS 2024 (arXiv 2111.08947).
    """

    scenarios: ClassVar[tuple[str, ...] | None] = ("class",)

    epochs: Count = 2
    lr: Positive = 0.02
    repair_lr: Positive = 0.01
    impair_epochs: Count = 1
    retain_per_class: Index = 1000
    noise_samples: Count = 256
    noise_ratio: Positive = 0.57
    noise_lr: Positive = 0.1
    noise_steps: Count = 40
    noise_penalty: NonNegative = 0.1

    def lr_at(self, step: int, steps_per_epoch: int) -> float:
        lr = super().lr_at(step, steps_per_epoch)
        return lr if step // steps_per_epoch < self.impair_epochs else lr * self.repair_lr / self.lr

    def loss(self, model: nn.Module, retain: Batch, epoch: int, work: LoopState) -> Tensor:
        x, y = retain.x, retain.y
        if epoch < self.impair_epochs:
            noise, labels = work.memory["noise"]
            n = max(1, round(self.noise_ratio * len(y)))
            drawn = torch.randint(len(noise), (n,), generator=retain.generator, device=y.device)
            x = torch.cat([x, noise[drawn]]).contiguous(memory_format=torch.channels_last)
            y = torch.cat([y, labels[drawn]])
        return cross_entropy(model(x), y)

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        work.memory["noise"] = self.noise(model, data, work.seed)
        if not self.retain_per_class:
            return data
        return dataclasses.replace(data, parts={**data.parts, "retain": self.subset(data, work.seed)})

    def subset(self, data: UnlearningData, seed: int) -> Tensor:
        """Indices of D_sub, in the order of D_r."""
        retain = data.index("retain")
        generator = torch.Generator().manual_seed(derive(seed, "unsir", "subset"))
        shuffled = torch.randperm(len(retain), generator=generator).to(retain.device)
        labels = data.labels[retain[shuffled]]
        first = [shuffled[labels == c][: self.retain_per_class] for c in labels.unique()]
        return retain[torch.cat(first).sort().values]

    def noise(self, model: nn.Module, data: UnlearningData, seed: int) -> tuple[Tensor, Tensor]:
        """Images [n, channels, height, width] on which θ_o errs most, and the forgotten labels they bear."""
        labels = data.labels[data.index("forget")].unique().repeat_interleave(self.noise_samples)
        generator = torch.Generator().manual_seed(derive(seed, "unsir", "noise"))
        drawn = torch.randn(len(labels), *data.images.shape[1:], generator=generator)
        noise = drawn.to(next(model.parameters())).requires_grad_()
        first, second = torch.zeros_like(noise), torch.zeros_like(noise)
        with evaluating(model):
            for step in range(1, self.noise_steps + 1):
                size = noise.square().sum((1, 2, 3)).mean()
                loss = self.noise_penalty * size - cross_entropy(model(noise), labels)
                (gradient,) = torch.autograd.grad(loss, noise)
                with torch.no_grad():
                    # Adam with the usual 0.9, 0.999 and 1e-8
                    first.lerp_(gradient, 0.1)
                    second.lerp_(gradient.square(), 0.001)
                    root = (second / (1 - 0.999**step)).sqrt() + 1e-8
                    noise -= self.noise_lr / (1 - 0.9**step) * first / root
        return noise.detach(), labels
