"""The user's own images, one folder for each class."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lacuna.data.images import Dataset, Images
from lacuna.data.published import from_files
from lacuna.errors import LacunaError
from lacuna.fields import Count, Text
from lacuna.registry import register

_TEST = ("test", "val")


@register("image_folder")
@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Image files as ImageNet has them: root/train/<class>/ and root/test/<class>/ (or val/), at any depth below.

    root: the folder, relative to the working directory.
    size: pixels of each side; the shorter side is resized to it, and the middle cut out.
    Images of any kind become RGB. Classes are numbered in the order of their names. Whatever file comes, goes or is
    written again makes the images be ingested again.
    """

    root: Text
    size: Count

    def listing(self) -> str:
        return _listing(self.root)

    def classes(self) -> int:
        return len(self._names())

    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def load(self) -> Images:
        from torchvision import datasets
        from torchvision.datasets.folder import IMG_EXTENSIONS

        names, test = self._names(), self._test()
        try:
            train = datasets.ImageFolder(str(Path(self.root, "train")))
        except FileNotFoundError as error:  # a class without a usable file
            what = str(error).partition("\n")[0].rstrip(".")
            raise LacunaError(f"{Path(self.root, 'train')}: {what}; needed: an image in each") from None
        # a class may have no test images
        tested = datasets.ImageFolder.make_dataset(str(test), train.class_to_idx, IMG_EXTENSIONS, allow_empty=True)
        if not tested:
            raise LacunaError(f"{test}: no image; needed: files of the kinds {', '.join(IMG_EXTENSIONS)}")
        files, labels = zip(*train.samples, *tested, strict=True)
        return from_files(files, labels, len(train.samples), len(names), self.size)

    def _names(self) -> list[str]:
        """The classes, from the folders in train/."""
        train, test = Path(self.root, "train"), self._test()
        names = _folders(train)
        if len(names) < 2:
            raise LacunaError(
                f"{train}: {len(names)} class folders; needed: two or more, with the images of each class"
            )
        if strange := [name for name in _folders(test) if name not in names]:
            raise LacunaError(f"{test}: '{strange[0]}' is no class; allowed: the folders in {train}")
        return names

    def _test(self) -> Path:
        for name in _TEST:
            if _folders(Path(self.root, name)):
                return Path(self.root, name)
        places = " or ".join(str(Path(self.root, name)) for name in _TEST)
        raise LacunaError(f"{self.root}: no test images; needed: class folders in {places}")


def _folders(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except FileNotFoundError:
        return []


@functools.cache
def _listing(root: str) -> str:
    """A digest of names, sizes and times of all files below a folder; a million take about 10 seconds on a disk."""
    digest = hashlib.sha256()
    for line in _lines(root):
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _lines(folder: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            yield f"{entry.name}/\n"
            yield from _lines(entry.path)
        else:
            yield f"{entry.name} {entry.stat().st_size} {entry.stat().st_mtime_ns}\n"
