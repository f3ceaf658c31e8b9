"""YAML as people write it: what is read, and where a key stands."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lacuna.errors import LacunaError

# bounds of an experiment's file: beyond them it is none, or made to stop who reads it
_MOST_BYTES = 1_000_000
_MOST_VALUES = 100_000


def shown(path: str | Path) -> str:
    """A path as a message has it: from the working directory, if it lies there."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def retyped(value: Any) -> Any:
    """A value of --config as a file would have it: inside lists and mappings Snakemake leaves every scalar a text."""
    if isinstance(value, Mapping):
        return {key: _scalar(inner) for key, inner in value.items()}
    return [_scalar(inner) for inner in value] if isinstance(value, list | tuple) else value


def _scalar(value: Any) -> Any:
    if not isinstance(value, str):
        return retyped(value)
    try:
        read = _Loader(value).get_single_data()
    except (yaml.YAMLError, LacunaError, ValueError):
        return value
    return value if isinstance(read, Mapping | list | str) else read


def located(message: str, files: Sequence[str | Path], overrides: Mapping[str, Any]) -> str:
    """The message about a key with the file and line where that stands, if one of the files has it."""
    if top := re.match(r"config: unknown key '([^']*)'", message):
        held_by = (file for file in reversed(files) if top[1] in _lines_of(file))
        return next((f"{shown(file)}, line {_lines_of(file)[top[1]]}: {message}" for file in held_by), message)
    key = re.match(r"[\w.]+", message)
    if key is None or key[0].partition(".")[0] in overrides:
        return message
    for file in reversed(files):
        lines = _lines_of(file)
        if key[0].partition(".")[0] not in lines:
            continue
        # a label may hold a dot, so the longest key that the message begins with
        held = [k for k in lines if message.startswith(k) and message[len(k) : len(k) + 1] in (":", ".", "[", " ", "")]
        place = max(held, key=len, default="")
        strange = re.match(rf"{re.escape(place)}: unknown key '([^']*)'", message)
        if strange:
            place = f"{place}.{strange[1]}" if f"{place}.{strange[1]}" in lines else place
        return f"{shown(file)}, line {lines[place]}: {message}" if place else message
    return message


def _lines_of(file: str | Path) -> dict[str, int]:
    """The line of every key in a YAML file, by its dotted name; items of a list by their number."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node | None, key: str, depth: int) -> None:
        if depth > 8:  # deeper than any key, and an alias may lead back
            return
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                place = f"{key}.{getattr(name, 'value', '')}".lstrip(".")
                lines.setdefault(place, name.start_mark.line + 1)
                walk(value, place, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for position, value in enumerate(node.value):
                lines.setdefault(f"{key}[{position}]", value.start_mark.line + 1)
                walk(value, f"{key}[{position}]", depth + 1)

    try:
        walk(yaml.compose(Path(file).read_text(encoding="utf-8"), Loader=_Loader), "", 0)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return lines


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice and reads 1e-4 as a number (YAML 1.1 makes it a text)."""


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue  # `<<: *anchor`: what it brings may be given again
        key = loader.construct_object(key_node, deep=True)
        where = f"{key_node.start_mark.name}, line {key_node.start_mark.line + 1}"
        if not isinstance(key, str | int | float) or isinstance(key, bool):
            read = {None: "null", True: "true", False: "false"}.get(key) if not isinstance(key, list | dict) else None
            read = read or f"a {type(key).__name__}"
            typed = f"'{key_node.value}' " if isinstance(key_node, yaml.ScalarNode) and key_node.value else "it "
            raise LacunaError(f"{where}: a key must be a text, but {typed}is read as {read}; allowed: with quotes")
        if key in seen:
            raise LacunaError(f"{where}: key '{key}' is given twice; allowed: once")
        seen[key] = None
    return loader.construct_mapping(node, deep=True)


def _plain_number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A number, but none that YAML 1.1 reads otherwise than it looks: 010 as 8, 1:30 as 90."""
    if re.fullmatch(r"[-+]?0[0-9_]+|[-+]?[0-9_]+(:[0-9_.]+)+", node.value):
        where = f"{node.start_mark.name}, line {node.start_mark.line + 1}"
        raise LacunaError(f"{where}: {node.value} is octal or sexagesimal in YAML; allowed: a decimal number")
    as_usual = loader.construct_yaml_int if node.tag.endswith(":int") else loader.construct_yaml_float
    return as_usual(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _plain_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _plain_number)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises LacunaError naming the file (and line) if there is none."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not Path(path).is_dir():
            raise LacunaError(f"{shown(path)}: cannot be read (not a regular file); allowed: a YAML file")
        if os.stat(path).st_size > _MOST_BYTES:
            raise LacunaError(f"{shown(path)}: too large; allowed: a YAML file of at most {_MOST_BYTES:,} bytes")
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise no_such_file(path) from None
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise LacunaError(f"{shown(path)}: cannot be read ({reason}); allowed: a YAML file") from None
    try:
        stream = _Loader(text)
        stream.name = shown(path)
        value = stream.get_single_data()
        if _size(value, {}) > _MOST_VALUES:
            raise LacunaError(f"{shown(path)}: too many values behind its aliases; allowed: at most {_MOST_VALUES:,}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "problem", None) or error
        if "'\\t'" in str(reason):
            reason = "a tab at the beginning of a line; YAML takes blanks"
        raise LacunaError(f"{shown(path)}{line}: not valid YAML ({str(reason).splitlines()[0]})") from None
    if not isinstance(value, dict):
        raise LacunaError(f"{shown(path)}: holds no mapping; allowed: 'key: value' lines at the top level")
    if "__use_yte__" in value:
        raise LacunaError(
            f"{shown(path)}: key '__use_yte__' is not allowed, Snakemake runs the code of such a file; "
            "allowed: plain YAML"
        )
    return value


def no_such_file(path: str | Path) -> LacunaError:
    """The error for an experiment's file that is not there, with the nearest next to it, or among the experiments."""
    path = Path(path)
    folders = (path.parent, path.parent / "config/experiments", Path("config/experiments"))
    files = dict.fromkeys(file for folder in folders for file in sorted(folder.glob("*.y*ml")))
    # by their stems: folders and endings that all share would make any file near
    stems = {file.stem.casefold(): shown(file) for file in reversed(files)}
    found = difflib.get_close_matches(path.stem.casefold(), stems, n=1, cutoff=0.6)
    near = f" (did you mean '{stems[found[0]]}'?)" if found else ""
    return LacunaError(
        f"{shown(path)}: no such file{near}; allowed: an experiment's file, or its name in config/experiments"
    )


def _size(value: Any, known: dict[int, float]) -> float:
    """How many values a nested one holds when every alias is written out; infinite where one leads back to itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")  # as long as it is not counted
        items = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(item, known) for item in items)
    return known[id(value)]
