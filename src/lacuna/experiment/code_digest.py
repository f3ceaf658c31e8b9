"""A digest of the code a script can reach, so that a rule reruns when its mathematics changes.

Snakemake sees a rule's files and params but not the modules its script imports. The digest covers the
script and every lacuna module that it imports, directly or not; comments, docstrings and layout do not count.
A module of the user's counts with what it imports from its own package or folder, an installed one by its file alone.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

_SOURCES = Path(__file__).resolve().parents[2]


def code_digest(script: str | Path, *modules: str) -> str:
    """Hex digest of `script`, what it imports from its folder, ../lib and lacuna, and `modules` (dotted names).

    `modules` names what the script finds through a registry, which no import statement shows, and the user's own.
    """
    digest = hashlib.sha256()
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
    for content in sorted(_read(source)[0] for source in reached):
        digest.update(content.encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class _Source:
    """A file, and the folders whose modules it imports as its neighbours; without any they do not count."""

    path: Path
    roots: tuple[Path, ...] = ()

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
    path = source.path
    try:
        with tokenize.open(path) as file:  # as Python reads it: a byte order mark, a coding in its first lines
            tree = ast.parse(file.read(), str(path))
    except (SyntaxError, ValueError):
        return hashlib.sha256(path.read_bytes()).hexdigest(), ()
    imported = tuple(
        found
        for name in _imports(tree, source.package)
        for found in (_of_lacuna(name) if _is_lacuna(name) else _neighbours(name, source.roots))
    )
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            node.body = body[1:] or [ast.Pass()]
    # unparse, not dump: the dump of one source differs between Python versions
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest(), imported


def _imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Dotted names that the tree imports at any depth, type-checking blocks left out; package: where its file lies."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def _is_lacuna(name: str) -> bool:
    return name.partition(".")[0] == "lacuna"


def _of_lacuna(name: str) -> Iterator[_Source]:
    return (_Source(path) for path in _files(name, _SOURCES))


def _neighbours(name: str, roots: tuple[Path, ...]) -> Iterator[_Source]:
    return (_Source(path, roots) for root in roots for path in _files(name, root))


def _files(name: str, root: Path) -> Iterator[Path]:
    """The files beneath a folder that importing `name` runs: its packages and itself."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        for file in (base / "__init__.py", base.with_suffix(".py")):
            if file.is_file():
                yield file.resolve()


def _of_user(name: str) -> Iterator[_Source]:
    """The file of a module in the working directory or installed, found without running anything of it."""
    spec = PathFinder.find_spec(name.partition(".")[0], [*sys.path, str(Path.cwd())])
    if spec is None:
        return  # whoever builds the network says so
    folders = spec.submodule_search_locations
    root = Path(next(iter(folders)) if folders else str(spec.origin)).resolve().parent
    if "site-packages" in root.parts:
        yield from (_Source(path) for path in [*_files(name, root)][-1:])
    else:
        yield from _neighbours(name, (root,))
