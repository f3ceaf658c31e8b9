"""The user's own files: whether they can be read, and their content, which counts rather than their times."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacuna.artifacts.files import write_json
from lacuna.errors import LacunaError

# the digests of large files, each beside what would change with the file
_KNOWN = Path(".snakemake/lacuna/contents.json")
_LARGE = 2**22
# a file that was written in the same tick of the clock as it was read has the same times, and another content
_TICK_NS = 2 * 10**9


def regular(path: str | Path, allowed: str) -> os.stat_result:
    """What the system knows of a file.

    Raises LacunaError, with what is allowed, for a link to nothing and for what would not end when read: a named pipe,
    a socket, a device. FileNotFoundError is passed on.
    """
    try:
        its = os.stat(path)
    except OSError as error:
        if os.path.islink(path):
            raise LacunaError(f"{path}: a link to nothing; allowed: {allowed}") from None
        if isinstance(error, FileNotFoundError):
            raise
        raise LacunaError(f"{path}: cannot be read ({error.strerror}); allowed: {allowed}") from None
    if not stat.S_ISREG(its.st_mode) and not stat.S_ISDIR(its.st_mode):  # opening a folder fails at once
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise LacunaError(f"{path}: {kinds.get(stat.S_IFMT(its.st_mode), 'a device')}; allowed: {allowed}")
    return its


def content_of_files(paths: Sequence[str | Path]) -> str:
    """A digest of the files' content in their order; no files: nothing. Never raises: one that is not there counts too.

    Where the working directory has a folder .snakemake, the digest of a large file is kept there under its size, its
    times and its place on the disk, so that a plan need not read it again.
    """
    if not paths:
        return ""
    return hashlib.sha256(" ".join(map(_content, paths)).encode()).hexdigest()


def _content(path: str | Path) -> str:
    try:
        its = os.stat(path)
        if not stat.S_ISREG(its.st_mode):
            return "no file"
        if its.st_size < _LARGE:
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()
        key = os.path.abspath(path)
        facts = [its.st_size, its.st_mtime_ns, its.st_ctime_ns, its.st_ino, its.st_dev]
        known = _known()
        match known.get(key):
            case [earlier, str(digest)] if earlier == facts:
                return digest
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - its.st_ctime_ns > _TICK_NS and _KNOWN.parent.parent.is_dir():
            with contextlib.suppress(OSError):  # a working directory that cannot be written: read again next time
                write_json(_KNOWN, known | {key: [facts, digest]})
        return digest
    except (OSError, ValueError) as error:  # a path with a zero byte is a wrong value
        return f"unreadable: {error}"


def _known() -> dict[str, Any]:
    try:
        known = json.loads(_KNOWN.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
