"""What a dataset gives: checked uint8 images and labels."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lacuna.artifacts.files import Rows, blocks_of, write_rows
from lacuna.data.backdoor import Backdoor
from lacuna.data.user_files import content_of_files
from lacuna.errors import LacunaError
from lacuna.randomness import numpy_generator

if TYPE_CHECKING:
    from lacuna.artifacts.contents import Meta

# what computing in single precision may add to 0 or 1
_ROUNDING = 1e-6


@dataclass(frozen=True)
class LazyImages:
    """Images that are read when their rows are asked for: uint8 [n, channels, height, width].

    read: the image of an index, uint8 [channels, height, width]. each: `map`, or that of a pool of threads.
    """

    shape: tuple[int, ...]
    read: Callable[[int], np.ndarray]
    each: Callable[..., Iterable[np.ndarray]] = map
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.stack(list(self.each(self.read, range(*rows.indices(self.shape[0])))))


@dataclass(frozen=True)
class Images:
    """A dataset: the training images first, then the test images.

    x: uint8 [n, channels, height, width], an array or `LazyImages`; y: int64 [n] in 0..classes-1; the first `train` of
    them are for training. fine: int64 [n], the labels of a second, finer level, where there is one. names: of the
    classes, where they are known. notes: lines for a log, once all images are read: what was left out.
    """

    x: np.ndarray | LazyImages
    y: np.ndarray
    train: int
    classes: int
    fine: np.ndarray | None = None
    names: tuple[str, ...] = ()
    notes: Callable[[], list[str]] = list

    def remarks(self) -> list[str]:
        """`notes`, and what a user may not know of the labels."""
        untested = np.setdiff1d(np.arange(self.classes), self.y[self.train :])
        named = [self.names[k] if self.names else str(k) for k in untested[:3]]
        lines = [f"no test image of {len(untested)} classes, such as {', '.join(named)}"] if named else []
        return [*self.notes(), *lines]

    def meta(self) -> Meta:
        """Classes, sizes, per-channel mean and std of the training images in [0, 1], and the SHA-256 of the content."""
        levels, digest = self._levels(), hashlib.sha256()
        for block in blocks_of(self._arrays(self.x), digest):
            self._count(levels, *block)
        return self._meta(levels, digest.hexdigest())

    def write(self, path: str | Path, threads: int = 1) -> Meta:
        """Write `images.safetensors` and give the meta, in one pass that never holds all images.

        threads: how many read `LazyImages`. Raises LacunaError naming an image that is not usable, or
        where all training images are of one colour; then there is no file.
        """
        levels = self._levels()
        with ThreadPoolExecutor(threads) as pool:
            x = dataclasses.replace(self.x, each=pool.map) if isinstance(self.x, LazyImages) else self.x
            digest = write_rows(path, "images", self._arrays(x), functools.partial(self._count, levels))
        if (np.count_nonzero(levels, axis=1) == 1).all():
            Path(path).unlink()
            raise LacunaError(
                "the pixels of all training images have the same value; allowed: images that differ from each other"
            )
        return self._meta(levels, digest)

    def _arrays(self, x: np.ndarray | LazyImages) -> dict[str, Rows]:
        return {"x": x, "y": self.y} | ({"fine": self.fine} if self.fine is not None else {})

    def _levels(self) -> np.ndarray:
        """How often each of the 256 levels occurs in each channel of the training images."""
        return np.zeros((self.x.shape[1], 256), dtype=np.int64)

    def _count(self, levels: np.ndarray, name: str, start: int, block: np.ndarray) -> None:
        if name == "x":
            for c, counts in enumerate(levels):
                counts += np.bincount(block[: max(0, self.train - start), c].reshape(-1), minlength=256)

    def _meta(self, levels: np.ndarray, digest: str) -> Meta:
        scale = np.arange(256) / 255
        mean = [float(n @ scale / n.sum()) for n in levels]
        std = [float(np.sqrt(n @ (scale - m) ** 2 / n.sum())) for n, m in zip(levels, mean, strict=True)]
        meta: Meta = {
            "classes": self.classes,
            "train": self.train,
            "test": len(self.y) - self.train,
            "shape": list(self.x.shape[1:]),
            "mean": mean,
            # a constant channel carries nothing; 1 keeps it finite
            "std": [s if s > 0 else 1.0 for s in std],
            "sha256": digest,
        }
        if self.fine is not None:
            meta["fine"] = int(self.fine.max()) + 1
        if self.names:
            # a folder's name need not be text
            meta["class_names"] = [name.encode(errors="backslashreplace").decode() for name in self.names]
        return meta


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset: its options are dataclass fields; subclasses say what it holds and load it.

    backdoor: the images as they are loaded are clean; each seed poisons its own share of them.
    """

    backdoor: Backdoor | None = None

    def files(self) -> list[Path]:
        """The user's files that it reads (none for an embedded or a downloaded dataset)."""
        return []

    def content(self) -> str:
        """A digest by which a change of the user's files is noticed; empty where it reads none. Never raises.

        Of those in `files` it is that of their content; of a folder with too many, of names, sizes and times.
        """
        return content_of_files(self.files())

    def classes(self) -> int:
        """The number of classes, known before anything is loaded into the pipeline.

        Raises LacunaError if the user's files are not usable.
        """
        raise NotImplementedError

    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of the images, known as `classes` is."""
        raise NotImplementedError

    def fine(self) -> int:
        """The number of classes of a second, finer level of labels; 0: it has none. Known as `classes` is."""
        return 0

    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of their labels; empty where they have none. Known as `classes` is."""
        return ()

    def class_sizes(self) -> tuple[int, ...]:
        """The number of training images of each class, once `classes` is known; empty where it takes loading them."""
        return ()

    def load(self) -> Images:
        """The images. Raises LacunaError if the user's files are not usable."""
        raise NotImplementedError


def fixed_test(y: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and test indices of a dataset that comes undivided: the same stratified fifth for testing in every seed.

    y: int64 [n] labels; name: of the dataset, which names the random stream. Returns sorted int64 arrays.
    """
    rng = numpy_generator(name, "test")
    groups = [rng.permutation(np.flatnonzero(y == k)) for k in range(int(y.max()) + 1)]
    test = np.sort(np.concatenate([g[: round(0.2 * len(g))] for g in groups]))
    return np.setdiff1d(np.arange(len(y)), test), test


def label_form(y: np.ndarray, where: str, n: int) -> None:
    """Refuse labels of another shape or type than whole numbers [n]; looks at no value."""
    if y.ndim != 1 or len(y) != n:
        hint = "; one-hot rows or a column must become class numbers" if y.ndim == 2 and len(y) == n else ""
        raise LacunaError(f"{where}: shape {y.shape} is not allowed; allowed: ({n},), one label for each image{hint}")
    if y.dtype.kind not in "iu":  # to NumPy a time span is an integer too
        raise LacunaError(f"{where}: type {y.dtype} is not allowed; allowed: whole numbers (any integer type)")


def checked_labels(y: np.ndarray, where: str, n: int, classes: int | None = None) -> np.ndarray:
    """Labels as int64 [n] in 0..classes-1, or LacunaError naming `where` and what is wrong."""
    label_form(y, where, n)
    if n and (low := int(y.min())) < 0:
        raise LacunaError(f"{where}: label {low} is out of range; allowed: 0 to classes - 1")
    if n and classes is not None and (high := int(y.max())) >= classes:
        raise LacunaError(f"{where}: label {high} is out of range; allowed: 0 to {classes - 1} ({classes} classes)")
    return y.astype(np.int64)


def image_form(x: np.ndarray, where: str, layout: str) -> np.ndarray:
    """Images as a view [n, channels, height, width] of uint8 or floats, or LacunaError; looks at no value.

    Takes [n, h, w], or a 1- or 3-channel `layout`.
    """
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4:
        last, first = x.shape[3] in (1, 3), x.shape[1] in (1, 3)
        if layout == "nhwc" or (layout == "auto" and last and not first):
            x = x.transpose(0, 3, 1, 2)
        elif layout == "auto" and last and first:
            raise LacunaError(f"{where}: shape {x.shape} may be NHWC or NCHW; set layout: nhwc or layout: nchw")
    if x.ndim != 4 or x.shape[1] not in (1, 3) or 0 in x.shape:
        raise LacunaError(
            f"{where}: shape {x.shape} is not allowed; "
            "allowed: (n, height, width), (n, height, width, 1 or 3) or (n, 1 or 3, height, width), none of them 0"
        )
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise LacunaError(f"{where}: type {x.dtype} is not allowed; allowed: uint8, or floats in [0, 1]")
    return x


def checked_images(x: np.ndarray, where: str, layout: str) -> np.ndarray:
    """Images as uint8 [n, channels, height, width], or LacunaError naming `where` and what is wrong.

    Takes uint8, or floats in [0, 1], which are stored as round(255 x); the shapes of `image_form`.
    """
    x = image_form(x, where, layout)
    if x.dtype == np.uint8:
        return np.ascontiguousarray(x)
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).reshape(len(x), -1).any(1).argmax())
        raise LacunaError(f"{where}: image {bad} holds NaN or infinity; allowed: floats in [0, 1], or uint8")
    low, high = float(x.min()), float(x.max())
    if outside(low, high):
        raise LacunaError(
            f"{where}: values from {exact(low)} to {exact(high)} are not allowed; allowed: floats in [0, 1], or uint8"
        )
    # 16-bit floats have no 255 steps near 1
    x = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    levels = np.ascontiguousarray(np.rint(x * 255).astype(np.uint8))  # rounding takes a hair beside the range away
    if int(levels.max()) - int(levels.min()) <= 1 and low < high and ((x != low) & (x != high)).any():
        raise LacunaError(
            f"{where}: floats from {exact(low)} to {exact(high)} are not allowed, as 8 bits leave two of their values "
            "or one; allowed: floats that fill [0, 1], or uint8 (were they divided by 255 twice?)"
        )
    return levels


def outside(low: float, high: float) -> bool:
    """Whether values from `low` to `high` leave [0, 1] by more than rounding."""
    return low < -_ROUNDING or high > 1 + _ROUNDING


def exact(value: float) -> str:
    """A number as short as may be, and with all digits where fewer would move it into [0, 1]."""
    short = f"{value:g}"
    return short if (0 <= float(short) <= 1) == (0 <= value <= 1) else repr(value)
