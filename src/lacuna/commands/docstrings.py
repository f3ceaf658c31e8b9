"""Docstrings of entries for the generated pages: what each must say, its published values, and tables of its fields."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any

from lacuna.experiment.catalogue import own_fields
from lacuna.experiment.docstrings import docstring_of, meanings
from lacuna.fields import describe, schema_of
from lacuna.unlearning.base import LossUnlearner

_COMMON = {f.name for f in dataclasses.fields(LossUnlearner)}


def parts_of(cls: Any, needed: tuple[str, ...] = ("Cost", "Source")) -> dict[str, Any]:
    """A docstring taken apart: title, formula, text, what each field means, and the closing notes.

    A field that a base class explains need not be explained again.
    Raises ValueError if the docstring lacks a formula, a needed note or a line for one of the class's own fields.
    """
    found = dataclasses.asdict(docstring_of(cls)) | {"fields": meanings(cls)}
    missing = [n for n in own_fields(cls) if n not in found["fields"] and n not in _COMMON]
    missing += [n for n in needed if n not in found["notes"]] + ([] if found["formula"] else ["a formula"])
    if missing:
        raise ValueError(f"{cls.__name__}: its docstring does not say {', '.join(missing)}")
    return found


_PUBLISHED = re.compile(r"([^.]+(?:\.\d[^.]*)*)\.(?= |$)")
_HERE = re.compile(r" Here ([^:]+): ")


def published_values(cls: Any) -> dict[str, tuple[str, bool]]:
    """The published value of each field that the note `Published values` names, and whether the default is another.

    The note reads "Published values (of what): field value, field value. Here field value, field value: why. Text."
    A value is one word, "a or b", or "a to b" for every number between; the second sentence, if there is one, names
    each field whose default is not published, with that default. "none" instead of fields: nothing is published.
    Raises ValueError if it reads otherwise, names no field of the class, or says of a default what does not hold.
    """
    note = parts_of(cls)["notes"].get("Published values", "")
    listed = re.sub(r" \([^)]*\)", "", note.partition(": ")[2])  # a remark in parentheses is no value
    found, here = _PUBLISHED.match(listed), _HERE.search(listed)
    if found is None:
        raise ValueError(f"{cls.__name__}: 'Published values' does not list fields with values: {note!r}")
    if found.group(1).startswith("none"):
        return {}
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    published = dict(map(_named, found.group(1).split(", ")))
    others = dict(map(_named, here.group(1).split(", "))) if here else {}
    if unknown := [name for name in (*published, *others) if name not in defaults]:
        raise ValueError(f"{cls.__name__}: 'Published values' names {', '.join(unknown)}, which is no field")
    for name, value in published.items():
        as_published, said = _is(defaults[name], value), name in others
        if as_published == said or (said and not _is(defaults[name], others[name])):
            raise ValueError(
                f"{cls.__name__}.{name}: the default is {defaults[name]}, published is {value}, and the docstring says "
                + (f"'Here {name} {others[name]}'" if said else "nothing of a difference")
            )
    if idle := set(others) - set(published):
        raise ValueError(f"{cls.__name__}: 'Here' names {', '.join(idle)}, of which no published value is listed")
    return {name: (value, name in others) for name, value in published.items()}


def _named(item: str) -> tuple[str, str]:
    name, _, value = item.strip().partition(" ")
    return name, value


def _is(default: Any, value: str) -> bool:
    """Whether a default is a value of a docstring."""
    words = {"true": True, "false": False, "null": None}
    low, to, high = value.replace("−", "-").partition(" to ")
    if to:
        return isinstance(default, int | float) and float(low) <= default <= float(high)
    for choice in low.split(" or "):
        try:
            meant: Any = words[choice] if choice in words else float(choice)
        except ValueError:
            meant = choice
        if type(meant) in (bool, type(None), str) or type(default) in (bool, type(None), str):
            if meant == default and type(meant) is type(default):
                return True
        elif math.isclose(meant, default, rel_tol=1e-12):
            return True
    return False


def table(cls: type, names: list[str]) -> list[str]:
    """A Markdown table of fields: name, default, allowed values, meaning."""
    properties, said = schema_of(cls)["properties"], meanings(cls)
    rows = ["| name | default | allowed | meaning |", "|---|---|---|---|"]
    for name in names:
        schema = properties[name]
        default = f"`{as_yaml(schema['default'])}`" if "default" in schema else "must be given"
        allowed = describe({k: v for k, v in schema.items() if k != "default"}).replace("|", "\\|")
        meaning = said[name].strip().replace("|", "\\|")
        rows.append(f"| `{name}` | {default} | {allowed} | {meaning} |")
    return rows


def as_yaml(value: Any) -> str:
    """A value as a config file has it: `null`, `true`, a bare text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def field_names(cls: Any) -> list[str]:
    """The keys of a dataclass's fields: `import` for `import_`."""
    return [f.name.removesuffix("_") for f in dataclasses.fields(cls)]
