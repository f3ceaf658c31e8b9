"""MNIST and Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lacuna.data.images import Images
from lacuna.data.published import Published, in_memory
from lacuna.registry import register

_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


class _Mnist(Published):
    sizes = (60_000, 10_000)

    def source(self) -> Any:
        """torchvision's class."""
        raise NotImplementedError

    def shape(self) -> tuple[int, ...]:
        return (1, 28, 28)

    def checksums(self) -> Sequence[tuple[str, str]]:
        its = self.source()
        return [(f"{its.__name__}/raw/{name}", md5) for name, md5 in its.resources]

    def load(self) -> Images:
        train, test = self.opened(
            lambda fetch: [self.source()(self.root, train=part, download=fetch) for part in (True, False)]
        )
        first, second = ((part.data.numpy()[:, None], part.targets.numpy()) for part in (train, test))
        return self.checked(in_memory(first, second, classes=10))


@register("mnist")
@dataclass(frozen=True, kw_only=True)
class Mnist(_Mnist):
    """70,000 handwritten digits, 28×28 grey, 10 classes; 10,000 of them for testing.

    Source: LeCun et al., Proc. IEEE 1998.
    """

    archives = tuple(f"MNIST/raw/{name}.gz" for name in _FILES)
    unpacked = tuple(f"MNIST/raw/{name}" for name in _FILES)

    def class_names(self) -> tuple[str, ...]:
        return tuple(map(str, range(10)))

    def source(self) -> Any:
        from torchvision.datasets import MNIST

        return MNIST


@register("fashion_mnist")
@dataclass(frozen=True, kw_only=True)
class FashionMnist(_Mnist):
    """70,000 pictures of clothes, 28×28 grey, 10 classes; 10,000 of them for testing.

    Source: Xiao et al., arXiv:1708.07747.
    """

    archives = tuple(f"FashionMNIST/raw/{name}.gz" for name in _FILES)
    unpacked = tuple(f"FashionMNIST/raw/{name}" for name in _FILES)

    def class_names(self) -> tuple[str, ...]:
        return (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        )

    def source(self) -> Any:
        from torchvision.datasets import FashionMNIST

        return FashionMNIST
