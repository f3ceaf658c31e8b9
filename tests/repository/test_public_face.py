"""The public face of `lacuna`: eight names, one version, and examples that run."""

import ast
import doctest
import importlib
import subprocess
import sys
import tomllib
from importlib import resources

import pytest
import torch
from torch import nn

import lacuna
from tests.places import ROOT
from tests.repository import user_code

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAMES = ("Cell", "LacunaError", "Mask", "UnlearningData", "evaluate", "predict", "prune", "unlearn")


def test_lacuna_offers_eight_names_and_its_version():
    assert sorted(lacuna.__all__) == dir(lacuna) == sorted((*NAMES, "__version__"))
    everything: dict[str, object] = {}
    exec("from lacuna import *", everything)
    assert set(lacuna.__all__) <= set(everything)
    with pytest.raises(AttributeError, match="module 'lacuna' has no attribute 'unlern'"):
        _ = lacuna.unlern


def test_types_and_values_come_from_the_same_modules():
    """What type checkers read beside what Python does: the same names of the same modules."""
    tree = ast.parse((ROOT / "src/lacuna/__init__.py").read_text(encoding="utf-8"))
    shown = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == lacuna._PUBLIC
    assert set(shown) == set(NAMES)
    for name, module in shown.items():
        assert getattr(lacuna, name).__module__ == module


def test_importing_lacuna_loads_no_library():
    code = "import sys, lacuna; dir(lacuna); print(*sorted({'torch', 'numpy', 'sklearn', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_example_that_runs(name):
    value = getattr(lacuna, name)
    example = doctest.DocTestFinder(recurse=False).find(value, name, module=importlib.import_module(value.__module__))
    assert sum(len(each.examples) for each in example) >= 3
    results = [doctest.DocTestRunner().run(each) for each in example]
    assert not any(result.failed for result in results)
    assert not any(doctest.SKIP in each.options for one in example for each in one.examples)


SOURCES = ROOT / "src"
EXAMPLES = {p.relative_to(SOURCES).as_posix(): p.read_text(encoding="utf-8") for p in SOURCES.rglob("*.py")}
EXAMPLES = {path: text for path, text in EXAMPLES.items() if ">>>" in text}


@pytest.mark.parametrize("path", sorted(EXAMPLES))
def test_every_example_runs_and_none_is_skipped(path):
    assert "doctest: +SKIP" not in EXAMPLES[path]
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted and not result.failed


def test_the_example_of_the_package_runs():
    result = doctest.testmod(lacuna)
    assert result.attempted >= 8
    assert not result.failed


def test_there_is_one_version():
    """pyproject.toml takes it from the package, and the newest section of the changelog is its."""
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "lacuna.__version__"}
    sections = [line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "]
    assert sections[0].split()[1] == lacuna.__version__


def test_its_types_are_for_users_too():
    """PEP 561: without the marker, in the sources and in the package that is built of them, checkers ignore them."""
    assert resources.files("lacuna").joinpath("py.typed").is_file()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["lacuna"]
    assert "tests/repository/user_code.py" in PROJECT["tool"]["mypy"]["files"]


def test_a_users_program_runs():
    """The one whose types `make lint` checks."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    values = user_code.forget(model, torch.rand(12, 1, 4, 4), torch.tensor([0, 1] * 6))
    assert set(values) == {"UA", "KL_forget/retrain"}
    assert user_code.refused() == "from_tensors: no part 'retain'; allowed: retain=(x, y), forget=(x, y) and others"
