"""A file is there whole or not at all, and what is damaged is set aside."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

# the files whose content a job.json names
_VOUCHED = ("*.safetensors", "mask.npz", "predictions.npz", "history.csv")


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it on success and vanishes on failure.

    A folder that stands in the file's place is set aside.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp" + path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp made it 0600; give it the mode any new file of this user has
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        if path.is_dir() and not path.is_symlink():
            set_aside(path)
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # a write does not say which file it was to
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_debris(path: str | Path) -> None:
    """Remove what a killed `atomic` left of this file; nobody else may be writing it."""
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp{glob.escape(path.suffix)}"):
        left.unlink(missing_ok=True)


def set_aside(path: str | Path) -> Path:
    """Rename what lies at `path` to `<name>.damaged`, so that it can be made anew; the new path."""
    path = Path(path)
    aside = path.with_name(f"{path.name}.damaged")
    number = 1
    while aside.is_dir() or (path.is_dir() and aside.exists()):
        number += 1
        aside = path.with_name(f"{path.name}.damaged{number}")
    path.rename(aside)
    return aside


def remove(path: str | Path) -> None:
    """Delete a file of ours; a folder that stands in its place is set aside."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError:
        if not Path(path).is_dir():
            raise
        set_aside(path)


def set_aside_with(paths: Iterable[Path]) -> list[Path]:
    """Set files aside, with a job.json all that it vouches for: nothing else tells whose the files of a folder are.

    Gives the files that were renamed; what is gone, or lies in a folder that cannot be written, stays as it is.
    """
    chosen: dict[Path, None] = {}
    for path in paths:
        beside = [f for kind in _VOUCHED for f in path.parent.glob(kind)] if path.name == "job.json" else []
        chosen |= dict.fromkeys([path, *(file for file in sorted(beside) if not file.name.startswith("."))])
    moved = []
    for path in chosen:
        with contextlib.suppress(OSError):
            set_aside(path)
            moved.append(path)
    return moved
