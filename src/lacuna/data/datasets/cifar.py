"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lacuna.data.images import Images
from lacuna.data.published import Published, in_memory
from lacuna.registry import register

# as the published files name them
_TEN = """
airplane automobile bird cat deer dog frog horse ship truck
"""
_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture
insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores
medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""


class _Cifar(Published):
    sizes = (50_000, 10_000)

    def source(self) -> Any:
        """torchvision's class."""
        raise NotImplementedError

    def shape(self) -> tuple[int, ...]:
        return (3, 32, 32)

    def checksums(self) -> Sequence[tuple[str, str]]:
        its = self.source()
        files = [*its.train_list, *its.test_list, (its.meta["filename"], its.meta["md5"])]
        return [(its.filename, its.tgz_md5), *((f"{its.base_folder}/{name}", md5) for name, md5 in files)]

    def load(self) -> Images:
        train, test = self.opened(
            lambda fetch: [self.source()(self.root, train=part, download=fetch) for part in (True, False)]
        )
        first, second = ((part.data.transpose(0, 3, 1, 2), part.targets) for part in (train, test))
        return self.checked(in_memory(first, second, classes=10))


@register("cifar10")
@dataclass(frozen=True, kw_only=True)
class Cifar10(_Cifar):
    """60,000 photographs, 32×32 RGB, 10 classes; 10,000 of them for testing.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    archives = ("cifar-10-python.tar.gz",)
    unpacked = ("cifar-10-batches-py",)

    def class_names(self) -> tuple[str, ...]:
        return tuple(_TEN.split())

    def source(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10


@register("cifar100")
@dataclass(frozen=True, kw_only=True)
class Cifar100(_Cifar):
    """60,000 photographs, 32×32 RGB, 100 classes in 20 coarse ones; 10,000 of them for testing.

    labels: what the model is to tell apart, the 100 fine or the 20 coarse classes; with the coarse ones the fine labels
    are known to the scenario `subclass`.
    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    labels: Literal["fine", "coarse"] = "fine"
    archives = ("cifar-100-python.tar.gz",)
    unpacked = ("cifar-100-python",)

    def class_names(self) -> tuple[str, ...]:
        return tuple((_FINE if self.labels == "fine" else _COARSE).split())

    def source(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100

    def classes(self) -> int:
        super().classes()
        return 100 if self.labels == "fine" else 20

    def fine(self) -> int:
        return 0 if self.labels == "fine" else 100

    def load(self) -> Images:
        images = super().load()
        if self.labels == "fine":
            return Images(images.x, images.y, images.train, 100)
        # torchvision has checked these files, and gives the fine labels alone
        files = [name for name, _ in (*self.source().train_list, *self.source().test_list)]
        coarse: list[int] = []
        for name in files:
            with open(Path(self.root, self.source().base_folder, name), "rb") as file:
                coarse += pickle.load(file, encoding="latin1")["coarse_labels"]
        return Images(images.x, np.array(coarse, dtype=np.int64), images.train, 20, fine=images.y)
