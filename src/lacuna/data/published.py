"""What the published datasets share: torchvision's own classes read them, with its checksums, and may download them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np

from lacuna.artifacts.processes import exclusive
from lacuna.data.images import Dataset, Images
from lacuna.errors import LacunaError, one_line
from lacuna.fields import Text

T = TypeVar("T")
_DAY = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Published(Dataset):
    """A published dataset below a folder.

    root: the folder, relative to the working directory.
    download: fetch what is not there (while images are ingested, never while a run is planned); off, the files must
    have been put there, packed as they are published or unpacked.

    archives: the published files, relative to root. unpacked: what is there once they are unpacked. sizes: how many
    training and test images it has.
    """

    root: Text = "data"
    download: bool = True
    archives: ClassVar[tuple[str, ...]]
    unpacked: ClassVar[tuple[str, ...]]
    sizes: ClassVar[tuple[int, int]]
    count: ClassVar[int] = 10

    def classes(self) -> int:
        if not self.download and not self._has(self.unpacked) and not self._has(self.archives):
            raise self._absent()
        return self.count

    def checksums(self) -> Sequence[tuple[str, str]]:
        """The files that torchvision has an MD5 of, relative to root, with it."""
        raise NotImplementedError

    def opened(self, make: Callable[[bool], T]) -> T:
        """What torchvision makes of the files; `make` is told whether to download what is missing.

        Raises LacunaError naming the file that is missing or damaged, and where it must be put.
        """
        there = self._has(self.unpacked)
        # with the archive in its place torchvision's download unpacks it and fetches nothing
        fetch = self.download or (not there and self._has(self.archives))
        if not there and not fetch:
            raise self._absent()
        if not self.download:
            self._check(self.archives if not there else ())
        # two datasets may come from one archive
        lock = contextlib.nullcontext() if there else exclusive(Path(self.root, f".{self.archives[0]}.lock"), _DAY)
        try:
            with lock, contextlib.redirect_stdout(sys.stderr):
                return make(fetch)
        except LacunaError:
            raise
        except Exception as error:  # torchvision passes on whatever its readers raise
            what = one_line(error)
            if self.download and not there:
                raise LacunaError(
                    f"{self._packed()}: the download failed ({what}); needed: a connection, or these files put there"
                ) from None
            self._check([name for name, _ in self.checksums()])
            raise LacunaError(
                f"{self._place(self.unpacked)}: cannot be read ({what}); needed: what is in {self._packed()}"
            ) from None

    def checked(self, images: Images) -> Images:
        """The images, if they are as many as were published."""
        sizes = (images.train, len(images.y) - images.train)
        if sizes != self.sizes:
            raise LacunaError(
                f"{self._place(self.unpacked)}: {sizes[0]} training and {sizes[1]} test images; "
                f"needed: {self.sizes[0]} and {self.sizes[1]}, unpack {self._packed()} anew"
            )
        return images

    def _has(self, names: Sequence[str]) -> bool:
        return all(Path(self.root, name).exists() for name in names)

    def _check(self, names: Sequence[str]) -> None:
        """Refuse a file that is there and is not what its checksum says."""
        from torchvision.datasets.utils import check_integrity

        for name, md5 in self.checksums():
            path = Path(self.root, name)
            if name in names and path.is_file() and not check_integrity(str(path), md5):
                raise LacunaError(f"{path}: damaged, its MD5 is not {md5}; needed: the published file, remove this one")

    def _place(self, names: Sequence[str]) -> str:
        return ", ".join(str(Path(self.root, name)) for name in names)

    def _packed(self) -> str:
        return self._place(self.archives)

    def _absent(self) -> LacunaError:
        unpacked = "" if self.archives == self.unpacked else f", or unpacked {self._place(self.unpacked)}"
        return LacunaError(f"{self._packed()}: not there, and download is false; needed: these files{unpacked}")


def in_memory(train: tuple[np.ndarray, Sequence[int]], test: tuple[np.ndarray, Sequence[int]], classes: int) -> Images:
    """Images and labels of both parts: uint8 [n, channels, height, width] arrays, labels in any form."""
    return Images(
        x=np.concatenate([train[0], test[0]]),
        y=np.concatenate([np.asarray(train[1]), np.asarray(test[1])]).astype(np.int64),
        train=len(train[0]),
        classes=classes,
    )
