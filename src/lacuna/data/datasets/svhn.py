"""Street View House Numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lacuna.data.images import Images
from lacuna.data.published import Published, in_memory
from lacuna.registry import register


@register("svhn")
@dataclass(frozen=True, kw_only=True)
class Svhn(Published):
    """99,289 house numbers in photographs, 32×32 RGB, 10 classes; 26,032 of them for testing.

    The digit 0 is class 0. The 531,131 extra images are not used.
    Source: Netzer et al., NIPS Workshop 2011.
    """

    archives = ("train_32x32.mat", "test_32x32.mat")
    unpacked = archives
    sizes = (73_257, 26_032)

    def class_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(10)))

    def shape(self) -> tuple[int, ...]:
        return (3, 32, 32)

    def checksums(self) -> Sequence[tuple[str, str]]:
        from torchvision.datasets import SVHN

        return [(SVHN.split_list[part][1], SVHN.split_list[part][2]) for part in ("train", "test")]

    def load(self) -> Images:
        from torchvision.datasets import SVHN

        train, test = self.opened(
            lambda fetch: [SVHN(self.root, split=part, download=fetch) for part in ("train", "test")]
        )
        return self.checked(in_memory((train.data, train.labels), (test.data, test.labels), classes=10))
