"""lacuna subset: a small version of an ingested dataset, as an npz file that `method: npz` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lacuna.artifacts.files import read_json, read_tensors
from lacuna.artifacts.writing import atomic
from lacuna.commands.base import Command
from lacuna.errors import LacunaError
from lacuna.randomness import numpy_generator
from lacuna.registry import register


@register("subset", group="keep")
class Subset(Command):
    """Write a small version of an ingested dataset.

    Draws equally many images of each class, of the finer labels where the dataset has some, and writes them to an npz
    file that an experiment reads with `method: npz`. The same call draws the same images everywhere.

    Example: lacuna subset results/data/cifar10 data/small.npz --train 1000 --test 500
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("dataset", type=Path, metavar="DATASET", help="a folder results/data/<dataset>")
        parser.add_argument("path", type=Path, metavar="FILE", help="the npz file to write")
        parser.add_argument("--train", type=int, default=5000, metavar="N", help="training images (default 5000)")
        parser.add_argument("--test", type=int, default=2000, metavar="N", help="test images (default 2000)")

    def run(self, options: argparse.Namespace) -> int:
        subset(options.dataset, options.path, options.train, options.test)
        print(f"{options.path}: {options.train} training and {options.test} test images")
        return 0


def subset(dataset: str | Path, path: str | Path, train: int, test: int) -> None:
    """Write `train` training and `test` test images, equally many of each class, to the npz file `path`.

    dataset: a folder results/data/<dataset>; where it has finer labels, their classes count. Images are uint8
    [n, h, w, channels] in the order of the dataset. Which ones is drawn by the dataset's content alone: the same call
    gives the same images everywhere.

    Raises LacunaError if the folder is none, or the numbers cannot be divided among the classes.
    """
    folder = Path(dataset)
    if not (folder / "meta.json").is_file():
        raise LacunaError(f"{folder}: no meta.json there; allowed: a folder of results/data")
    meta = read_json(folder / "meta.json")
    stored, _ = read_tensors(folder / "images.safetensors", "images", mapped=True)
    finest = stored.get("fine", stored["y"])
    arrays = {}
    for part, count, first, end in (
        ("train", train, 0, meta["train"]),
        ("test", test, meta["train"], len(stored["y"])),
    ):
        chosen = first + _drawn(finest[first:end], int(finest.max()) + 1, count, part, meta["sha256"])
        arrays[f"x_{part}"] = np.ascontiguousarray(stored["x"][chosen].transpose(0, 2, 3, 1))
        arrays[f"y_{part}"] = stored["y"][chosen]
        if "fine" in stored:
            arrays[f"fine_{part}"] = stored["fine"][chosen]
    try:
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise LacunaError(f"{path}: cannot be written ({error.strerror}); allowed: a file that can be made") from None


def _drawn(y: np.ndarray, classes: int, count: int, part: str, content: str) -> np.ndarray:
    """Sorted positions of `count` labels, equally many of each class."""
    fewest = int(np.bincount(y, minlength=classes).min())
    if count < classes or count % classes or count // classes > fewest:
        raise LacunaError(
            f"--{part}: {count} is not allowed; allowed: a multiple of {classes} (the classes) up to {classes * fewest}"
        )
    rng = numpy_generator("subset", part, content)
    each = [rng.permutation(np.flatnonzero(y == k))[: count // classes] for k in range(classes)]
    return np.sort(np.concatenate(each))
