"""Training, evaluation and the data path against plain research code, on one thread of a CPU, in one run.

    python bench/speed.py [--images 1000] [--repeats 5] [--model resnet20] [--only train evaluate data predict]

Random images of CIFAR's size. Every way takes its turn, five times; a ratio is plain seconds by ours, the median of
the turns. `bench/naive.py` is the plain code: Pillow image by image, PyTorch's default layout, a forward pass for every
number, scikit-learn's SVC as it comes. Each code has a process of its own: lacuna's keeps the memory that it frees, as
its jobs do, the plain one is as Python starts it. Prints JSON: CPU seconds, ratios, and for training the share of the
rate that a convolution of this machine reaches at most (`bench/limits.py`).

  train     one epoch with crops and flips: plain, lacuna in fp32 and in bf16
  evaluate  a cell: four accuracies and the attack by five features; lacuna's include all its default metrics
  data      the batches of one epoch alone
  predict   logits in batches of 1,000 and in those that lacuna chooses
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import limits, naive
from bench.measure import cpu_seconds, machine, ratios, spread, taking_turns
from lacuna.artifacts.machine import keep_freed_memory
from lacuna.data.batches import Augment, UnlearningData
from lacuna.evaluation import Cell, evaluate
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.cost import macs
from lacuna.models.inference import logits
from lacuna.models.init import reinitialise
from lacuna.training.loop import fit
from lacuna.training.recipes import RECIPES

Ways = dict[str, Callable[[], object]]
BATCH = 128


class Subject:
    """A network and images, as both codes want them. A tenth of the images is forgotten, an eighth more never seen."""

    def __init__(self, name: str, images: int):
        rng = np.random.default_rng(0)
        self.n = images
        sizes = {"forget": images // 10, "retain": images - images // 10, "val": images // 8, "test": images // 8}
        total = sum(sizes.values())
        self.x = rng.integers(0, 256, (total, 3, 32, 32), dtype=np.uint8)
        self.y = rng.integers(0, 10, total)
        ends = np.cumsum(list(sizes.values()))
        self.index = {part: np.arange(end - size, end) for (part, size), end in zip(sizes.items(), ends, strict=True)}
        self.parts = {part: (self.x[rows], self.y[rows]) for part, rows in self.index.items()}
        self.model = build(MODELS[name], {}).build(10, 3)
        reinitialise(self.model, 0)
        self.plain = copy.deepcopy(self.model).to(memory_format=torch.contiguous_format)
        self.data = self._data({part: self.index[part] for part in self.index})
        # an epoch of either code goes over the same images
        self.whole = self._data({"retain": np.arange(images)})

    def _data(self, parts: dict[str, np.ndarray]) -> UnlearningData:
        tensors = {part: torch.from_numpy(rows) for part, rows in parts.items()}
        images, labels = torch.from_numpy(self.x), torch.from_numpy(self.y)
        return UnlearningData(images, labels, tensors, 10, naive.MEAN, naive.STD, augment=Augment(4, True))


def train(subject: Subject) -> Ways:
    def ours(precision: str) -> Callable[[], object]:
        recipe = build(
            RECIPES["sgd"],
            {"epochs": 1, "batch_size": BATCH, "schedule": "constant", "rewind_epoch": 0, "precision": precision},
        )
        return lambda: fit(subject.model, recipe, subject.whole, seed=0)

    images, labels = subject.x[: subject.n], subject.y[: subject.n]
    return {
        "plain": lambda: naive.train_epoch(subject.plain, images, labels, BATCH),
        "fp32": ours("fp32"),
        "bf16": ours("bf16"),
    }


def evaluation(subject: Subject) -> Ways:
    def ours() -> object:
        parts = {part: (logits(subject.model, subject.data, part).numpy(), y) for part, (_, y) in subject.parts.items()}
        return evaluate(Cell.of(**parts))

    return {"plain": lambda: naive.evaluate(subject.plain, subject.parts), "lacuna": ours}


def data(subject: Subject) -> Ways:
    images, labels = subject.x[: subject.n], subject.y[: subject.n]

    def ours() -> None:
        generator = torch.Generator()
        for draw in subject.whole.draws("retain", BATCH, 0, 0):
            subject.whole.assembled(draw, torch.float32, generator.manual_seed(draw.seed))

    return {"plain": lambda: list(naive.batches(images, labels, BATCH, augmented=True)), "lacuna": ours}


def predict(subject: Subject) -> Ways:
    return {
        "batches of 1,000": lambda: logits(subject.model, subject.whole, "retain", 1000),
        "lacuna": lambda: logits(subject.model, subject.whole, "retain"),
    }


PARTS: dict[str, Callable[[Subject], Ways]] = {"train": train, "evaluate": evaluation, "data": data, "predict": predict}


def share(model: nn.Module, images: int, seconds: float, ceiling: float) -> float:
    """Of the ceiling in GFLOP/s, what an epoch reaches: a backward pass costs two forward passes."""
    return round(2 * 3 * macs(model, (3, 32, 32)) * images / seconds / 1e9 / ceiling, 2)


def serve(calls: Connection, name: str, images: int, keep: bool) -> None:
    """Of each part and way that is asked for, take a turn and answer its CPU seconds; the names of a part's ways first.

    keep: the memory that is freed, as jobs of lacuna do. None ends it.
    """
    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    subject = Subject(name, images)
    ways: dict[str, Ways] = {}
    while (asked := calls.recv()) is not None:
        part, way = asked
        ways.setdefault(part, PARTS[part](subject))
        calls.send(list(ways[part]) if way is None else cpu_seconds(ways[part][way]))


@contextlib.contextmanager
def process(name: str, images: int, keep: bool) -> Iterator[Callable[[str, str | None], Any]]:
    """A process that takes turns, as a function of part and way; see `serve`."""
    fresh = multiprocessing.get_context("spawn")
    ours, theirs = fresh.Pipe()
    worker = fresh.Process(target=serve, args=(theirs, name, images, keep), daemon=True)
    worker.start()
    theirs.close()

    def ask(part: str, way: str | None) -> Any:
        ours.send((part, way))
        return ours.recv()

    yield ask
    ours.send(None)
    worker.join()


def measured(plain: Callable[..., Any], ours: Callable[..., Any], part: str, repeats: int) -> dict[str, Any]:
    names = ours(part, None)
    ways = {way: functools.partial(plain if way == "plain" else ours, part, way) for way in names}
    taken = taking_turns(ways, repeats, seconds=lambda turn: turn())
    told: dict[str, Any] = {"seconds": {name: spread(values) for name, values in taken.items()}}
    told["times as fast"] = ratios(taken, names[0])
    return told


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--model", default="resnet20")
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    of = chosen.model, chosen.images
    with process(*of, keep=False) as plain, process(*of, keep=True) as ours:
        found = {part: measured(plain, ours, part, chosen.repeats) for part in chosen.only}
    ceilings = limits.limits()
    if "train" in found:
        network = build(MODELS[chosen.model], {}).build(10, 3)
        found["train"]["share of the convolution's rate"] = {
            name: share(network, chosen.images, values["median"], ceilings[f"convolution, {_kind(name)}, GFLOP/s"])
            for name, values in found["train"]["seconds"].items()
        }
    about = {"machine": machine(), "limits": ceilings, "model": chosen.model, "images": chosen.images}
    print(json.dumps(about | {"repeats": chosen.repeats, "parts": found}, indent=1))


def _kind(way: str) -> str:
    return "bf16" if way == "bf16" else "fp32"


if __name__ == "__main__":
    main()
