"""Registries: a name in the config → the class or function that implements it.

A new entry is one new file in the registry's package with one decorated definition:

    @register("ga")
    @dataclass(frozen=True, kw_only=True)
    class GradientAscent(LossUnlearner): ...

Names are found by reading the source files, so listing a registry imports nothing, using one entry
imports that entry alone, and a new file changes no other entry's code digest.
"""

from __future__ import annotations

import ast
import importlib
import tokenize
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from lacuna.errors import LacunaError, unknown

T = TypeVar("T")


def register(name: str, **about: Any) -> Callable[[T], T]:
    """Give a class or function its public name; `about` holds further facts (a metric's unit, say)."""

    def mark(obj: T) -> T:
        obj.name = name  # type: ignore[attr-defined]
        obj.about = about  # type: ignore[attr-defined]
        return obj

    return mark


class Registry(Mapping[str, T], Generic[T]):
    """The entries of one package, by name; an entry is imported when it is asked for.

    Raises LacunaError for an unknown name and lists the known ones.
    """

    def __init__(self, package: str, kind: str, directory: str):
        self.package, self.kind = package, kind
        self._directory = Path(directory)
        self._found: dict[str, tuple[str, str]] | None = None

    def _entries(self) -> dict[str, tuple[str, str]]:
        if self._found is None:
            entries: dict[str, tuple[str, str]] = {}
            for path in sorted(self._directory.glob("*.py")):
                for name, attribute in _registered(path):
                    if name in entries:
                        raise LacunaError(f"{path}: the {self.kind} '{name}' is already defined in {entries[name][0]}")
                    entries[name] = (f"{self.package}.{path.stem}", attribute)
            self._found = dict(sorted(entries.items()))
        return self._found

    def _where(self, name: str) -> tuple[str, str]:
        if name not in self._entries():
            raise LacunaError(f"unknown {self.kind} '{name}'{unknown(name, self)}")
        return self._entries()[name]

    def module(self, name: str) -> str:
        """The module that defines `name`, without importing it."""
        return self._where(name)[0]

    def __getitem__(self, name: str) -> T:
        module, attribute = self._where(name)
        entry: T = getattr(importlib.import_module(module), attribute)
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries()

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._entries())


def _registered(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read(), str(path))
    except SyntaxError as error:
        raise LacunaError(f"{path}, line {error.lineno or 1}: SyntaxError: {error.msg}") from None
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(func=ast.Name(id="register"), args=[ast.Constant(value=str(name)), *_]):
                        yield name, node.name
