"""What a script imports is there: nothing else reads scripts before their jobs run."""

import ast
import importlib

import pytest
from places import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/scripts").glob("*.py")), ids=lambda path: path.stem)
def test_what_a_script_imports_is_there(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in ("lacuna", "lacuna_workflow"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == [], node.module
