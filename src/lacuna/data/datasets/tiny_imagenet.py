"""TinyImageNet."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lacuna.data.image_files import LeftOut, Size, folders_in, from_files, images_below
from lacuna.data.images import Images
from lacuna.data.published import Published
from lacuna.errors import LacunaError, one_line
from lacuna.registry import register


@register("tiny_imagenet")
@dataclass(frozen=True, kw_only=True)
class TinyImageNet(Published):
    """110,000 photographs, 64×64 RGB, 200 classes; the 10,000 of the official validation set are for testing.

    The official test set has no labels and is not used. Classes are numbered in the order of their WordNet ids.
    size: pixels of each side, to which the images are resized.
    Source: Le & Yang, Tiny ImageNet Visual Recognition Challenge, 2015.
    """

    size: Size = 64
    archives = ("tiny-imagenet-200.zip",)
    unpacked = ("tiny-imagenet-200",)
    sizes = (100_000, 10_000)
    count = 200
    md5: ClassVar[str] = "90528d7ca1a48142e341f4ef8d21d0de"
    url: ClassVar[str] = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def checksums(self) -> Sequence[tuple[str, str]]:
        return [(self.archives[0], self.md5)]

    def load(self) -> Images:
        folder = Path(self.root, self.unpacked[0])
        train = self.opened(self._train)
        names = folders_in(train)
        files, labels = [], []
        for label, name in enumerate(names):
            images = images_below(train / name, LeftOut())
            files += [path for path, _ in images]
            labels += [label] * len(images)
        first = len(files)
        annotations = folder / "val" / "val_annotations.txt"
        try:
            for line in annotations.read_text(encoding="utf-8").splitlines():
                name, wordnet_id, *_ = line.split("\t")
                files.append(str(folder / "val" / "images" / name))
                labels.append(names.index(wordnet_id))
        except (OSError, ValueError, KeyError) as error:
            raise LacunaError(
                f"{annotations}: cannot be read ({one_line(error)}); needed: what is in {self.archives[0]}"
            ) from None
        return self.checked(from_files(files, labels, first, self.count, self.size))

    def _train(self, fetch: bool) -> Path:
        from torchvision.datasets.utils import download_and_extract_archive

        if fetch and not self._has(self.unpacked):
            # whoever is interrupted leaves no half-unpacked folder
            with tempfile.TemporaryDirectory(dir=self.root, prefix=".tiny-imagenet.") as inside:
                download_and_extract_archive(self.url, self.root, inside, self.archives[0], self.md5)
                os.replace(Path(inside, self.unpacked[0]), Path(self.root, self.unpacked[0]))
        return Path(self.root, self.unpacked[0], "train")
