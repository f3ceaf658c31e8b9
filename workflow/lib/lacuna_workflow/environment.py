"""workflow/envs/lacuna.yaml, the conda environment of jobs: pyproject.toml's packages, as requirements.txt pins them.

python -m lacuna_workflow.environment [--check]     write the file, or only say whether it is up to date
"""

import re
import sys
import tomllib
from pathlib import Path

from lacuna_workflow import ROOT

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from lacuna.errors import LacunaError

FILE = ROOT / "workflow/envs/lacuna.yaml"
_HEAD = """\
# For `--sdm conda`. The reference environment is requirements.txt (`make setup`); versions here are the same.
# Generated from pyproject.toml and requirements.txt by `make lock`.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python ={python}
  - pip
  - pip:
"""


def content(root: Path = ROOT) -> str:
    """The text of the file: every dependency but Snakemake and its plugins, which run the jobs and not inside them.

    root: the folder of pyproject.toml and requirements.txt. Python is the oldest that lacuna runs on.
    Raises LacunaError for a dependency that requirements.txt does not pin, or not within its bounds.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = next(bound.version for bound in SpecifierSet(project["requires-python"]) if bound.operator == ">=")
    pins = _pins((root / "requirements.txt").read_text(encoding="utf-8"), python)
    lines = []
    for wanted in map(Requirement, project["dependencies"]):
        name = canonicalize_name(wanted.name)
        if name.startswith("snakemake"):
            continue
        if name not in pins or not wanted.specifier.contains(pins[name], prereleases=True):
            raise LacunaError(
                f"requirements.txt: {name} is pinned at {pins.get(name, 'no version')}; allowed: {wanted.specifier} "
                "(pyproject.toml); `make lock` pins anew"
            )
        lines.append(f"      - {name}=={pins[name]}\n")
    return _HEAD.format(python=python) + "".join(lines)


def _pins(requirements: str, python: str) -> dict[str, str]:
    """The pinned version of each package that this Python gets."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    pinned = (Requirement(line.rstrip("\\ ")) for line in requirements.splitlines() if re.match(r"[a-z]", line))
    return {
        canonicalize_name(each.name): next(iter(each.specifier)).version
        for each in pinned
        if each.marker is None or each.marker.evaluate(environment)
    }


def main(arguments: list[str]) -> int:
    """Write the file; with --check compare it. Returns the exit status."""
    try:
        text = content()
    except LacunaError as error:
        print(f"lacuna: {error}", file=sys.stderr)
        return 2
    if arguments != ["--check"]:
        FILE.write_text(text, encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != text:
        print(f"{FILE.relative_to(ROOT)} is out of date: `make lock` writes it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
