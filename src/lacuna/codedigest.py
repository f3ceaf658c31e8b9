"""A digest of the code a script can reach, so that a rule reruns when its mathematics changes.

Snakemake sees a rule's files and params but not the modules its script imports. The digest covers the
script and every lacuna module that it imports, directly or not; comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

_SOURCES = Path(__file__).resolve().parent.parent


def code_digest(script: str | Path, *modules: str) -> str:
    """Hex digest of `script`, its neighbours and lacuna modules it imports, and `modules` (dotted names).

    `modules` names what the script finds through a registry, which no import statement shows.
    """
    digest = hashlib.sha256()
    script = Path(script).resolve()
    pending = [script, *(path for name in modules for path in _module_files(name, script.parent))]
    reached: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in reached:
            reached.add(path)
            pending.extend(_read(path)[1])
    for content in sorted(_read(path)[0] for path in reached):
        digest.update(content.encode())
    return digest.hexdigest()[:16]


@functools.cache
def _read(path: Path) -> tuple[str, tuple[Path, ...]]:
    """The digest of one file and the files that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    imported = tuple(file for name in _imports(tree) for file in _module_files(name, path.parent))
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


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that the tree imports at any depth, type-checking blocks left out."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def _module_files(name: str, neighbours: Path) -> Iterator[Path]:
    """The files that importing `name` runs: its packages and itself, if it is of lacuna or beside the script."""
    parts = name.split(".")
    if parts[0] == "lacuna":
        for depth in range(1, len(parts) + 1):
            base = _SOURCES.joinpath(*parts[:depth])
            for file in (base / "__init__.py", base.with_suffix(".py")):
                if file.is_file():
                    yield file
    elif len(parts) == 1 and (neighbours / f"{name}.py").is_file():
        yield (neighbours / f"{name}.py").resolve()
