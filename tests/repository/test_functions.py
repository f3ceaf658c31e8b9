"""No function is longer than a screen, or takes more than a reader keeps in mind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

LINES, PARAMETERS = 60, 8


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Functions and methods at any depth, by the place that a message names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT).as_posix()}: {node.name}", node


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the last line, docstring included, decorators not."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """All that a caller can name, but for the object itself; `*rest` and `**rest` are one each."""
    its = node.args
    named = [each.arg for each in (*its.posonlyargs, *its.args, *its.kwonlyargs, its.vararg, its.kwarg) if each]
    return len(named) - (named[:1] in (["self"], ["cls"]))


@pytest.fixture(scope="module")
def measures() -> list[tuple[str, int, int]]:
    """Place, lines and parameters of every function: numbers alone, for the trees are large."""
    return [
        (place, lines(node), parameters(node))
        for folder in ("src/lacuna", "workflow/lib")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for place, node in functions(path)
    ]


def test_functions_are_short(measures):
    assert len(measures) > 1000
    assert not {place: length for place, length, _ in measures if length > LINES}


def test_functions_take_few_parameters(measures):
    assert not {place: count for place, _, count in measures if count > PARAMETERS}


def test_the_measures_count_what_they_say():
    source = "class A:\n  @cached\n  def f(self, a, /, b, *c, d, **e):\n    return (\n      a\n    )\n"
    node = next(each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.FunctionDef))
    assert (lines(node), parameters(node)) == (4, 5)
