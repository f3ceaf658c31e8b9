"""Drawings, which others read as well: what an SVG or PNG says of itself, where its format leaves room for it."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

# the key of a PNG's text
PLACE = "lacuna"
_SEAL = re.compile(rb"<!-- lacuna: place (\S*), sha256 of all before ([0-9a-f]{64}) -->\n\Z")


def seal_svg(path: str | Path, place: str) -> None:
    """Write the drawing's place below the results and the SHA-256 of what it holds behind it, as a comment."""
    content = Path(path).read_bytes()
    seal = f"<!-- lacuna: place {place}, sha256 of all before {hashlib.sha256(content).hexdigest()} -->\n"
    Path(path).write_bytes(content + seal.encode())


def check_svg(path: str | Path, place: str) -> None:
    """Raise ValueError unless an SVG is as it was made, and in its place. An XML error is passed on."""
    content = Path(path).read_bytes()
    if not ElementTree.fromstring(content).tag.endswith("svg"):
        raise ValueError("it is no SVG image")
    seal = _SEAL.search(content)
    if seal is None:
        raise ValueError("it carries no checksum")
    if hashlib.sha256(content[: seal.start()]).hexdigest() != seal[2].decode():
        raise ValueError("its checksum does not match its content")
    _check_place(seal[1].decode(), place)


def check_png(path: str | Path, place: str) -> None:
    """Raise ValueError unless every chunk of a PNG has its check sum, and the text says that it is in its place."""
    content, at = Path(path).read_bytes(), 8
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("it is no PNG image")
    name, named = b"", ""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        if zlib.crc32(name + body) != struct.unpack_from(">I", content, at + 8 + length)[0]:
            raise ValueError("a check sum does not match its content")
        key, _, text = body.partition(b"\0")
        if name == b"tEXt" and key == PLACE.encode():
            named = text.decode("latin-1")
        at += 12 + length
    _check_place(named, place)


def _check_place(named: str, place: str) -> None:
    if named != place:
        raise ValueError(f"it is the file of {named}" if named else "it names no place in results")
