"""Registries find their entries by reading files and import only what is asked for."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lacuna
from lacuna.errors import LacunaError
from lacuna.experiment.catalogue import registries
from lacuna.registry import Registry, register

SOURCES = str(Path(lacuna.__file__).parents[1])


def modules_after(code: str) -> list[str]:
    """The modules that a fresh interpreter has loaded after running the code."""
    child = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": SOURCES},
    )
    return json.loads(child.stdout)


def test_listing_imports_nothing_and_use_imports_one_entry():
    loaded = modules_after(
        "from lacuna.unlearning import UNLEARNERS\n"
        "from lacuna.data import DATASETS, SCENARIOS\n"
        "from lacuna.models import MODELS\n"
        "from lacuna.pruning import PRUNERS\n"
        "from lacuna.evaluation import METRICS\n"
        "from lacuna.reporting import FIGURES\n"
        "for r in (UNLEARNERS, DATASETS, SCENARIOS, MODELS, PRUNERS, METRICS, FIGURES):\n"
        "    assert len(list(r)) == len(r) > 0\n"
        "    assert all(r.module(name).startswith(r.package) and name in r for name in r)\n"
        "    assert 'no such name' not in r\n"
        "SCENARIOS['class']"
    )
    assert "lacuna.data.scenarios.whole_class" in loaded
    unwanted = {"torch", "sklearn", "matplotlib", "pandas", "lacuna.data.scenarios.random_fraction"}
    entries = {
        "lacuna.unlearning.methods.ga",
        "lacuna.models.architectures.resnet",
        "lacuna.data.datasets.digits",
        "lacuna.evaluation.metrics.accuracy",
    }
    assert not (unwanted | entries) & set(loaded)


def test_importing_the_package_loads_nothing_heavy():
    assert not {"torch", "numpy", "sklearn"} & set(modules_after("import lacuna; lacuna.LacunaError"))


def package(folder: Path, **files: str) -> Registry:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return Registry(folder.name, "thing", str(folder))


ONE = "from lacuna.registry import register\n\n@register('one', unit='s')\nclass One:\n    pass\n"
TWO = "from lacuna.registry import register\n\n@register('two')\ndef two():\n    return 2\n"


def test_new_file_is_a_new_entry(tmp_path, monkeypatch):
    folder = tmp_path / "things_of_a_test"
    folder.mkdir()
    things = package(folder, __init__="", b=ONE, a=TWO)
    monkeypatch.syspath_prepend(tmp_path)
    assert list(things) == ["one", "two"]
    assert things.module("two") == "things_of_a_test.a"
    assert not any(m.startswith("things_of_a_test") for m in sys.modules)
    assert things["two"]() == 2
    assert "things_of_a_test.b" not in sys.modules
    assert (things["one"].name, things["one"].about) == ("one", {"unit": "s"})


def test_only_decorated_definitions_count(tmp_path):
    text = (
        "# @register('comment')\nTEXT = \"@register('text')\"\n\ndef register_like(name):\n    return name\n\n"
        "@register_like('like')\ndef f(): ...\n\n@register(NAME)\ndef g(): ...\n\ndef h():\n"
        "    @register('nested')\n    def inner(): ...\n\n@register('real')\ndef k(): ...\n"
    )
    assert list(package(tmp_path, a=text)) == ["real"]


def test_name_defined_twice_is_refused_with_both_places(tmp_path):
    things = package(tmp_path, a=ONE, b=ONE)
    with pytest.raises(LacunaError) as caught:
        list(things)
    assert str(tmp_path / "b.py") in str(caught.value)
    assert f"the thing 'one' is already defined in {tmp_path.name}.a" in str(caught.value)


def test_unknown_name_lists_the_known_ones(tmp_path):
    things = package(tmp_path, a=ONE, b=TWO)
    for ask in (things.__getitem__, things.module):
        with pytest.raises(LacunaError, match=r"^unknown thing 'three'; allowed: one, two$"):
            ask("three")


def test_every_entry_bears_its_name():
    for registry in registries().values():
        for name, entry in registry.items():
            assert entry.name == name
            assert entry.__module__ == registry.module(name)
            assert entry.__doc__


def test_register_returns_the_very_object():
    def f(): ...

    assert register("f", low=0)(f) is f
    assert (f.name, f.about) == ("f", {"low": 0})


def test_source_that_cannot_be_parsed_is_refused_with_its_line(tmp_path):
    things = package(tmp_path, a=ONE, b="x = 1\ndef f(:\n")
    with pytest.raises(LacunaError, match=r"b\.py, line 2: SyntaxError: "):
        list(things)


BROKEN = {
    "def f(:": r"late\.py, line 1: SyntaxError: invalid syntax",
    'from lacuna.registry import register\n\n\n@register("late")\nclass Late(Missing): ...': (
        r"late\.py, line 5: NameError: name 'Missing' is not defined"
    ),
    "from dataclasses import dataclass\nfrom lacuna.unlearning.methods.ft import FineTuning, register\n\n\n"
    '@register("late")\n@dataclass\nclass Late(FineTuning):\n    """Late."""': (
        r"late\.py, line \d: TypeError: cannot inherit non-frozen dataclass from a frozen one"
    ),
}


@pytest.mark.parametrize(("source", "asks"), [*zip(BROKEN, ["plan", "pages", "plan"], strict=True)])
def test_a_broken_method_is_one_sentence_with_file_and_line(tmp_path, source, asks):
    """For a plan and for the pages, whatever is wrong with it."""
    copied = tmp_path / "src" / "lacuna"
    shutil.copytree(Path(lacuna.__file__).parent, copied)
    (copied / "unlearning" / "methods" / "late.py").write_text(source + "\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    plan = f"from lacuna.experiment import catalogue; catalogue.load({str(tmp_path)!r})"
    command = ["-c", plan] if asks == "plan" else ["-m", "lacuna.commands.docs", "--check"]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode
    lines = done.stderr.splitlines()
    assert re.search(BROKEN[source], lines[-1]), done.stderr
    if asks == "plan":
        assert "LacunaError: the methods of lacuna cannot be listed: " in lines[-1]
    else:
        assert len(lines) == 1 and lines[0].startswith("lacuna: the pages cannot be written: ")
