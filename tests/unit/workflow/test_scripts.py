"""The scripts, which type checkers do not see."""

import ast
import importlib
import importlib.util

import pytest

from tests.places import ROOT

SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_a_script_imports_what_there_is(script):
    """Otherwise it is its job that says so, in the middle of a run."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    assert imports
    for node in imports:
        module = importlib.import_module(node.module)
        missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
        assert not [name for name in missing if importlib.util.find_spec(f"{node.module}.{name}") is None]
