"""Forms of JSON files: which fields their readers rely on, and of what kind each is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lacuna.artifacts.files import read_json
from lacuna.errors import DamagedFile

# Raises ValueError with the field and what is wrong; the text is the field's name.
Form = Callable[[Any, str], None]
# a table would hand such a text to a spreadsheet as a formula
_METRIC = re.compile(r"[^\s=+\-@'\"][^\r\n\t]*")


def of_kind(kinds: type | tuple[type, ...], what: str) -> Form:
    """The form of a value of these types; a bool is no number. what: their name in the error."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise ValueError(f"{where} is no {what}")

    return check


text, mapping = of_kind(str, "text"), of_kind(dict, "object")


def number(value: Any, where: str) -> None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where} is no number")


def amount(value: Any, where: str) -> None:
    """A number that is not negative."""
    number(value, where)
    if value < 0:
        raise ValueError(f"{where} is negative")


def count(value: Any, where: str) -> None:
    """A whole number that is not negative."""
    amount(value, where)
    if not isinstance(value, int):
        raise ValueError(f"{where} is no whole number")


def scalar(value: Any, where: str) -> None:
    """What fits in one field of a table."""
    if isinstance(value, dict | list):
        raise ValueError(f"{where} is no single value")


def metric(value: Any, where: str) -> None:
    """The name of a metric, as it goes into tables."""
    text(value, where)
    if not _METRIC.fullmatch(value):
        raise ValueError(f"{where} has no name of a metric: {value[:60]!r}")


def each(form: Form, name: Form = text) -> Form:
    """An object whose names and values have a form."""

    def check(value: Any, where: str) -> None:
        mapping(value, where)
        for key, item in value.items():
            name(key, where)
            form(item, f"{where}.{key}")

    return check


def listed(form: Form, length: int | None = None) -> Form:
    """A list of values with a form."""

    def check(value: Any, where: str) -> None:
        of_kind(list, "list")(value, where)
        if length is not None and len(value) != length:
            raise ValueError(f"{where} has {len(value)} values instead of {length}")
        for item in value:
            form(item, where)

    return check


def fields(required: Mapping[str, Form], optional: Mapping[str, Form] | None = None) -> Form:
    """An object with these fields; others may stand beside them."""

    def check(value: Any, where: str) -> None:
        mapping(value, where)
        for name in required:
            if name not in value:
                raise ValueError(f"{where + '.' if where else ''}{name} is missing")
        for name, form in {**required, **(optional or {})}.items():
            if name in value:
                form(value[name], f"{where + '.' if where else ''}{name}")

    return check


def read_as(path: str | Path, kind: str, form: Form, place: str | None = None) -> dict[str, Any]:
    """The content of a JSON file of a form. kind: what the file is, for the message. place: as `files.check_place`.

    Raises DamagedFile for a missing, altered or foreign file, and one of another form.
    """
    value = read_json(path, place)
    try:
        form(value, "")
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"{path}: not a usable {kind} file ({error})") from None
    return value
