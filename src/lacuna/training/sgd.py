"""SGD that keeps masked weights at zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Sgd:
    """SGD with momentum and weight decay: v ← μv + (g + wd·θ), θ ← θ − lr·v (v starts at the first gradient).

    Written out here because torch.optim loads the compiler when it is first used, which costs every short job
    more than its training; and because this is the place where a mask must hold.
    """

    def __init__(self, parameters: list[nn.Parameter], momentum: float, weight_decay: float):
        self.parameters, self.mu, self.weight_decay = parameters, momentum, weight_decay
        self.momentum: dict[Tensor, Tensor] = {}
        self._masked: list[tuple[nn.Parameter, Tensor]] = []
        self._frozen: list[tuple[Tensor, Tensor, Tensor]] = []

    def mask_to_zero(self, pairs: list[tuple[nn.Parameter, Tensor]]) -> None:
        """Hold the weights and their momentum at exactly 0 where the 0/1 mask of a pair is 0, after every step."""
        self._masked = pairs

    def freeze(self, parameter: Tensor, movable: Tensor) -> None:
        """Hold the entries where the bool tensor is false at the value they have now, bit for bit, momentum at 0."""
        self._frozen.append((parameter, movable, parameter.detach().clone()))

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, lr: float | Tensor) -> None:
        """One step on the gradients in the parameters; lr as a tensor is read when the step runs, as a graph needs."""
        active: list[Tensor] = [p for p in self.parameters if p.grad is not None]
        if not active:
            self.enforce()  # a method may have moved the weights itself
            return
        update = [p.grad for p in active if p.grad is not None]
        if self.weight_decay:
            update = list(torch._foreach_add(update, active, alpha=self.weight_decay))
        if self.mu:
            known = [(p, u) for p, u in zip(active, update, strict=True) if p in self.momentum]
            if known:
                velocities = [self.momentum[p] for p, _ in known]
                torch._foreach_mul_(velocities, self.mu)
                torch._foreach_add_(velocities, [u for _, u in known])
            for p, u in zip(active, update, strict=True):
                if p not in self.momentum:
                    self.momentum[p] = u.clone()
            update = [self.momentum[p] for p in active]
        if isinstance(lr, Tensor):
            torch._foreach_sub_(active, torch._foreach_mul(update, lr))
        else:
            torch._foreach_add_(active, update, alpha=-lr)
        self.enforce()

    @torch.no_grad()
    def enforce(self) -> None:
        """Put masked and held entries where they belong."""
        for parameter, movable, anchor in self._frozen:
            parameter.copy_(torch.where(movable, parameter, anchor))
            if parameter in self.momentum:
                self.momentum[parameter].mul_(movable)
        if self._masked:
            masks = [keep for _, keep in self._masked]
            torch._foreach_mul_([weight for weight, _ in self._masked], masks)
            moving = [(self.momentum[w], keep) for w, keep in self._masked if w in self.momentum]
            if moving:
                torch._foreach_mul_([v for v, _ in moving], [keep for _, keep in moving])
