"""Drawings, pages and texts, which others read as well: what a file of their formats says of itself."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

# the key of a PNG's text
PLACE = "lacuna"
# by format, the comment that may follow all else: what opens it, and what closes it
_OF_HTML, _OF_TEX = (b"<!-- ", b" -->\n"), (b"% ", b"\n")
SEALED = {"svg": _OF_HTML, "html": _OF_HTML, "md": _OF_HTML, "pdf": _OF_TEX, "tex": _OF_TEX}


def _seal_of(suffix: str) -> re.Pattern[bytes]:
    start, end = map(re.escape, SEALED[suffix])
    return re.compile(start + rb"lacuna: place (\S*), sha256 of all before ([0-9a-f]{64})" + end + rb"\Z")


def seal(path: str | Path, place: str, suffix: str) -> None:
    """Write the drawing's place below the results and the SHA-256 of what it holds behind it, as a comment.

    suffix: svg, html, md, pdf or tex.
    """
    content, (start, end) = Path(path).read_bytes(), SEALED[suffix]
    told = f"lacuna: place {place}, sha256 of all before {hashlib.sha256(content).hexdigest()}"
    Path(path).write_bytes(content + start + told.encode() + end)


def check_svg(path: str | Path, place: str) -> None:
    """Raise ValueError unless an SVG is as it was made, and in its place. An XML error is passed on."""
    if not ElementTree.fromstring(Path(path).read_bytes()).tag.endswith("svg"):
        raise ValueError("it is no SVG image")
    _check_seal(path, place, "svg")


def check_pdf(path: str | Path, place: str) -> None:
    """Raise ValueError unless a PDF is as it was made, and in its place."""
    if not Path(path).read_bytes().startswith(b"%PDF-"):
        raise ValueError("it is no PDF")
    _check_seal(path, place, "pdf")


def check_page(path: str | Path, place: str) -> None:
    """Raise ValueError unless an HTML page is as it was made, and in its place."""
    if not Path(path).read_bytes().startswith(b"<!DOCTYPE html>"):
        raise ValueError("it is no HTML page")
    _check_seal(path, place, "html")


def check_text(path: str | Path, place: str) -> None:
    """Raise ValueError unless a text, Markdown or LaTeX, is as it was made, and in its place."""
    _check_seal(path, place, Path(place).suffix.removeprefix("."))


def _check_seal(path: str | Path, place: str, suffix: str) -> None:
    content = Path(path).read_bytes()
    found = _seal_of(suffix).search(content)
    if found is None:
        raise ValueError("it carries no checksum")
    if hashlib.sha256(content[: found.start()]).hexdigest() != found[2].decode():
        raise ValueError("its checksum does not match its content")
    _check_place(found[1].decode(), place)


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
