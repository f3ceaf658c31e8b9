"""The rooms of `src/lacuna`: which may import which. An arrow that the table lacks is an error, wherever it hides."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import TESTS

import lacuna

SOURCES = Path(lacuna.__file__).parent
# the words that every file may speak; they import one another alone
WORDS = {"errors", "fields", "randomness", "registry", "predictions"}
MODELS = {"artifacts", "data", "models", "sparsity"}
METHODS = MODELS | {"training", "gradients"}
# room → the rooms that it may import
MAY_IMPORT: dict[str, set[str]] = {
    "artifacts": set(),
    "data": {"artifacts"},
    "models": {"artifacts", "data"},
    "sparsity": {"artifacts", "data", "models"},
    "training": MODELS,
    "gradients": MODELS,
    "pruning": METHODS,
    "unlearning": METHODS,
    "measurement": METHODS,
    "procedures": METHODS | {"pruning", "unlearning"},
    # no room with torch
    "evaluation": set(),
    "reporting": {"artifacts", "evaluation"},
    "experiment": METHODS | {"pruning", "unlearning", "measurement", "procedures", "evaluation", "reporting"},
    # joins models and predictions for notebooks; no job imports it
    "notebook": METHODS | {"pruning", "unlearning", "evaluation"},
    "commands": METHODS | {"pruning", "unlearning", "evaluation", "reporting", "experiment"},
}
# the public face, and the command line
DOORS = {"__init__", "__main__"}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCES).parts[0].removesuffix(".py")


def named(path: Path, for_types: bool = True) -> Iterator[str]:
    """Modules that a file names in imports at any depth, those for types alone too unless not asked for, and modules of
    lacuna that are whole strings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for block in [] if for_types else list(ast.walk(tree)):
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            block.body = [ast.Pass()]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, level=level, names=names):
                assert not level and module, f"{path}:{node.lineno}: a relative import"
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Constant(value=str(text)) if re.fullmatch(r"lacuna(\.\w+)+", text):
                yield text


def arrows(path: Path) -> set[str]:
    """The other rooms that a file reaches."""
    rooms = {name.split(".")[1] for name in named(path) if name.startswith("lacuna.")}
    return {room for room in rooms if room in MAY_IMPORT} - {room_of(path)}


FILES = [path for path in sorted(SOURCES.rglob("*.py")) if room_of(path) not in DOORS]


def test_everything_has_a_room() -> None:
    assert {room_of(path) for path in FILES} == WORDS | set(MAY_IMPORT)


def test_the_table_has_no_circle() -> None:
    left = dict(MAY_IMPORT)
    while left:
        free = {room for room, others in left.items() if not others & set(left)}
        assert free, f"a circle among {sorted(left)}"
        left = {room: others for room, others in left.items() if room not in free}


@pytest.mark.parametrize("room", [*MAY_IMPORT, *sorted(WORDS)])
def test_no_arrow_but_those_of_the_table(room: str) -> None:
    allowed = MAY_IMPORT.get(room, set())
    found = {str(path.relative_to(SOURCES)): arrows(path) - allowed for path in FILES if room_of(path) == room}
    assert not {path: sorted(others) for path, others in found.items() if others}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_offers_its_registries_and_no_more(room: str) -> None:
    """What `__init__` imports counts for whoever imports anything of the room."""
    public = {"unlearning", "evaluation"}  # `lacuna.unlearn`, `lacuna.evaluate`
    for path in (SOURCES / room).rglob("__init__.py"):
        reached = {name for name in named(path, for_types=False) if not f"{name}.".startswith(f"lacuna.{room}.")}
        apart = {"lacuna.registry.Registry", "__future__.annotations", "typing.TYPE_CHECKING"}
        assert room in public or reached <= apart, path


def test_tests_have_the_path_of_what_they_test() -> None:
    """Every folder of tests/unit is one of the library; tests/unit/workflow is of workflow/lib."""
    unit = TESTS / "unit"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    assert all(folder == Path("workflow") or (SOURCES / folder).is_dir() for folder in folders), folders
