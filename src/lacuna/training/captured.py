"""A training step as one CUDA graph for each size of batch; whatever cannot be captured stays eager, and says why."""

from __future__ import annotations

import contextlib
import copy
import random
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lacuna.data.batches import Draw

Draws = Mapping[str, Draw]
_NONE = object()
_STREAMS: dict[torch.device, torch.cuda.Stream] = {}
# eager steps of a size before its capture: kernels are chosen and momentum exists by then
_WARM = 2
# sizes of batches that are worth a graph each; a pass has two, and its streams meet in few pairs
_MOST = 4


class Graph(Protocol):
    """Records what a step does on the device, and does it again on the same memory."""

    def capture(self, body: Callable[[], Tensor], generators: Sequence[torch.Generator]) -> Tensor:
        """Record `body` without running it; what it returns is filled at each replay. Draws come of `generators`."""
        ...

    def replay(self) -> None: ...


class CudaGraph:
    """`torch.cuda.CUDAGraph`, recorded on the current stream, which must not be the default one."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()

    def capture(self, body: Callable[[], Tensor], generators: Sequence[torch.Generator]) -> Tensor:
        for generator in generators:
            self.graph.register_generator_state(generator)
        stream = torch.cuda.current_stream()
        with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
            return body()

    def replay(self) -> None:
        self.graph.replay()


class Counted(Protocol):
    """What counts passes; a replay runs no Python that could."""

    forwards: int
    backwards: int
    samples: int


class Captured:
    """Takes training steps: eager ones at first, then replays of a graph for each size of batch.

    model: the network that `body` trains.
    body: assembles the batches of `draws`, derives the loss and moves the weights at the rate `lr`; returns the loss.
    noise: starts the streams of what the network draws by itself. generators: of the draws, by stream.
    state: all tensors that a step changes, in groups: parameters, buffers, momentum. counted: what counts passes.
    tolerance: ‖graph − eager‖ / ‖eager − before‖ in each group up to which one step each is taken for the same.

    Before its first replay a graph is tried on the batch in hand: it and an eager step start from the same state, and
    unless both arrive at the same one, all steps stay eager. `refused` is the reason, or None. Numbers that a network
    keeps in its attributes are watched; what it keeps in lists or objects is seen where a step comes out otherwise.
    """

    def __init__(
        self,
        model: nn.Module,
        body: Callable[[Draws, float | Tensor], Tensor],
        noise: Callable[[], None],
        generators: Mapping[str, torch.Generator],
        state: Callable[[], list[list[Tensor]]],
        counted: Counted,
        tolerance: float,
    ):
        self.model, self.body, self.noise, self.generators, self.state = model, body, noise, generators, state
        self.counted, self.tolerance = counted, tolerance
        self.refused: str | None = None
        self.replays = 0
        self._places: list[int] = []
        self._more = False
        self._seen: Counter[tuple[tuple[str, int], ...]] = Counter()
        self._graphs: dict[tuple[tuple[str, int], ...], _Recorded] = {}

    def take(self, draws: Draws, lr: float) -> Tensor:
        """One step; the loss, which the next step may overwrite."""
        key = tuple((stream, len(draw.rows)) for stream, draw in draws.items())
        if (recorded := self._graphs.get(key)) is not None:
            self.replays += 1
            return self._replayed(recorded, draws, lr)
        self._seen[key] += 1
        if self.refused is None and self._seen[key] > _WARM:
            if len(self._graphs) < _MOST:
                return self._tried(key, draws, lr)
            self._more = True
        return self._eager(draws, lr)

    def forget(self) -> None:
        """Drop all graphs, and the memory that they hold."""
        self._graphs.clear()
        self._seen.clear()

    def begin_epoch(self) -> None:
        """Drop graphs whose state lies elsewhere by now: somebody gave a parameter or a buffer other memory."""
        if self._graphs and self._lie_at() != self._places:
            self.forget()

    def why(self) -> str:
        """Why steps were eager that need not be, or nothing."""
        if self.refused is not None:
            return self.refused
        if not self.replays:
            return "no size of batch came often enough"
        return f"{_MOST} sizes of batch have a graph, the others are eager" if self._more else ""

    def _lie_at(self) -> list[int]:
        return [tensor.data_ptr() for group in self.state() for tensor in group]

    def _started(self, draws: Draws) -> None:
        for stream, draw in draws.items():
            self.generators[stream].manual_seed(draw.seed)
        self.noise()

    def _eager(self, draws: Draws, lr: float) -> Tensor:
        self._started(draws)
        return self.body(draws, lr)

    def _replayed(self, recorded: _Recorded, draws: Draws, lr: float) -> Tensor:
        self._started(draws)
        recorded.filled(draws, lr)
        recorded.graph.replay()
        for name, more in recorded.passes.items():
            setattr(self.counted, name, getattr(self.counted, name) + more)
        return recorded.loss

    def _tried(self, key: tuple[tuple[str, int], ...], draws: Draws, lr: float) -> Tensor:
        """Record a graph, and compare one replay with the eager step, which counts."""
        before = self._passes()
        groups = self.state()
        state = [tensor for group in groups for tensor in group]
        start = [t.clone() for t in state]
        try:
            recorded = self._recorded(draws, lr)
        except Unfit as error:
            self._set_passes(before)
            _moved(state, start)
            return self._refuse(str(error), draws, lr)
        except Exception as error:  # whatever a network or a loss does that no graph can hold
            self._set_passes(before)
            _moved(state, start)
            self._graphs.clear()  # they know the generators as they were
            _renewed(self.generators)
            return self._refuse(f"{type(error).__name__}: {error}".partition("\n")[0][:200], draws, lr)
        _moved(state, start)
        loss = self._replayed(recorded, draws, lr).clone()
        replayed = [t.clone() for t in state]
        _moved(state, start)
        self._set_passes(before)
        expected = self._eager(draws, lr)
        apart = max(_apart(*some) for some in _grouped(groups, replayed, start))
        # an unequal loss alone would show in the weights of the next step
        if not apart <= self.tolerance or not torch.allclose(loss, expected, rtol=self.tolerance, atol=1e-6):
            self.refused = f"a captured step differs from the eager one by {apart:.2g} of its length"
            return expected
        self._graphs[key], self._places = recorded, self._lie_at()
        return expected

    def _refuse(self, reason: str, draws: Draws, lr: float) -> Tensor:
        self.refused = reason
        return self._eager(draws, lr)

    def _recorded(self, draws: Draws, lr: float) -> _Recorded:
        """A graph on memory of its own; raises Unfit where the host did something that a replay would not do."""
        device = next(iter(draws.values())).index.device
        still = {
            s: Draw(d.rows.clone(), d.index.clone(), d.forgotten.clone(), d.seed)  # the slots that replays read
            for s, d in draws.items()
        }
        # in the precision of the weights, as a number of Python's would be
        rate = torch.tensor(lr, dtype=self.state()[0][0].dtype, device=device)
        self._started(draws)
        before, streams, own = self._passes(), _host_streams(), _own_values(self.model)
        graph: Graph = CudaGraph()
        try:
            loss = graph.capture(lambda: self.body(still, rate), [self.generators[s] for s in draws])
        finally:
            counted = _put_back(own)
        if counted:
            raise Unfit(f"the network keeps '{counted}' beside its parameters and buffers")
        if _host_streams() != streams:
            raise Unfit("the network draws random numbers on the host")
        passes = {name: now - before[name] for name, now in self._passes().items()}
        self._set_passes(before)
        return _Recorded(graph, still, rate, loss, passes)

    def _passes(self) -> dict[str, int]:
        return {name: getattr(self.counted, name) for name in ("forwards", "backwards", "samples")}

    def _set_passes(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            setattr(self.counted, name, count)


class Unfit(Exception):
    """What a step does cannot be done again by a graph."""


class _Recorded:
    """A graph and the memory that it reads: the draws, the rate; and what one replay counts."""

    def __init__(self, graph: Graph, draws: Draws, rate: Tensor, loss: Tensor, passes: dict[str, int]):
        self.graph, self.draws, self.rate, self.loss, self.passes = graph, draws, rate, loss, passes

    def filled(self, draws: Draws, lr: float) -> None:
        for stream, draw in draws.items():
            slot = self.draws[stream]
            slot.rows.copy_(draw.rows)
            slot.index.copy_(draw.index)
            slot.forgotten.copy_(draw.forgotten)
        self.rate.fill_(lr)


def _own_values(model: nn.Module) -> list[tuple[nn.Module, dict[str, Any]]]:
    """The plain values that each module of a network keeps in its attributes."""
    plain = (bool, int, float, str, tuple, type(None))
    return [(m, {k: v for k, v in vars(m).items() if isinstance(v, plain)}) for m in model.modules()]


def _put_back(values: list[tuple[nn.Module, dict[str, Any]]]) -> str:
    """Give modules the values that they had; the name of one that had changed, if there is one."""
    changed = ""
    for module, before in values:
        now = dict(_own_values(module)[0][1])
        for name in [k for k in now.keys() | before.keys() if now.get(k, _NONE) is not before.get(k, _NONE)]:
            if name in before and name in now and now[name] == before[name]:
                continue
            changed = name
            if name in before:
                setattr(module, name, before[name])
            else:
                delattr(module, name)
    return changed


def _host_streams() -> tuple[Any, ...]:
    name, keys, place, *gauss = np.random.get_state()  # noqa: NPY002 the one that others draw from
    cpu = torch.default_generator.get_state().numpy().tobytes()
    return random.getstate(), name, np.asarray(keys).tobytes(), place, *gauss, cpu


def _renewed(generators: Mapping[str, torch.Generator]) -> None:
    """A capture that broke off leaves generators in its hands: they, and the device's own, get new states."""
    for generator in (*generators.values(), *(torch.cuda.default_generators if torch.cuda.is_initialized() else ())):
        if generator.device.type == "cuda":
            generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())


@torch.no_grad()
def _moved(state: list[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(state, values, strict=True):
        tensor.copy_(value)


def _grouped(
    groups: list[list[Tensor]], found: list[Tensor], start: list[Tensor]
) -> Iterator[tuple[list[Tensor], list[Tensor], list[Tensor]]]:
    """What a graph made of each group, what the eager step made of it, and what it was."""
    at = 0
    for group in groups:
        yield found[at : at + len(group)], group, start[at : at + len(group)]
        at += len(group)


def _apart(found: list[Tensor], expected: list[Tensor], start: list[Tensor]) -> float:
    """‖found − expected‖ / ‖expected − start‖ over tensors of floats; others must be equal, or it is infinite.

    Differences within a few units in the last place of the numbers themselves are none.
    """
    far = moved = size = 0.0
    last_place = 0.0
    for a, b, origin in zip(found, expected, start, strict=True):
        if not a.is_floating_point():
            if not torch.equal(a, b):
                return float("inf")
            continue
        last_place = max(last_place, torch.finfo(b.dtype).eps)
        far += float((a.double() - b.double()).square().sum())
        moved += float((b.double() - origin.double()).square().sum())
        size += float(b.double().square().sum())
    beyond = far**0.5 - 4 * last_place * size**0.5
    if not beyond > 0:
        return 0.0 if far == far else float("inf")
    return beyond / moved**0.5 if moved else float("inf")


class _Forward:
    """A network's forward pass by another function; a copy of the network has its own class's again."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]):
        self.model, self.function = model, function

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self.function(*inputs, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return types.MethodType(type(self.model).forward, copy.deepcopy(self.model, memo))


class Compiled:
    """The forward pass of a network by torch.compile while this is open; hooks stay outside of it.

    `refused`: why the passes are eager after all, or None.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.refused: str | None = None

    def __enter__(self) -> Compiled:
        self._own = vars(self.model).get("forward")
        eager = self.model.forward
        fast = torch.compile(eager)

        def forward(*inputs: Any, **named: Any) -> Any:
            if self.refused is None:
                try:
                    return fast(*inputs, **named)
                except Exception as error:  # whatever the compiler lacks; what is wrong with the network comes again
                    self.refused = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
            return eager(*inputs, **named)

        self.model.forward = _Forward(self.model, forward)
        return self

    def __exit__(self, *error: object) -> None:
        del self.model.forward  # the class's again
        if self._own is not None:
            self.model.forward = self._own


@contextlib.contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """A CUDA stream beside the default one, on which nothing can be recorded, in order with what runs around it."""
    if device.type != "cuda":
        yield
        return
    # one for all runs: freed memory is used again on its own stream alone
    outer, own = torch.cuda.current_stream(device), _STREAMS.setdefault(device, torch.cuda.Stream(device))
    own.wait_stream(outer)
    try:
        with torch.cuda.stream(own):
            yield
    finally:
        outer.wait_stream(own)
