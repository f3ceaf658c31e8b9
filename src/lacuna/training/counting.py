"""Counts passes through a network and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class PassCounter:
    """Counts what goes through a network and back while it is open, its copies (teachers) included.

    samples: rows of the forward passes. A backward pass is a gradient that arrives at an output: one forward pass from
    which two losses are derived apart counts two.
    Each pass gets images of its own: a network that writes into its input changes nobody else's, nor its next pass's.
    """

    def __init__(self, model: nn.Module):
        self.forwards = self.backwards = self.samples = 0
        self.open = True
        self._handles = [model.register_forward_pre_hook(self._own), model.register_forward_hook(self)]

    def _own(self, model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return tuple(x.clone() if isinstance(x, Tensor) else x for x in inputs) if self.open else None

    def __call__(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.open:
            self.forwards += 1
            # under vmap one tensor stands for as many as there are samples
            self.samples += len(inputs[0]) * (_all(inputs[0]).numel() // max(1, inputs[0].numel()))
            if isinstance(output, Tensor) and _all(output).requires_grad:
                _all(output).register_hook(self._backward)

    def _backward(self, gradient: Tensor) -> None:
        self.backwards += self.open

    def __deepcopy__(self, memo: dict[int, Any]) -> PassCounter:
        return self  # a copy of the network counts with it

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is not counted."""
        self.open = False
        try:
            yield
        finally:
            self.open = True

    def __enter__(self) -> PassCounter:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self.open = False


def _all(x: Tensor) -> Tensor:
    while torch._C._functorch.is_batchedtensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x
