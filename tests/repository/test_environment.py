"""The dependencies that pyproject.toml names, and the conda environment that is generated of them."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from lacuna_workflow import environment

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lacuna.errors import LacunaError
from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DISTRIBUTIONS = importlib.metadata.packages_distributions()
DEPENDENCIES = {canonicalize_name(each.name): each for each in map(Requirement, PROJECT["dependencies"])}

# all that lacuna runs, in jobs and while it plans
_SOURCES = ("src", "workflow/scripts", "workflow/lib")


def imported(*folders: str) -> dict[str, Path]:
    """Packages of others that the sources in these folders import, at any depth, each with one file that does."""
    return {
        name.partition(".")[0]: path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in _modules(path)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "lacuna", "lacuna_workflow"}
    }


def _modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def conda() -> dict[str, Requirement]:
    parts = yaml.safe_load((ROOT / "workflow/envs/lacuna.yaml").read_text(encoding="utf-8"))["dependencies"]
    listed = next(part["pip"] for part in parts if isinstance(part, dict))
    return {canonicalize_name(each.name): each for each in map(Requirement, listed)}


def providers(module: str) -> set[str]:
    """The distributions that a package comes with ("PIL" → pillow)."""
    return {canonicalize_name(name) for name in DISTRIBUTIONS[module]}


def test_everything_that_is_imported_is_a_dependency():
    """A package that another one happens to bring may leave with it."""
    modules = imported(*_SOURCES)
    assert {"torch", "torchvision", "optuna", "PIL", "packaging"} <= set(modules)
    assert not {name: path for name, path in modules.items() if not providers(name) & set(DEPENDENCIES)}


def test_the_conda_environment_has_what_jobs_import():
    """With it every dataset, network and search runs, not those alone that need no further package."""
    lacking = {
        name: path
        for name, path in imported(*_SOURCES).items()
        if not name.startswith("snakemake") and not providers(name) & set(conda())
    }
    assert not lacking


def test_the_conda_environment_is_within_the_bounds():
    """Every dependency but Snakemake's, in a version that pyproject.toml allows, exactly."""
    assert set(conda()) == {name for name in DEPENDENCIES if not name.startswith("snakemake")}
    for name, pinned in conda().items():
        assert re.fullmatch(r"==[0-9.]+", str(pinned.specifier)), pinned
        assert DEPENDENCIES[name].specifier.contains(str(pinned.specifier)[2:]), pinned


def test_the_conda_environment_is_the_generated_one():
    assert environment.FILE.read_text(encoding="utf-8") == environment.content()


@pytest.mark.parametrize(
    ("pins", "told"),
    [
        ("numpy==2.4.6 \\\n    --hash=sha256:00\n", "2.4.6"),
        ("numpy==1.0 ; python_full_version >= '3.12'\nnumpy==2.1 ; python_full_version < '3.12'\n", "2.1"),
    ],
)
def test_a_pin_is_that_of_the_oldest_python(pins, told, tmp_path):
    write(tmp_path, pins)
    text = environment.content(tmp_path)
    assert yaml.safe_load(text)["dependencies"] == ["python =3.11", "pip", {"pip": [f"numpy=={told}"]}]


@pytest.mark.parametrize("pins", ["", "numpy==1.26\n"])
def test_a_dependency_without_a_usable_pin_is_refused(pins, tmp_path):
    write(tmp_path, pins)
    with pytest.raises(
        LacunaError, match=r"requirements.txt: numpy is pinned at .*; allowed: >=2 .pyproject.toml.; `make lock`"
    ):
        environment.content(tmp_path)


def write(folder: Path, pins: str) -> None:
    project = '[project]\nrequires-python = ">=3.11,<3.14"\ndependencies = ["snakemake>=9", "numpy>=2"]\n'
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    (folder / "requirements.txt").write_text(pins, encoding="utf-8")
