"""The files that every page carries: libraries as they were published, and the page's own script and style."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from typing import NamedTuple

_FOLDER = files("lacuna.reporting.report") / "assets"


class Library(NamedTuple):
    """A library in the page: its file and that of its licence, and the SHA-256 of the file as it was published."""

    name: str
    version: str
    file: str
    licence: str
    sha256: str


LIBRARIES = (
    Library(
        "vega",
        "6.4.0",
        "vega.min.js",
        "vega.LICENSE",
        "8f6a3587cf8d4f42c7e08120e3eb05d067e746d554e39d2dcf52acc0bd5ba28f",
    ),
    Library(
        "vega-lite",
        "6.4.3",
        "vega-lite.min.js",
        "vega-lite.LICENSE",
        "35a9821df838825b05a6a73e9414b58747a1b18321583858ed903c66393a5c7e",
    ),
)
OWN = ("page.js", "page.css")


def asset(name: str) -> str:
    """The text of an asset."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def script_asset(name: str) -> str:
    """A script as it goes into a page; without the address of its source map, for which a browser might ask.

    Raises ValueError for a script that would end its own element.
    """
    text = re.sub(r"\n//# sourceMappingURL=.*", "", asset(name))
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ValueError(f"{name}: it would end its own element")
    return text


def digest_of_assets() -> str:
    """16 hex digits that name the content of all assets: a page made with others is another page."""
    digest = hashlib.sha256()
    for name in (*OWN, *(file for library in LIBRARIES for file in (library.file, library.licence))):
        digest.update((_FOLDER / name).read_bytes())
    return digest.hexdigest()[:16]
