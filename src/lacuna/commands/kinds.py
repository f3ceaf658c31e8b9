"""What can be listed and explained: the kinds of names, where each stands, and its line in a list. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lacuna.commands.launch import ROOT
from lacuna.experiment.catalogue import registries
from lacuna.experiment.docstrings import definition, taken_apart
from lacuna.reporting import TABLES

# the names of a kind as users type them: the axes of the catalogue, one of its entries in words, where it is chosen
KINDS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "methods": (("unlearners",), "unlearning method", "grid.unlearners"),
    "pruners": (("pruners",), "pruner", "grid.pruners"),
    "metrics": (("metrics", "population"), "metric", "metrics"),
    "datasets": (("datasets",), "dataset", "grid.datasets"),
    "models": (("models",), "network", "grid.models"),
    "scenarios": (("scenarios",), "scenario", "grid.scenarios"),
    "recipes": (("recipes",), "training recipe", "grid.recipes"),
    "figures": (("figures",), "figure", "figures"),
    "tables": ((), "table", ""),
}
# also understood
ALIASES = {"unlearners": "methods", "networks": "models"}


@dataclass(frozen=True)
class Row:
    """A name's line in a list: what it is in a sentence, and the source; empty where it has none."""

    name: str
    text: str
    source: str


def rows(kind: str) -> Iterator[Row]:
    """The names of a kind, read from the sources without importing an entry."""
    if kind == "tables":
        for name, (text, _) in tables().items():
            yield Row(name, _sentence(text), "")
        return
    for axis in KINDS[kind][0]:
        registry = registries()[axis]
        for name in registry:
            docstring, about = definition(registry, name)
            parts = taken_apart(docstring, set())
            text = ": ".join(filter(None, (parts.title, parts.formula)))
            source = str(about.get("source", parts.notes.get("Source", ""))).rstrip(".")
            yield Row(name, _sentence(text), "" if source == "definition" else source)


def tables(page: Path | None = None) -> dict[str, tuple[str, dict[str, str]]]:
    """The tables: the first paragraph that docs/tables.md has of each, and the meaning of every column.

    Of a table that the page lacks: its own docstring, and no columns.
    """
    text = (page or ROOT / "docs/tables.md").read_text(encoding="utf-8")
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for name, section in re.findall(r"^## (\w+)\.csv$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        if name in TABLES:
            columns: dict[str, str] = {}
            for cells in re.findall(r"^\| (`.*?) \| (.*) \|$", section, re.MULTILINE):
                for column in re.findall(r"`([^`]+)`", cells[0]):
                    columns[column] = cells[1].replace("\\|", "|")
            first = section.strip().partition("\n\n")[0]
            found[name] = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(first.split())), columns
    for name in TABLES:
        found.setdefault(name, (" ".join(definition(TABLES, name)[0].partition("\n\n")[0].split()), {}))
    return found


def _sentence(text: str) -> str:
    """The first sentence, without its full stop."""
    return re.split(r"(?<=[.?]) (?=[A-Z`])", " ".join(text.split()), maxsplit=1)[0].rstrip(".")
