"""The user's own images in one npz file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lacuna.artifacts.files import NOT_AN_NPZ
from lacuna.data.images import Dataset, Images, checked_images, checked_labels, image_form, label_form
from lacuna.data.user_files import regular
from lacuna.errors import LacunaError
from lacuna.fields import Text
from lacuna.registry import register

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_FINE = ("fine_train", "fine_test")


@register("npz")
@dataclass(frozen=True, kw_only=True)
class Npz(Dataset):
    """An npz file with `x_train`, `y_train`, `x_test`, `y_test`.

    path: the file, relative to the working directory.
    layout: how 4-dimensional images are stored: auto (the axis of size 1 or 3 is the channel), nhwc or nchw.

    Images have the shape [n, h, w], [n, h, w, 1 or 3] or [n, 1 or 3, h, w]; they are uint8, or floats in [0, 1] (kept
    as 8 bits). Labels have the shape [n]: one whole number for each image, from 0 to classes - 1, every class in
    `y_train`.
    `classes`, if it is there, has the name of each class as a text, in the order of the labels.
    `fine_train` and `fine_test`, if they are there, are labels of a second, finer level: what `subclass` forgets.
    """

    path: Text
    layout: Literal["auto", "nhwc", "nchw"] = "auto"

    def files(self) -> list[Path]:
        return [Path(self.path)]

    def classes(self) -> int:
        return self.load().classes

    def shape(self) -> tuple[int, ...]:
        return self.load().x.shape[1:]

    def fine(self) -> int:
        fine = self.load().fine
        return 0 if fine is None else int(fine.max()) + 1

    def class_names(self) -> tuple[str, ...]:
        try:
            regular(self.path, "an npz file")
            with np.load(self.path, allow_pickle=False) as file:
                found = file["classes"] if "classes" in file.files else np.zeros(0, dtype=str)
        except (FileNotFoundError, *NOT_AN_NPZ) as error:
            raise LacunaError(f"{self.path}: classes: cannot be read ({error}); allowed: an array of texts") from None
        names = tuple(map(str, found.tolist())) if found.ndim == 1 and found.dtype.kind == "U" else None
        if names is None or len(set(names)) < len(names) or not all(map(str.strip, names)):
            raise LacunaError(
                f"{self.path}: classes: {found.dtype} of shape {found.shape} is not allowed; "
                "allowed: one text for each class, no two alike and none empty"
            )
        return names

    def class_sizes(self) -> tuple[int, ...]:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return tuple(np.bincount(file["y_train"].astype(np.int64)).tolist())
        except (FileNotFoundError, *NOT_AN_NPZ):  # of a file that is no longer what it was, whoever loads it says more
            return ()

    def load(self) -> Images:
        arrays = self._arrays()
        x_train, x_test = (checked_images(arrays[k], f"{self.path}: {k}", self.layout) for k in ("x_train", "x_test"))
        if x_train.shape[1:] != x_test.shape[1:]:
            raise LacunaError(
                f"{self.path}: x_test: images of shape {x_test.shape[1:]} are not allowed; "
                f"allowed: {x_train.shape[1:]}, the shape in x_train"
            )
        y_train, y_test, classes = self._labels(arrays, _KEYS[1], _KEYS[3], len(x_train), len(x_test))
        names = self.class_names()
        if names and len(names) != classes:
            raise LacunaError(
                f"{self.path}: classes: {len(names)} names are not allowed; allowed: {classes}, one for each class"
            )
        fine = None
        if _FINE[0] in arrays:
            both = self._labels(arrays, *_FINE, len(x_train), len(x_test))
            fine = np.concatenate(both[:2])
        return Images(
            x=np.concatenate([x_train, x_test]),
            y=np.concatenate([y_train, y_test]),
            train=len(x_train),
            classes=classes,
            fine=fine,
            names=names,
        )

    def _labels(
        self, arrays: dict[str, np.ndarray], train: str, test: str, n_train: int, n_test: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Both arrays of one level of labels, checked, and how many classes it has."""
        y_train = checked_labels(arrays[train], f"{self.path}: {train}", n_train)
        classes = int(y_train.max()) + 1
        # n images leave one of the first n + 1 classes empty, should a stray label make `classes` huge
        missing = np.setdiff1d(np.arange(min(classes, len(y_train) + 1)), y_train)
        if classes < 2 or len(missing):
            what = "only one class" if classes < 2 else f"no image of class {missing[0]}"
            raise LacunaError(
                f"{self.path}: {train}: {what} is not allowed; allowed: labels 0 to classes - 1, each present"
            )
        return y_train, checked_labels(arrays[test], f"{self.path}: {test}", n_test, classes), classes

    def _arrays(self) -> dict[str, np.ndarray]:
        try:
            regular(self.path, "an npz file")
            file = np.load(self.path, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise LacunaError(f"{self.path}: not an npz archive; allowed: an npz file with {', '.join(_KEYS)}")
            with file:
                keys = (*_KEYS, *(_FINE if set(_FINE) & set(file.files) else ()))
                absent = [k for k in keys if k not in file.files]
                if absent:
                    raise LacunaError(
                        f"{self.path}: no array '{absent[0]}' (it holds {', '.join(file.files) or 'nothing'}); "
                        f"needed: {', '.join(keys)}"
                    )
                self._check_forms({k: _form(file, k) for k in keys})
                return {k: file[k] for k in keys}
        except FileNotFoundError:
            raise LacunaError(
                f"{self.path}: no such file; allowed: the path of an npz file with {', '.join(_KEYS)}"
            ) from None
        except NOT_AN_NPZ as error:
            raise LacunaError(f"{self.path}: not a usable npz file ({error}); needed: {', '.join(_KEYS)}") from None

    def _check_forms(self, forms: dict[str, np.ndarray]) -> None:
        """Refuse shapes and types, and more than the memory holds, before any array is unpacked."""
        for part in ("train", "test"):
            image_form(forms[f"x_{part}"], f"{self.path}: x_{part}", self.layout)
            for labels in (f"y_{part}", f"fine_{part}"):
                if labels in forms:
                    label_form(forms[labels], f"{self.path}: {labels}", len(forms[f"x_{part}"]))
        needed = sum(form.size * form.itemsize for form in forms.values())
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > there:
            raise LacunaError(
                f"{self.path}: its arrays take {needed / 1e9:.3g} GB; allowed: up to {there / 1e9:.3g} GB, the memory"
            )


def _form(file: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    """Shape and type of an array in the archive, as an array that holds nothing.

    Raises ValueError for Python objects, or for a shape that the archive has not the bytes of.
    """
    member = f"{key}.npy"
    with file.zip.open(member) as stream:  # type: ignore[union-attr]
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"{key} is in version {version[0]}.{version[1]} of the npy format")
        shape, _, dtype = read[version](stream)
    if dtype.hasobject:
        raise ValueError(f"{key} holds Python objects")
    form = np.broadcast_to(np.empty((), dtype), shape)
    if form.size * form.itemsize > file.zip.getinfo(member).file_size:  # type: ignore[union-attr]
        raise ValueError(f"{key} is cut short")
    return form
