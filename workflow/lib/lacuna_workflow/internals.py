"""What the workflow changes in Snakemake itself: each change has a name, versions it was tried with, and a switch.

The switch is the config key `snakemake_patches`, a list of the names that stay on, which a profile may hold; without it
all are on. A change that finds something else in its place than it knows is left out, and says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import snakemake
from packaging.specifiers import SpecifierSet

from lacuna.errors import LacunaError

# the one bound: the Snakefile and pyproject.toml repeat it, and requirements.txt is within it
VERSIONS = ">=9.27,<10"
KEY = "snakemake_patches"


@dataclass(frozen=True)
class Patch:
    """One change. changes: what it replaces or uses, as (owner, attribute). upstream: where Snakemake hears of it."""

    name: str
    changes: tuple[tuple[Any, str], ...]
    make: Callable[[], None]
    upstream: str = ""
    versions: str = VERSIONS

    def lacks(self, version: str) -> str:
        """Why it cannot be made in a version of Snakemake; empty if it can."""
        if version not in SpecifierSet(self.versions, prereleases=True):
            return f"it was tried with {self.versions}"
        missing = [f"{owner.__name__}.{name}" for owner, name in self.changes if not hasattr(owner, name)]
        return f"there is no {', '.join(missing)}" if missing else ""


def require(version: str = snakemake.__version__) -> None:
    """Raise LacunaError for a version of Snakemake that the workflow was not tried with."""
    if version not in SpecifierSet(VERSIONS, prereleases=True):
        raise LacunaError(f"snakemake: {version} is installed; allowed: {VERSIONS}")


def chosen(config: Mapping[str, Any], names: Collection[str]) -> list[str]:
    """The patches that stay on. Raises LacunaError for a value that is no list of names."""
    value = config.get(KEY)
    value = list(names) if value is None else value
    if isinstance(value, str):
        value = [value]
    for name in value if isinstance(value, list | tuple) else [value]:
        if name not in names:
            raise LacunaError(f"{KEY}: {name!r} is not allowed; allowed: a list of {', '.join(names)}")
    return list(value)


def apply(patches: Iterable[Patch], version: str = snakemake.__version__) -> list[str]:
    """Make patches, each once in a process, where Snakemake has what they change; the names of those made now."""
    applied = []
    for patch in patches:
        if patch.name in _MADE:
            continue
        if reason := patch.lacks(version):
            leave(patch.name, reason, version)
            continue
        patch.make()
        _MADE.add(patch.name)
        applied.append(patch.name)
    return applied


def leave(name: str, reason: str, version: str = snakemake.__version__) -> None:
    """Say that a patch is not made, and why."""
    print(f"lacuna: Snakemake {version} is left as it is ({name}: {reason})", file=sys.stderr)


_MADE: set[str] = set()
