"""A digest of the code a script can reach, so that a rule reruns when its mathematics changes.

Snakemake sees a rule's files and params but not the modules its script imports. The digest covers the
script and every lacuna module that it imports, directly or not; comments, docstrings, layout and type hints do not
count, but for the annotations that make the fields of a class, nor does a module that writes logs alone, and what calls
it.
A module of the user's counts with what it imports from its own package or folder, an installed one by its file alone,
and with its type hints: what may read them (`torch.jit`, say) is not known.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import functools
import hashlib
import os
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TypeGuard

from lacuna.artifacts.cache import read_cache, write_cache

_SOURCES = Path(__file__).resolve().parents[2]
# of files, by their content: the digest, and the names that they import
_FILES: dict[str, tuple[str, list[str]]] = {}
# what a cache holds of earlier states of the sources is dropped beyond so many files
_KEPT = 2000


def code_digest(script: str | Path, *modules: str) -> str:
    """Hex digest of `script`, what it imports from its folder, ../lib and lacuna, and `modules` (dotted names).

    `modules` names what the script finds through a registry, which no import statement shows, and the user's own.
    """
    digest = hashlib.sha256()
    for content in sorted(_read(source)[0] for source in _reached(script, *modules)):
        digest.update(content.encode())
    return digest.hexdigest()[:16]


def files_of(script: str | Path, *modules: str) -> set[Path]:
    """The files that `code_digest` covers, resolved."""
    return {source.path for source in _reached(script, *modules)}


def remember(folder: str | Path, write: bool = True) -> None:
    """Take what is known of files from a folder, by their content, and keep there what this process finds out.

    Parsing the sources takes half a second of CPU, as long as the rest of reading an experiment. write: False takes
    alone.
    """
    path = Path(folder) / "sources.json"
    # another Python may parse otherwise
    made_from = hashlib.sha256(Path(__file__).read_bytes() + str(sys.version_info).encode()).hexdigest()
    stored = read_cache(path, made_from) or {}
    _FILES.update({key: (digest, names) for key, (digest, names) in stored.items()})

    def keep() -> None:
        new = {key: value for key, value in _FILES.items() if key not in stored}
        if new:
            with contextlib.suppress(OSError):  # a read-only working directory only costs the next start its time
                write_cache(path, made_from, _FILES if len(_FILES) <= _KEPT else new)

    if write:
        atexit.register(keep)


def _reached(script: str | Path, *modules: str) -> set[_Source]:
    script = Path(script).resolve()
    pending = [_Source(script, (script.parent, script.parents[1] / "lib"))]
    for name in modules:
        pending.extend(_of_lacuna(name) if _is_lacuna(name) else _of_user(name))
    reached: set[_Source] = set()
    while pending:
        source = pending.pop()
        if source not in reached:
            reached.add(source)
            pending.extend(_read(source)[1])
    return reached


@dataclass(frozen=True)
class _Source:
    """A file, and the folders whose modules it imports as its neighbours; without any they do not count."""

    path: Path
    roots: tuple[Path, ...] = ()
    hinted: bool = False  # its type hints count

    @property
    def package(self) -> tuple[str, ...]:
        """The names of the packages that the file lies in, outermost first."""
        for root in self.roots:
            if self.path.is_relative_to(root):
                return self.path.parent.relative_to(root).parts
        return ()


@functools.cache
def _read(source: _Source) -> tuple[str, tuple[_Source, ...]]:
    """The digest of one file and the files that it imports; of a file that Python cannot parse that of its bytes.

    Whoever imports such a file says what is wrong with it, and it may be one that nobody needs.
    """
    content = source.path.read_bytes()
    key = hashlib.sha256(f"{source.package} {source.hinted} ".encode() + content).hexdigest()
    if key not in _FILES:
        _FILES[key] = _parsed(source, content)
    digest, names = _FILES[key]
    imported = (
        neighbour
        for name in names
        for neighbour in (_of_lacuna(name) if _is_lacuna(name) else _neighbours(name, source.roots, source.hinted))
    )
    return digest, tuple(dict.fromkeys(imported))


def _parsed(source: _Source, content: bytes) -> tuple[str, list[str]]:
    try:
        with tokenize.open(source.path) as file:  # as Python reads it: a byte order mark, a coding in its first lines
            tree = ast.parse(file.read(), str(source.path))
    except (SyntaxError, ValueError):
        return hashlib.sha256(content).hexdigest(), []
    names = list(dict.fromkeys(_imports(tree, source.package)))
    return hashlib.sha256("\n".join(_Words(source.hinted).of(tree)).encode()).hexdigest(), names


# modules of ../lib that write logs alone: statements that call them and use no answer
_OF_LOGS = {"log_lines"}
# modules whose names are there for type hints
_OF_HINTS = ("typing", "collections.abc", "__future__")
# what a parser says of a tree beside what it does; `ast.dump` and `ast.unparse` differ between versions of Python
_SILENT = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}


class _Words:
    """What counts of a tree, as a list of words. hinted: type hints count.

    Left out are docstrings and other bare constants, `pass`, a `__version__`, type-checking blocks, annotations that
    nothing reads (of functions; of variables, but for the fields of a class), and what is imported for those alone.
    """

    def __init__(self, hinted: bool):
        self._hinted = hinted
        self._words: list[str] = []
        self._names: set[str] = set()

    def of(self, tree: ast.Module) -> list[str]:
        for_hints = [] if self._hinted else [s for s in tree.body if _imports_hints(s)]
        self._block([s for s in tree.body if s not in for_hints])
        # what is used is known now
        used = [a for s in for_hints for a in s.names if (a.asname or a.name) in self._names]
        self._words += sorted(f"{alias.name} {alias.asname}" for alias in used)
        return self._words

    def _block(self, statements: Iterable[ast.stmt], fields: bool = False) -> None:
        """fields: the annotations of its variables make the fields of a class."""
        for statement in statements:
            match statement:
                case ast.Pass() | ast.Expr(value=ast.Constant()):
                    continue
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in _OF_LOGS:
                    continue
                case ast.Assign(targets=[ast.Name(id="__version__")], value=ast.Constant()):
                    continue  # a release that changes nothing else makes nothing run again
                case ast.If() if _for_checkers(statement):
                    self._block(statement.orelse, fields)
                case ast.AnnAssign(target=target, value=value) if not (self._hinted or _is_field(statement, fields)):
                    if value is not None:
                        self._node(ast.Assign([target], value))
                case _:
                    self._node(statement)

    def _node(self, node: ast.AST) -> None:
        self._words.append(type(node).__name__)
        if isinstance(node, ast.Constant):
            self._words.append(repr(node.value))
        elif isinstance(node, ast.Name):
            self._names.add(node.id)
            self._words.append(node.id)
        else:
            hint = "" if self._hinted else "annotation" if isinstance(node, ast.arg) else "returns"
            for name, value in ast.iter_fields(node):
                if value is None or name in _SILENT or name == hint:
                    continue
                self._words.append(name)
                if name in ("body", "orelse", "finalbody") and isinstance(value, list):
                    self._block(value, isinstance(node, ast.ClassDef) and _has_fields(node))
                else:
                    for item in value if isinstance(value, list) else [value]:
                        if isinstance(item, ast.alias) and item.name in _OF_LOGS:
                            continue
                        self._node(item) if isinstance(item, ast.AST) else self._words.append(repr(item))
        self._words.append(")")


def _imports_hints(statement: ast.stmt) -> TypeGuard[ast.ImportFrom]:
    return isinstance(statement, ast.ImportFrom) and statement.module in _OF_HINTS


def _has_fields(node: ast.ClassDef) -> bool:
    """Whether something may make fields of a class's annotations: a decorator, or what it inherits from."""
    bases = {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
    return bool(node.decorator_list or bases & {"NamedTuple", "TypedDict"})


def _is_field(statement: ast.AnnAssign, fields: bool) -> bool:
    return fields and not re.match(r"(typing\.)?ClassVar\b", ast.unparse(statement.annotation))


def _for_checkers(node: ast.AST) -> bool:
    """Whether it is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Dotted names that the tree imports at any depth, type-checking blocks left out; package: where its file lies."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and _for_checkers(node):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name not in _OF_LOGS)
        pending.extend(ast.iter_child_nodes(node))


def _is_lacuna(name: str) -> bool:
    return name.partition(".")[0] == "lacuna"


def _of_lacuna(name: str) -> tuple[_Source, ...]:
    return _below(name, _SOURCES)


@functools.cache
def _below(name: str, root: Path) -> tuple[_Source, ...]:
    return tuple(_Source(path) for path in _files(name, root))


def _neighbours(name: str, roots: tuple[Path, ...], hinted: bool) -> Iterator[_Source]:
    return (_Source(path, roots, hinted) for root in roots for path in _files(name, root))


def _files(name: str, root: Path) -> Iterator[Path]:
    """The files beneath a folder that importing `name` runs: its packages and itself."""
    folder = str(root)
    for part in name.split("."):
        files, folders = _listed(folder)
        inside = f"{folder}/{part}"
        if part in folders and "__init__.py" in _listed(inside)[0]:
            yield _resolved(f"{inside}/__init__.py")
        if f"{part}.py" in files:
            yield _resolved(f"{inside}.py")
        if part not in folders:
            return
        folder = inside


@functools.cache
def _listed(folder: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names of the files in a folder, and of its folders: to ask for each, thousands of times, takes long."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        files = {entry.name: entry.is_file() for entry in entries}
        return frozenset(n for n, is_file in files.items() if is_file), frozenset(n for n in files if not files[n])
    return frozenset(), frozenset()


@functools.cache
def _resolved(path: str) -> Path:
    return Path(path).resolve()


def _of_user(name: str) -> Iterator[_Source]:
    """The file of a module in the working directory or installed, found without running anything of it."""
    spec = PathFinder.find_spec(name.partition(".")[0], [*sys.path, str(Path.cwd())])
    if spec is None:
        return  # whoever builds the network says so
    folders = spec.submodule_search_locations
    root = Path(next(iter(folders)) if folders else str(spec.origin)).resolve().parent
    if "site-packages" in root.parts:
        yield from (_Source(path, hinted=True) for path in [*_files(name, root)][-1:])
    else:
        yield from _neighbours(name, (root,), hinted=True)
