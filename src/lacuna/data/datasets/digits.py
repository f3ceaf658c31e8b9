"""The embedded default dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lacuna.data.images import Dataset, Images, fixed_test
from lacuna.fields import Bound
from lacuna.registry import register

Digit = Annotated[int, Bound("minimum", 0), Bound("maximum", 9)]


@register("digits")
@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """1,797 real handwritten digits, 8×8 grey, 10 classes, shipped with scikit-learn: nothing to download.

    The test set is a fixed stratified 20 % (359 images), the same for every seed.
    only: the digits that are kept; the first has label 0, and so on.
    Source: Alpaydin & Kaynak, UCI Optical Recognition of Handwritten Digits, 1998.
    """

    only: Annotated[tuple[Digit, ...], Bound("minItems", 2), Bound("uniqueItems", True)] = tuple(range(10))

    def classes(self) -> int:
        return len(self.only)

    def class_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.only))

    def shape(self) -> tuple[int, ...]:
        return (1, 8, 8)

    def load(self) -> Images:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        train, test = fixed_test(y, "digits")
        train, test = (part[np.isin(y[part], self.only)] for part in (train, test))
        order = np.concatenate([train, test])
        label = np.zeros(10, dtype=np.int64)
        label[list(self.only)] = np.arange(len(self.only))
        # grey levels 0..16 become 0..255
        pixels = np.rint(x.reshape(-1, 1, 8, 8)[order] * (255 / 16)).astype(np.uint8)
        return Images(x=pixels, y=label[y[order]], train=len(train), classes=len(self.only))
