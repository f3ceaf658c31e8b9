"""The Oxford-IIIT Pet dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lacuna.data.image_files import Size, from_files
from lacuna.data.images import Images
from lacuna.data.published import Published
from lacuna.registry import register


@register("oxford_pets")
@dataclass(frozen=True, kw_only=True)
class OxfordPets(Published):
    """7,349 photographs of cats and dogs of 37 breeds, RGB; the 3,669 of the official test set for testing.

    size: pixels of each side; the shorter side is resized to it, and the middle cut out.
    Source: Parkhi et al., CVPR 2012.
    """

    size: Size = 224
    archives = ("oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet/annotations.tar.gz")
    unpacked = ("oxford-iiit-pet/images", "oxford-iiit-pet/annotations")
    sizes = (3_680, 3_669)
    count = 37

    def shape(self) -> tuple[int, ...]:
        return (3, self.size, self.size)

    def checksums(self) -> Sequence[tuple[str, str]]:
        from torchvision.datasets import OxfordIIITPet

        return [(f"oxford-iiit-pet/{url.rpartition('/')[2]}", md5) for url, md5 in OxfordIIITPet._RESOURCES]

    def load(self) -> Images:
        from torchvision.datasets import OxfordIIITPet

        train, test = self.opened(
            lambda fetch: [OxfordIIITPet(self.root, split=part, download=fetch) for part in ("trainval", "test")]
        )
        files, labels = [*train._images, *test._images], [*train._labels, *test._labels]
        return self.checked(from_files(files, labels, len(train), self.count, self.size))
