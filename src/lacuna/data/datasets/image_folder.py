"""The user's own images, one folder for each class."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lacuna.data.image_files import SUFFIXES, LeftOut, Size, folders_in, from_files, images_below
from lacuna.data.images import Dataset, Images
from lacuna.errors import LacunaError
from lacuna.fields import Text
from lacuna.registry import register

_TEST = ("test", "val")


@register("image_folder")
@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Image files as ImageNet has them: root/train/<class>/ and root/test/<class>/ (or val/), at any depth below.

    root: the folder, relative to the working directory.
    size: pixels of each side; the shorter side is resized to it, and the middle cut out.

    Images of any kind become RGB, photos upright as their Exif orientation says. Classes are numbered in the order of
    their names. Hidden folders and files, and files without the suffix of an image, are left out, and the log says so.
    Whatever image comes, goes or is written again makes the images be ingested again.
    """

    root: Text
    size: Size

    def content(self) -> str:
        try:
            return _listing(self.root).digest
        except LacunaError as error:
            return str(error)

    def classes(self) -> int:
        return len(_listing(self.root).names)

    def class_names(self) -> tuple[str, ...]:
        # a folder's name need not be text
        return tuple(name.encode(errors="backslashreplace").decode() for name in _listing(self.root).names)

    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def class_sizes(self) -> tuple[int, ...]:
        try:
            return tuple(np.bincount(_listing(self.root).train[1]).tolist())
        except LacunaError:  # the folder has gone since the images were ingested
            return ()

    def load(self) -> Images:
        listing = _listing(self.root)
        files, labels = [*listing.train[0], *listing.test[0]], [*listing.train[1], *listing.test[1]]
        train, classes = len(listing.train[0]), len(listing.names)
        return from_files(files, labels, train, classes, self.size, listing.names, listing.left_out, upright=True)


@dataclass(frozen=True)
class _Listing:
    """What lies in a folder: the classes, the files and labels of both parts, what is left out, and a digest of names,
    sizes and times."""

    names: list[str]
    train: tuple[list[str], list[int]]
    test: tuple[list[str], list[int]]
    left_out: LeftOut
    digest: str


@functools.cache
def _listing(root: str) -> _Listing:
    """The files of a dataset; a million take about 10 seconds on a disk.

    Raises LacunaError if the folder is not usable.
    """
    if not os.path.isdir(root):
        what = "not a folder" if os.path.exists(root) else "no such folder"
        raise LacunaError(f"{root}: {what}; allowed: a folder with train/ and test/ (or val/) in it")
    left_out, digest = LeftOut(), hashlib.sha256()
    train, test = Path(root, "train"), _test(root, left_out)
    names = folders_in(train, left_out)
    if len(names) < 2:
        raise LacunaError(f"{train}: {len(names)} class folders; needed: two or more, with the images of each class")
    tested = folders_in(test, left_out)
    if strange := [name for name in tested if name not in names]:
        raise LacunaError(f"{test}: '{strange[0]}' is no class; allowed: the folders in {train}")
    parts = []
    for part, folders in ((train, names), (test, tested)):
        files: list[str] = []
        labels: list[int] = []
        prefix = len(str(part))
        for name in folders:
            label = names.index(name)
            images = images_below(part / name, left_out)
            if not images and part == train:
                raise LacunaError(f"{part / name}: no image; needed: one or more, {_KINDS}")
            digest.update(f"{part.name}/{name}/\n".encode(errors="surrogateescape"))
            for path, its in images:
                files.append(path)
                labels.append(label)
                line = f"{path[prefix:]} {its.st_size} {its.st_mtime_ns}\n"
                digest.update(line.encode(errors="surrogateescape"))
        if not files:
            raise LacunaError(f"{part}: no image; needed: {_KINDS}")
        parts.append((files, labels))
    return _Listing(names, parts[0], parts[1], left_out, digest.hexdigest())


_KINDS = f"files of the kinds {', '.join(SUFFIXES)}"


def _test(root: str, left_out: LeftOut) -> Path:
    folders = [Path(root, name) for name in _TEST if folders_in(Path(root, name))]
    if not folders:
        places = " or ".join(str(Path(root, name)) for name in _TEST)
        raise LacunaError(f"{root}: no test images; needed: class folders in {places}")
    for other in folders[1:]:
        left_out.add(f"folders, as {folders[0].name}/ is there", str(other))
    return folders[0]
