"""The embedded default dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lacuna.data.images import Dataset, Images, fixed_test
from lacuna.registry import register


@register("digits")
@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """1,797 real handwritten digits, 8×8 grey, 10 classes, shipped with scikit-learn: nothing to download.

    The test set is a fixed stratified 20 % (359 images), the same for every seed.
    Source: Alpaydin & Kaynak, UCI Optical Recognition of Handwritten Digits, 1998.
    """

    def classes(self) -> int:
        return 10

    def shape(self) -> tuple[int, ...]:
        return (1, 8, 8)

    def load(self) -> Images:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        train, test = fixed_test(y, "digits")
        order = np.concatenate([train, test])
        # grey levels 0..16 become 0..255
        pixels = np.rint(x.reshape(-1, 1, 8, 8)[order] * (255 / 16)).astype(np.uint8)
        return Images(x=pixels, y=y[order].astype(np.int64), train=len(train), classes=10)
