"""Docstrings of registry entries, taken apart: one source for the generated pages, `lacuna explain` and editors."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lacuna.registry import Registry

_NOTES = ("Published values", "Cost", "Source")


@dataclass
class Docstring:
    """title and formula: the first sentence, "Title: formula."; text: the paragraphs below; fields: what each means;
    notes: Published values, Cost, Source."""

    title: str
    formula: str
    text: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def prose(self) -> str:
        """The text in one line."""
        return " ".join(self.text).strip()


def taken_apart(docstring: str, fields: set[str]) -> Docstring:
    """The parts of an entry's docstring; fields: the names that may stand before a colon."""
    first, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    title, _, formula = first.replace("\n", " ").partition(": ")
    parts = Docstring(title, formula.rstrip("."))
    into: tuple[dict[str, str] | None, str] = (None, "")
    for line in rest.splitlines():
        # "a: meaning. b: meaning." is one line for two fields, "a, b: meaning" one meaning for both
        starts = [m for m in re.finditer(r"(?:^|(?<=[.;] ))([a-z_0-9, ]+): ", line) if _names(m) <= fields]
        note = next((n for n in _NOTES if line.startswith(n)), None)
        if starts and starts[0].start() == 0:
            for i, start in enumerate(starts):
                end = starts[i + 1].start() if i + 1 < len(starts) else len(line)
                for name in _names(start):
                    parts.fields[name] = line[start.end() : end].strip()
                    into = (parts.fields, name)
        elif note:
            parts.notes[note] = line if note == "Published values" else line.partition(": ")[2]
            into = (parts.notes, note)
        elif into[0] is not None and line:
            into[0][into[1]] += " " + line.strip()
        else:
            into = (None, "")  # a blank line ends what a field means
            parts.text.append(line.strip())
    return parts


def _names(match: re.Match[str]) -> set[str]:
    return {name.strip() for name in match.group(1).split(",")}


def meanings(cls: Any) -> dict[str, str]:
    """What each field means, by the docstrings of the class and its bases; the nearest one counts."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            said |= docstring_of(base).fields
    return said


def docstring_of(cls: Any) -> Docstring:
    """A dataclass's own docstring; empty where it has none."""
    return taken_apart(vars(cls).get("__doc__") or "", {f.name.removesuffix("_") for f in dataclasses.fields(cls)})


def definition(registry: Registry[Any], name: str) -> tuple[str, dict[str, Any]]:
    """The docstring of an entry and the facts of its `register(...)` that are literals, by reading its file."""
    return _definitions(Path(registry._directory, f"{registry.module(name).rpartition('.')[2]}.py"))[name]


@functools.cache
def _definitions(path: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    with tokenize.open(path) as file:
        tree = ast.parse(file.read())
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = {}
    for node in (node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)):
        for call in node.decorator_list:
            match call:
                case ast.Call(func=ast.Name(id="register"), args=[ast.Constant(value=str(name)), *_], keywords=words):
                    found[name] = ast.get_docstring(node) or "", dict(_literals(words, constants))
    return found


def _literals(words: list[ast.keyword], constants: dict[str, ast.expr]) -> Iterator[tuple[str, Any]]:
    """Keywords whose values are literals or constants of the module; a mapping of some (`**ABOUT`) is opened."""
    for word in words:
        value = constants.get(getattr(word.value, "id", ""), word.value)
        match value:
            case ast.Call(func=ast.Name(id="dict"), keywords=inner) if word.arg is None:
                yield from _literals(inner, constants)
            case ast.Dict(keys=keys, values=values) if word.arg is None:
                named = [(k.value, v) for k, v in zip(keys, values, strict=True) if isinstance(k, ast.Constant)]
                yield from _literals([ast.keyword(arg=str(k), value=v) for k, v in named], constants)
            case _ if word.arg is not None and _literal(value):
                yield word.arg, ast.literal_eval(value)


def _literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True
