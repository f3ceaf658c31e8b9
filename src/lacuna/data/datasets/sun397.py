"""SUN397."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lacuna.data.image_files import Size, from_files
from lacuna.data.images import Images, fixed_test
from lacuna.data.published import Published
from lacuna.errors import LacunaError
from lacuna.registry import register


@register("sun397")
@dataclass(frozen=True, kw_only=True)
class Sun397(Published):
    """108,754 photographs of scenes, RGB, 397 classes; a fixed stratified fifth for testing, the same for every seed.

    The official ten divisions use 100 images of a class; torchvision has none of them.
    size: pixels of each side; the shorter side is resized to it, and the middle cut out.
    Source: Xiao et al., CVPR 2010.
    """

    size: Size = 224
    archives = ("SUN397.tar.gz",)
    unpacked = ("SUN397",)
    count = 397
    images: ClassVar[int] = 108_754

    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def checksums(self) -> Sequence[tuple[str, str]]:
        from torchvision.datasets import SUN397

        return [(self.archives[0], SUN397._DATASET_MD5)]

    def load(self) -> Images:
        from torchvision.datasets import SUN397

        dataset = self.opened(lambda fetch: SUN397(self.root, download=fetch))
        if len(dataset) != self.images:
            raise LacunaError(
                f"{Path(self.root, 'SUN397')}: {len(dataset)} images; "
                f"needed: {self.images}, unpack {Path(self.root, self.archives[0])} anew"
            )
        # torchvision lists them as the file system does
        pairs = sorted(zip(map(str, dataset._image_files), dataset._labels, strict=True))
        files, labels = [path for path, _ in pairs], np.array([label for _, label in pairs])
        train, test = fixed_test(labels, "sun397")
        order = np.concatenate([train, test])
        return from_files([files[i] for i in order], labels[order].tolist(), len(train), self.count, self.size)
