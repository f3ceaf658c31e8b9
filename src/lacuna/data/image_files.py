"""Image files: which files count as images, how they are found below a folder, and how one becomes 8-bit RGB."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from lacuna.data.images import Images, LazyImages, exact, outside
from lacuna.data.user_files import regular
from lacuna.errors import LacunaError
from lacuna.fields import Bound

# Raster formats alone: Pillow would hand an EPS file to Ghostscript, whatever its name.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "DIB", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF")
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo")
_PORTABLE = (".png", ".apng", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm")
_JPEG_2000 = (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
SUFFIXES = (*_JPEG, *_PORTABLE, ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", *_JPEG_2000, ".avif")
# beyond it one image takes more than 3 MB: a mistyped digit, where a smaller size would be meant
Size = Annotated[int, Bound("minimum", 1), Bound("maximum", 1024)]
# what file managers, notebooks and archivers leave; names that begin with a dot are left out too
_HIDDEN = {"__macosx", "__pycache__", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"}
# of the longer side to the shorter one: the resized image would be thousands of megabytes otherwise
_LONGEST = 100


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is never part of a dataset."""
    return name.startswith(".") or name.lower() in _HIDDEN


@dataclass
class LeftOut:
    """What was found below a folder and is not used: paths by reason, as the log says them."""

    paths: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        self.paths.setdefault(reason, []).append(path)

    def lines(self) -> list[str]:
        """One line for each reason, with examples."""
        return [f"left out: {len(paths)} {reason}, {_such(paths)}" for reason, paths in sorted(self.paths.items())]


def folders_in(folder: str | Path, left_out: LeftOut | None = None) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones; none if there is no such folder.

    left_out: is told of hidden ones, and of images beside the folders. Raises LacunaError for something else than a
    folder, or one that cannot be read.
    """
    names, left_out = [], LeftOut() if left_out is None else left_out
    for entry in _entries(folder):
        if hidden(entry.name):
            left_out.add("hidden", entry.path)
        elif _is_folder(entry):
            names.append(entry.name)
        elif entry.name.lower().endswith(SUFFIXES):
            left_out.add("images outside the folders of the classes", entry.path)
    return names


def images_below(folder: str | Path, left_out: LeftOut) -> list[tuple[str, os.stat_result]]:
    """The image files at any depth below a folder, sorted by folder and name, each with what the system knows of it.

    Links are followed, but not in a circle. Raises LacunaError for a folder that cannot be read, and for a name of an
    image that is none: a link to nothing, a named pipe, a socket or a device.
    """
    above = [os.stat(parent) for path in (Path(folder).absolute(), Path(folder).resolve()) for parent in path.parents]
    circle = tuple((its.st_dev, its.st_ino) for its in above)
    return sorted(_walk(str(folder), left_out, circle), key=lambda each: os.path.split(each[0]))


def _walk(folder: str, left_out: LeftOut, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, os.stat_result]]:
    here = os.stat(folder)
    above += ((here.st_dev, here.st_ino),)
    for entry in _entries(folder):
        if hidden(entry.name):
            left_out.add("hidden", entry.path)
        elif _is_folder(entry):
            its = os.stat(entry.path)
            if (its.st_dev, its.st_ino) in above:
                left_out.add("links to a folder that they lie in", entry.path)
            else:
                yield from _walk(entry.path, left_out, above)
        elif not entry.name.lower().endswith(SUFFIXES):
            left_out.add("files without the suffix of an image", entry.path)
        else:
            yield entry.path, regular(entry.path, "an image file")


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise LacunaError(f"{folder}: not a folder; allowed: a folder with images") from None
    except OSError as error:
        raise LacunaError(f"{folder}: cannot be read ({error.strerror}); allowed: a folder that can be") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def from_files(
    files: Sequence[str | Path],
    labels: Sequence[int],
    train: int,
    classes: int,
    size: int,
    names: Sequence[str] = (),
    left_out: LeftOut | None = None,
    upright: bool = False,
) -> Images:
    """Image files, the training images first, as `LazyImages` of RGB: shorter side to `size`, the middle cut out.

    names: of the classes, where they are known. left_out: what the log shall say beside what is found on reading.
    upright: turn photos as their Exif orientation says; published datasets are used as their pixels are stored.
    """
    several: set[str] = set()
    turned: set[str] | None = set() if upright else None

    def read(i: int) -> np.ndarray:
        return _square(files[i], size, several, turned)

    def notes() -> list[str]:
        lines = left_out.lines() if left_out is not None else []
        if several:
            lines.append(f"the first image of each of {len(several)} files that hold several, {_such(several)}")
        if turned:
            lines.append(f"turned upright: {len(turned)} images by their Exif orientation, {_such(turned)}")
        return lines

    y = np.asarray(labels, dtype=np.int64)
    pictures = LazyImages((len(files), 3, size, size), read)
    return Images(x=pictures, y=y, train=train, classes=classes, names=tuple(names), notes=notes)


def _such(paths: Iterable[str]) -> str:
    return f"such as {', '.join(sorted(paths)[:3])}"


def _square(path: str | Path, size: int, several: set[str], turned: set[str] | None) -> np.ndarray:
    """One image file as uint8 [3, size, size]; its path goes into `several` if it holds more than one frame.

    turned: takes its path if it was turned upright; None: it stays as it is stored.
    """
    from torchvision.transforms.functional import center_crop, resize

    allowed = "a sound image file of " + ", ".join(FORMATS)
    try:
        regular(path, allowed)
        with open(path, "rb") as file:
            image = _opened(file)
            width, height = image.size
            if max(width, height) > _LONGEST * min(width, height):
                raise LacunaError(
                    f"{path}: {width}×{height} pixels; allowed: a longer side of at most {_LONGEST} times the shorter"
                )
            if getattr(image, "n_frames", 1) > 1:
                several.add(str(path))
                image.seek(0)
            rgb = _rgb(image)
            if turned is not None and (turn := _turn(image)) is not None:
                turned.add(str(path))
                rgb = rgb.transpose(turn)
            return np.asarray(center_crop(resize(rgb, size), [size, size])).transpose(2, 0, 1)
    except LacunaError:
        raise
    except Exception as error:  # Pillow passes on whatever its decoders raise
        why = str(error).partition("\n")[0] or type(error).__name__
        raise LacunaError(f"{path}: not a usable image ({why}); allowed: {allowed}") from None


def _opened(file: Any) -> Any:
    from PIL import Image, UnidentifiedImageError

    Image.init()
    try:
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        raise ValueError("its content is of none of the formats") from None


def _turn(image: Any) -> Any:
    """How an image whose pixels were read is turned upright, by its Exif orientation; None: it is, or says nothing."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(274))
    except Exception:  # a record of the camera's that is broken says nothing of the pixels
        return None


def _rgb(image: Any) -> Any:
    """A Pillow image as 8-bit RGB. Transparency is left out: the colours are those that are stored.

    16 bits become 8 by value / 257; floats must lie in [0, 1]; whole numbers of 32 bits have no range to scale by.
    """
    from PIL import Image

    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        highest = 2 ** _bits(image) - 1
        values = np.asarray(image).astype(np.float64)
        return _grey(_upright(image, values, highest) * (255 / highest))
    if mode == "F":
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it holds NaN or infinity; floats must lie in [0, 1]")
        low, high = float(values.min()), float(values.max())
        if outside(low, high):
            raise ValueError(f"floats from {exact(low)} to {exact(high)}; they must lie in [0, 1]")
        return _grey(_upright(image, values.clip(0, 1), 1.0) * 255)
    if mode == "I":
        raise ValueError("whole numbers of 32 bits, or with a sign, have no known range; save it with 8 or 16 bits")
    if mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif mode in ("La", "RGBa"):  # multiplied by their alpha
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    converted: Image.Image = image.convert("RGB")
    return converted


def _grey(values: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _bits(image: Any) -> int:
    """How many of 16 bits a grey image uses."""
    bits = _tag(image, 258)
    return int(bits[0]) if isinstance(bits, tuple) and 8 < int(bits[0]) < 16 else 16


def _upright(image: Any, values: np.ndarray, highest: float) -> np.ndarray:
    """Values where 0 is black: a TIFF file may say that 0 is white."""
    return highest - values if _tag(image, 262) == 0 else values


def _tag(image: Any, tag: int) -> Any:
    return image.tag_v2.get(tag) if image.format == "TIFF" else None
