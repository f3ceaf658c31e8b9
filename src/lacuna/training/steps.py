"""The step of a run: its batches, its loss, its gradient, its weights; and how it is executed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, Draw, UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.modes import autocasts
from lacuna.training.captured import Captured, Compiled
from lacuna.training.counting import PassCounter
from lacuna.training.objective import STREAMS, Objective
from lacuna.training.sgd import Sgd
from lacuna.training.state import LoopState, seed_noise

# runs of fewer steps end before a graph has paid for itself
_WORTH = 50


class Steps:
    """The step of a run, and how it is executed."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        data: UnlearningData,
        optimizer: Sgd,
        work: LoopState,
        name: str,
    ):
        self.model, self.objective, self.data = model, objective, data
        self.optimizer, self.work, self.name = optimizer, work, name
        self.dtype = next(model.parameters()).dtype
        self.generators = {s: torch.Generator(data.device) for s in objective.streams}
        self.hooked = type(objective).after_step is not Objective.after_step
        self.captured: Captured | None = None
        self.compiled: Compiled | None = None
        self.why = ""

    def execution(self, passes: PassCounter, steps: int) -> Callable[[Mapping[str, Draw], float], Tensor]:
        """The function that takes a step; steps: how many there will be."""
        asked = self.objective.execution
        if self._on_gpu():  # kernels are tried where their shapes come again
            torch.backends.cudnn.benchmark = steps >= _WORTH
        if asked == "compiled" and not self._on_gpu():
            self.why = "the forward pass is compiled on a GPU alone"
        if asked in ("eager", "compiled") or (asked == "auto" and not self._on_gpu()):
            return self._eager
        if reason := self._reason(steps):
            self.why = reason
            return self._eager
        exact = not autocasts(self.objective.precision, self.work.device)
        self.captured = Captured(
            self.model,
            self._body,
            lambda: seed_noise(self.work),
            self.generators,
            self._state,
            passes,
            0.01 if exact else 0.1,
        )
        return self.captured.take

    def _on_gpu(self) -> bool:
        return self.work.device.type == "cuda"

    def _reason(self, steps: int) -> str:
        """Why no graph can hold this step; empty if one may."""
        method = type(self.objective)
        if not self._on_gpu():
            return "there is no CUDA graph on a CPU"
        if method.backward is not Objective.backward:
            return "the method derives its loss itself"
        if self.hooked:
            return "the method has a hook after each step"
        if other := [name for name in method._wants if name not in STREAMS]:
            return f"the loss reads {' and '.join(other)}, which a graph would keep as at its capture"
        if steps < _WORTH and self.objective.execution == "auto":
            return f"fewer than {_WORTH} steps"
        images = self.data.images
        if not isinstance(getattr(images, "images", images), Tensor):
            return "the images come from the host"
        return ""

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """The network's forward pass, compiled if that is asked for."""
        try:
            if self.objective.execution == "compiled" and self._on_gpu():
                with Compiled(self.model) as self.compiled:
                    yield
            else:
                yield
        finally:
            if self.captured is not None:
                self.captured.forget()

    def begin_epoch(self) -> None:
        """What ran between two epochs may have moved the state."""
        if self.captured is not None:
            self.captured.begin_epoch()

    def told(self) -> tuple[str, str]:
        """How the steps ran, and why not as asked for."""
        if self.compiled is not None:
            return ("eager", self.compiled.refused) if self.compiled.refused else ("compiled", "")
        if self.captured is None:
            return "eager", self.why
        return ("captured" if self.captured.replays else "eager"), self.captured.why()

    def _eager(self, draws: Mapping[str, Draw], lr: float) -> Tensor:
        for stream, draw in draws.items():
            self.generators[stream].manual_seed(draw.seed)
        seed_noise(self.work)
        return self._body(draws, lr)

    def _body(self, draws: Mapping[str, Draw], lr: float | Tensor) -> Tensor:
        """Batches, loss, gradient, weights; what draws starts at the step's own streams."""
        batches = {s: self.data.assembled(d, self.dtype, self.generators[s]) for s, d in draws.items()}
        self.optimizer.zero_grad()
        with _named_single_samples(self.objective, batches, self.name):
            loss = self.objective.backward(self.model, batches, self.work)
        self.optimizer.step(lr)
        if self.hooked:
            self.objective.after_step(self.model, batches, self.work)
            self.optimizer.enforce()
        return loss

    def _state(self) -> list[list[Tensor]]:
        parameters = [p.data for p in self.model.parameters()]
        return [parameters, list(self.model.buffers()), list(self.optimizer.momentum.values())]


@contextlib.contextmanager
def _named_single_samples(objective: Objective, batches: Mapping[str, Batch], name: str) -> Iterator[None]:
    """Batch norm cannot normalise one sample on maps of 1×1: said by the key that helps."""
    try:
        yield
    except ValueError as error:
        alone = [stream for stream, batch in batches.items() if len(batch.y) == 1]
        if not alone or "more than 1 value per channel" not in str(error):
            raise
        why = f"batch_size is {objective.batch_size}" if objective.batch_size == 1 else f"'{alone[0]}' has one sample"
        frozen = "batchnorm: frozen, or " if any(f.name == "batchnorm" for f in dataclasses.fields(objective)) else ""
        raise LacunaError(
            f"{name}: {why}, and batch norm in training has no variance of one sample where its maps are 1×1; "
            f"allowed: {frozen}batches of at least 2 samples"
        ) from None
