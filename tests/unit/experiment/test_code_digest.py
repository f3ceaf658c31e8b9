"""A code digest changes with the code that a script can reach, and with nothing else."""

import shutil
from pathlib import Path

import pytest

import lacuna
from lacuna.experiment import code_digest as codedigest
from lacuna.experiment.code_digest import code_digest

SOURCES = codedigest._SOURCES


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the library with a script of its own: tree.digest(), tree.edit(file, old, new)."""

    class Tree:
        script = tmp_path / "scripts" / "script.py"

        def path(self, name: str) -> Path:
            if name.startswith("lib/"):
                return tmp_path / name
            return tmp_path / "scripts" / name if "/" not in name else tmp_path / "src" / name

        def edit(self, name: str, old: str, new: str) -> None:
            text = self.path(name).read_text()
            assert text.count(old) >= 1, f"{old!r} is not in {name}"
            self.path(name).write_text(text.replace(old, new, 1))
            codedigest._read.cache_clear()

        def digest(self, *modules: str) -> str:
            return code_digest(self.script, *modules)

    shutil.copytree(SOURCES / "lacuna", tmp_path / "src" / "lacuna", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(codedigest, "_SOURCES", tmp_path / "src")
    Tree.script.parent.mkdir()
    Tree.script.write_text(
        '"""A script."""\n\nimport neighbour\nfrom shared.job import job\nfrom lacuna.data.splits import split\n\n'
        "split(neighbour.f)\n"
    )
    shared = tmp_path / "lib" / "shared"
    shared.mkdir(parents=True)
    (shared / "__init__.py").write_text("ROOT = 1\n")
    (shared / "job.py").write_text("from .log import log\n\n\ndef job():\n    return log\n")
    (shared / "log.py").write_text("log = 1\n")
    (shared / "drawing.py").write_text("colour = 1\n")
    (Tree.script.parent / "neighbour.py").write_text("def f():\n    return 1\n")
    (Tree.script.parent / "stranger.py").write_text("def g():\n    return 1\n")
    codedigest._read.cache_clear()
    yield Tree()
    codedigest._read.cache_clear()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("script.py", "A script.", "Another description."),
        ("script.py", "import neighbour\n", "# a comment\n\n\nimport neighbour  # and one more\n"),
        ("lacuna/data/splits.py", '"""One split per seed', '"""Exactly one split per seed'),
        ("lacuna/data/splits.py", '"""Split dataset indices', '"""Divide dataset indices'),
        ("lacuna/randomness.py", "    digest = hashlib", "    # why\n    digest = hashlib"),
        # a release that changes no more than its number
        ("lacuna/__init__.py", f'__version__ = "{lacuna.__version__}"', '__version__ = "9.9.9"'),
        (
            "lacuna/randomness.py",
            'derive(*parts: str | int) -> int:\n    """',
            'derive(\n    *parts: str | int\n) -> int:\n    """',
        ),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tree, name, old, new):
    before = tree.digest()
    tree.edit(name, old, new)
    assert tree.digest() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("script.py", "split(neighbour.f)", "split(neighbour.f, 1)"),
        ("neighbour.py", "return 1", "return 2"),
        # beside the folder of scripts: what all of them share
        ("lib/shared/job.py", "return log", "return not log"),
        ("lib/shared/log.py", "log = 1", "log = 2"),
        ("lib/shared/__init__.py", "ROOT = 1", "ROOT = 2"),
        ("lacuna/data/splits.py", "VAL_FRACTION = 0.1", "VAL_FRACTION = 0.2"),
        # reached through splits only
        ("lacuna/randomness.py", ">> 1", ">> 2"),
        ("lacuna/errors.py", "LacunaError(Exception)", "LacunaError(ValueError)"),
        # importing a module runs its packages
        ("lacuna/data/__init__.py", '"dataset"', '"data set"'),
        ("lacuna/__init__.py", "has no attribute", "lacks"),
    ],
)
def test_code_that_the_script_reaches_counts(tree, name, old, new):
    before = tree.digest()
    tree.edit(name, old, new)
    assert tree.digest() != before
    tree.edit(name, new, old)
    assert tree.digest() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("stranger.py", "return 1", "return 2"),
        ("lacuna/unlearning/methods/ga.py", "return -cross", "return +cross"),
        ("lib/shared/drawing.py", "colour = 1", "colour = 2"),
    ],
)
def test_code_out_of_reach_does_not_count(tree, name, old, new):
    before = tree.digest()
    tree.edit(name, old, new)
    assert tree.digest() == before


def test_new_file_of_a_registry_does_not_count(tree):
    before = tree.digest("lacuna.unlearning.methods.ga")
    ga = tree.path("lacuna/unlearning/methods/ga.py")
    ga.with_name("newcomer.py").write_text(ga.read_text().replace('"ga"', '"newcomer"'))
    codedigest._read.cache_clear()
    assert tree.digest("lacuna.unlearning.methods.ga") == before


def test_module_found_through_a_registry_counts_when_it_is_named(tree):
    before = {m: tree.digest(f"lacuna.unlearning.methods.{m}") for m in ("ga", "ft")}
    assert len({tree.digest(), *before.values()}) == 3
    tree.edit("lacuna/unlearning/methods/ga.py", "return -cross", "return +cross")
    assert tree.digest("lacuna.unlearning.methods.ga") != before["ga"]
    assert tree.digest("lacuna.unlearning.methods.ft") == before["ft"]
    # what the named module imports counts too
    tree.edit("lacuna/training/sgd.py", "-lr)", "-2 * lr)")
    assert tree.digest("lacuna.unlearning.methods.ft") != before["ft"]


def test_imports_for_type_checkers_only_do_not_count(tree):
    tree.edit(
        "neighbour.py", "def f", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stranger\ndef f"
    )
    before = tree.digest()
    tree.edit("stranger.py", "return 1", "return 2")
    assert tree.digest() == before
    tree.edit("neighbour.py", "def f", "if TYPE_CHECKING:\n    pass\nelse:\n    import stranger\ndef f")
    before = tree.digest()
    tree.edit("stranger.py", "return 2", "return 3")
    assert tree.digest() != before, "the other branch is imported"


def test_what_writes_logs_alone_does_not_count(tree):
    """Neither its words, nor that it is called."""
    before = tree.digest()
    tree.path("lib/shared/log_lines.py").write_text("import stranger\n\n\ndef begin(log):\n    log(1)\n")
    tree.edit("lib/shared/job.py", "from .log import log", "from . import log_lines\nfrom .log import log")
    tree.edit("lib/shared/job.py", "    return log", "    log_lines.begin(log)\n    return log")
    tree.edit("lib/shared/log.py", "log = 1", "from shared import log_lines\n\nlog = 1")
    assert tree.digest() != before, "an import that stands alone is a statement of the file"
    tree.edit("lib/shared/log.py", "from shared import log_lines\n\n", "")
    with_it = tree.digest()
    tree.edit("lib/shared/log_lines.py", "log(1)", "log(2)")
    assert tree.digest() == with_it
    tree.edit("lib/shared/job.py", "    log_lines.begin(log)\n", "")
    assert tree.digest() == with_it
    tree.edit("lib/shared/job.py", "    return log", "    return log_lines.begin(log)")
    assert tree.digest() != with_it, "an answer counts"


def test_the_name_of_a_script_does_not_count(tree):
    """A rule and its script may be called otherwise: nothing that they made is made again."""
    before = tree.digest()
    tree.script = tree.script.rename(tree.script.with_name("renamed.py"))
    codedigest._read.cache_clear()
    assert tree.digest() == before


def test_import_inside_a_function_counts(tree):
    tree.edit("neighbour.py", "return 1", "from lacuna.evaluation.metrics import gap\n    return gap")
    before = tree.digest()
    tree.edit("lacuna/evaluation/metrics/gap.py", "/ len(gaps)", "/ 4")
    assert tree.digest() != before


def test_circular_imports_end(tree):
    tree.edit("neighbour.py", "def f", "import script\ndef f")
    assert tree.digest() == tree.digest()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xef\xbb\xbfdef f():\n    return 1\n", b"\xef\xbb\xbfdef f():\n    return 2\n"),
        (b"# coding: latin-1\nx = '\xe9'\n", b"# coding: latin-1\nx = '\xe8'\n"),
        (b"print 'old'\n", b"print 'older'\n"),
        (b"x = '\xe9'\n", b"x = '\xe8'\n"),
        (b"x = 1\0\n", b"x = 2\0\n"),
    ],
)
def test_a_neighbour_counts_whether_or_not_python_can_parse_it(tree, before, after):
    """With a byte order mark, in another coding, of Python 2, in no coding at all."""
    tree.path("neighbour.py").write_bytes(before)
    first = tree.digest()
    codedigest._read.cache_clear()
    tree.path("neighbour.py").write_bytes(after)
    assert tree.digest() != first


def test_a_coding_is_no_code(tree):
    tree.path("neighbour.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    first = tree.digest()
    codedigest._read.cache_clear()
    tree.path("neighbour.py").write_bytes(b"\xef\xbb\xbfx = '\xc3\xa9'\n")
    assert tree.digest() == first


def reached_from(script, monkeypatch):
    """The files of lacuna that count for a script, as paths below src/lacuna."""
    reached, read = set(), codedigest._read
    monkeypatch.setattr(codedigest, "_read", lambda source: reached.add(source.path) or read(source))
    code_digest(SOURCES.parent / "workflow/scripts" / script)
    library = SOURCES / "lacuna"
    return {path.relative_to(library).as_posix() for path in reached if path.is_relative_to(library)}


@pytest.mark.parametrize("script", ["split.py", "train.py", "unlearn.py", "unprune.py"])
def test_what_is_told_of_a_job_makes_no_model_again(script, monkeypatch):
    """A fact more in provenance.csv, a field more in a metrics file or another way to look at the user's own files is
    no reason to train: the jobs that make models do not reach these modules."""
    reached = reached_from(script, monkeypatch)
    assert "artifacts/files.py" in reached
    assert not reached & {"artifacts/provenance.py", "artifacts/forms.py", "data/user_files.py"}


@pytest.mark.parametrize("script", ["train.py", "random_init.py", "unlearn.py"])
def test_no_criterion_or_pruner_counts_where_nothing_is_pruned(script, monkeypatch):
    """What a grid's own pruner is, a job is told by name; `unlearn.py` builds one for compact cells alone."""
    reached = reached_from(script, monkeypatch)
    assert "models/inference.py" in reached
    assert {path for path in reached if path.startswith("pruning/")} <= {"pruning/__init__.py"}
    assert script == "unlearn.py" or not any(path.startswith("unlearning/") for path in reached)


def test_no_table_counts_for_a_figure(monkeypatch):
    """Figures read files of tables: another sum in one, or another word, redraws nothing by itself."""
    tables = {path for path in reached_from("figure.py", monkeypatch) if path.startswith("reporting/tables/")}
    assert tables == {"reporting/tables/__init__.py", "reporting/tables/files.py"}


# a type hint of each kind, and what it becomes
HINTED = '''"""Words."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from lacuna.evaluation.metrics import gap

LIMIT: int = 3
known: dict[str, int]


@dataclass
class Options:
    kind: ClassVar[str] = "a"
    lr: float = 0.1
    made: Callable[[int], str] = str


class Plain:
    steps: int
    size: int = 2

    def f(self, x: int, *rest: int, scale: float = 1.0, **more: gap.Gap) -> Mapping[str, int]:
        """Words."""
        found: dict[str, int] = {}
        total: int
        total = x
        return found


async def g(x: typing.Any) -> None: ...
'''
BARE = """from dataclasses import dataclass, field

LIMIT = 3

@dataclass
class Options:
    kind = "a"
    lr: float = 0.1
    made: Callable[[int], str] = str

class Plain:
    size = 2

    def f(self, x, *rest, scale=1.0, **more):
        found = {}
        total = x
        return found

async def g(x):
    pass
"""


def test_type_hints_do_not_count(tree):
    """Nor do the imports that only they need, or what stands in a type-checking block."""
    tree.path("neighbour.py").write_text(HINTED)
    before = tree.digest()
    for old, new in (
        ("x: int, *rest: int", "x: float | None, *rest: 'str'"),
        ("Mapping[str, int]:", "dict[str, typing.Any]:"),
        ("LIMIT: int", "LIMIT: typing.Final[int]"),
        ("known: dict[str, int]\n", ""),
        ("ClassVar[str]", "ClassVar[typing.Any]"),
        ("found: dict[str, int] =", "found ="),
        ("        total: int\n", ""),
        ("    steps: int\n", ""),
        ("import gap", "import accuracy as gap"),
    ):
        tree.edit("neighbour.py", old, new)
        assert tree.digest() == before, new
    bare = BARE.replace("from dataclasses", "import typing\nfrom collections.abc import Callable\nfrom dataclasses")
    tree.path("neighbour.py").write_text(bare)
    codedigest._read.cache_clear()
    assert tree.digest() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lr: float = 0.1", "lr: int = 0.1"),
        ("lr: float = 0.1", "lr: ClassVar[float] = 0.1"),
        ('kind: ClassVar[str] = "a"', 'kind: str = "a"'),
        ('kind: ClassVar[str] = "a"', 'kind: ClassVar[str] = "b"'),
        ("LIMIT: int = 3", "LIMIT: int = 4"),
        ("scale: float = 1.0", "scale: float = 2.0"),
    ],
)
def test_annotations_that_make_fields_count_and_values_do(tree, old, new):
    tree.path("neighbour.py").write_text(HINTED)
    before = tree.digest()
    tree.edit("neighbour.py", old, new)
    assert tree.digest() != before


def test_fields_of_named_tuples_count(tree):
    tree.path("neighbour.py").write_text("import typing\nclass Pair(typing.NamedTuple):\n    a: int\n")
    before = tree.digest()
    tree.edit("neighbour.py", "a: int", "b: int")
    assert tree.digest() != before


def test_type_hints_of_the_users_own_modules_count(tree, tmp_path, monkeypatch):
    """Who reads them, such as torch.jit, is not known."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_network.py").write_text('"""Words."""\ndef net(x: int):\n    return x\n')
    before = tree.digest("my_network")
    (tmp_path / "my_network.py").write_text('"""More."""\ndef net(x: float):\n    return x\n')
    codedigest._read.cache_clear()
    assert tree.digest("my_network") != before
    (tmp_path / "my_network.py").write_text('"""More."""\ndef net(x: int):\n    return x  # why\n')
    codedigest._read.cache_clear()
    assert tree.digest("my_network") == before


def test_what_is_kept_of_files_is_what_parsing_them_says(tree, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(codedigest.atexit, "register", kept.append)
    monkeypatch.setattr(codedigest, "_FILES", {})
    codedigest.remember(tmp_path / "cache")
    before = tree.digest()
    kept[0]()
    monkeypatch.setattr(codedigest, "_FILES", {})
    monkeypatch.setattr(codedigest, "_parsed", lambda source, content: pytest.fail(f"{source.path} is parsed again"))
    codedigest._read.cache_clear()
    codedigest.remember(tmp_path / "cache")
    assert tree.digest() == before
    tree.edit("neighbour.py", tree.path("neighbour.py").read_text(), "LIMIT = 12345\n")
    with pytest.raises(pytest.fail.Exception, match="is parsed again"):
        tree.digest()
