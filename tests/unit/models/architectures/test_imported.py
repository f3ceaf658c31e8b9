"""A network of the user's: built where it is asked for, refused in one sentence, part of its cells' code digest."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from lacuna.errors import LacunaError
from lacuna.experiment import code_digest as codedigest
from lacuna.experiment.catalogue import in_child
from lacuna.experiment.code_digest import code_digest
from lacuna.experiment.feasibility import Question, answer
from lacuna.fields import build, resolve, schema_of, values_of
from lacuna.models import MODELS

NETS = """
import torch
from torch import nn

from mynets.parts import block


class Net(nn.Module):
    def __init__(self, classes, channels, width):
        super().__init__()
        self.body = nn.Sequential(block(channels, width), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(self.body(x))


class Scaled(Net):
    def __init__(self, classes, channels, width):
        super().__init__(classes, channels, width)
        self.scale = nn.Parameter(torch.ones(()))


class Loose(Scaled):
    def reset_parameters(self):
        self.classifier.reset_parameters()


class Tail(Net):
    def __init__(self, classes, channels, width):
        super().__init__(classes, channels, width)
        self.classifier = nn.Sequential(nn.Linear(width, classes), nn.Tanh())
        self.other = nn.Linear(2, 2)


class Hidden(Net):
    def __init__(self, classes, channels, width):
        super().__init__(classes, channels, width)
        self.head, self.classifier = self.classifier, None
        self.other = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.body(x))


class Linear(nn.Module):
    def __init__(self, classes, channels, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, x):
        return self.layers(x)


class Prunable(Linear):
    prunes_linear = True


def make(classes, channels, width=4, kind="Net"):
    print("a user's code may talk")
    return globals()[kind](classes, channels, width)


def short(classes, channels):
    return make(classes - 1, channels)


def broken(classes, channels):
    raise RuntimeError("no such luck\\nat all")


def leaves(classes, channels):
    raise SystemExit(3)


def nothing(classes, channels):
    return nn.ReLU()


value = 3
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the user's in the working directory."""
    folder = tmp_path / "mynets"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text(textwrap.dedent(NETS))
    (folder / "parts.py").write_text(
        "from torch import nn\n\n\ndef block(a, b):\n"
        "    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    codedigest._read.cache_clear()
    yield folder
    codedigest._read.cache_clear()
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "mynets":
            del sys.modules[name]


def entry(target="mynets.nets:make", **kwargs):
    return {"method": "import", "import": target, "kwargs": kwargs}


def asked(axis="", method=None, sparsity="", shape=(1, 8, 8), model=None, **options):
    """The answer to one question, in this process."""
    question = Question(model or entry(**options), {"classes": 3, "shape": list(shape)}, axis, method or {}, sparsity)
    return answer([question])[0]


# ---- what is built ---------------------------------------------------------------------------------------------------


def test_function_gets_classes_channels_and_its_own_arguments(package):
    model = build(MODELS["import"], {"import": "mynets.nets:make", "kwargs": {"width": 6}}).build(3, 2)
    assert model(torch.zeros(4, 2, 8, 8)).shape == (4, 3)
    assert model.classifier.in_features == 6


def test_size_is_that_of_the_network_as_it_is_asked_for(package):
    found = asked(width=5)
    assert found == {"parameters": 5 * 9 + 5 + 10 + 5 * 3 + 3, "multiplications_per_pixel": 5 * 9}


def test_working_directory_comes_last(package):
    """A file of the user's beside the package hides no library."""
    (package.parent / "random.py").write_text("raise ValueError('mine')")
    code = (
        "import sys; sys.path.pop(0); from lacuna.fields import build; from lacuna.models import MODELS; "
        "build(MODELS['import'], {'import': 'mynets.nets:make'}).build(3, 1); import random; print(random.random() < 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("True\n"), done.stderr


def test_order_of_kwargs_does_not_matter():
    schema = schema_of(MODELS["import"])
    given = [{"x": {"p": 1, "q": 2}, "a": 1.0}, {"a": 1.0, "x": {"q": 2, "p": 1}}]
    one, other = ({"import": "a.b:c", "kwargs": kwargs} for kwargs in given)
    assert json.dumps(resolve(schema, one, "")) == json.dumps(resolve(schema, other, ""))
    assert values_of(build(MODELS["import"], one))["kwargs"]["a"] == 1.0
    assert "import_" not in json.dumps(schema)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "mynets.nots:make"}, "mynets.nots:make: cannot be imported (ModuleNotFoundError: No module named"),
        ({"target": "mynets.nets:made"}, "'made' is no function of mynets.nets; allowed: a function of it"),
        ({"target": "mynets.nets:value"}, "'value' is no function of mynets.nets"),
        ({"target": "mynets.nets:nothing"}, "it gives a ReLU; allowed: a torch.nn.Module with parameters"),
        ({"target": "mynets.nets:broken"}, "it fails (RuntimeError: no such luck); allowed: make(classes=, channels="),
        ({"target": "mynets.nets:leaves"}, "it fails (SystemExit: 3); allowed: make("),
        ({"depth": 3}, "it fails (TypeError: make() got an unexpected keyword argument 'depth')"),
        ({"target": "mynets.nets:short"}, "for 2 images it gives (2, 2); allowed: logits of the shape (2, 3)"),
        ({"kind": "Scaled"}, "Scaled has parameters of its own (scale) but no reset_parameters method"),
        ({"kind": "Loose"}, "Loose.reset_parameters leaves 'scale' as it is; allowed: a method that draws every"),
        ({"kind": "Hidden"}, "its classifier would be 'other', which has 2 outputs; allowed: a Linear layer with 3"),
        ({"kind": "Linear", "shape": (1, 9, 9)}, "it cannot take 1×9×9 images ("),
    ],
)
def test_network_that_cannot_serve_is_one_sentence(package, options, said):
    refused = asked(**options)["refused"]
    assert said in refused
    assert "allowed: " in refused and "\n" not in refused


@pytest.mark.parametrize("name", ["code", "time", "test", "colorsys.nets"])
def test_module_that_a_library_hides_is_named(tmp_path, monkeypatch, name):
    """Python finds its own first, and would speak of that one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True)
    path.write_text("from torch import nn\ndef make(classes, channels):\n    return nn.Linear(channels, classes)\n")
    with pytest.raises(LacunaError) as caught:
        build(MODELS["import"], {"import": f"{name}:make"}).build(3, 1)
    assert str(caught.value).startswith(f"import: {name}:make: {path} is hidden by the library ")
    assert str(caught.value).endswith("allowed: a file whose name no library has")
    monkeypatch.syspath_prepend(tmp_path)
    path.rename(path.with_name("lacuna_mine.py"))
    if "." not in name:
        assert build(MODELS["import"], {"import": "lacuna_mine:make"}).build(3, 1).out_features == 3
        sys.modules.pop("lacuna_mine")


@pytest.mark.parametrize("where", ["top", "make"])
def test_module_that_goes_elsewhere_does_not_take_the_job_along(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    name = f"lacuna_wanders_{where}"
    leave = "os.chdir('/')"
    lines = ["import os", "from torch import nn", leave if where == "top" else "", "def make(classes, channels):"]
    lines += [f"    {leave if where == 'make' else 'pass'}", "    return nn.Linear(channels, classes)"]
    (tmp_path / f"{name}.py").write_text("\n".join(lines))
    build(MODELS["import"], {"import": f"{name}:make"}).build(3, 1)
    assert os.getcwd() == str(tmp_path)


def test_classifier_may_be_named_and_linear_layers_may_be_prunable(package):
    assert "refused" not in asked(kind="Tail")
    assert "refused" not in asked(kind="Prunable")
    omp = {"method": "omp", "scope": "global", "include_linear": False}
    assert asked("pruners", omp, "0.5", kind="Prunable") == {}
    refused = asked("pruners", {"method": "filter_l2"}, "0.5", kind="Prunable")["refused"]
    assert "whose outputs heads and shortcuts share" in refused
    assert asked("pruners", {"method": "filter_l2"}, "0.5") == {}
    assert asked("unlearners", {"method": "cf_k", "k": 1}) == {}
    for start in ("theta0", "rewind", "fresh"):
        assert asked("unlearners", {"method": "retrain", "start": start}) == {}, "the plan has what a job will have"
    assert asked("unlearners", {"method": "cf_k", "k": 2})["refused"].startswith("cf_k.k: 2 is not allowed for Net; ")


def test_answers_come_through_what_the_users_code_prints(package):
    questions = [{"model": entry(), "meta": {"classes": 3, "shape": [1, 8, 8]}}]
    child = in_child("lacuna.experiment.feasibility", json.dumps(questions))
    begun, told = map(json.loads, child.stdout.splitlines())
    assert begun and told["parameters"] == 4 * 9 + 4 + 8 + 15, child.stderr
    assert "may talk" in child.stderr


# ---- what reruns -----------------------------------------------------------------------------------------------------


def digest():
    codedigest._read.cache_clear()
    return code_digest(codedigest.__file__, "mynets.nets")


@pytest.mark.parametrize(
    ("file", "old", "new", "counts"),
    [
        ("nets.py", "width=4", "width=5", True),
        ("nets.py", "value = 3", "value = 3  # a comment", False),
        ("parts.py", "padding=1", "padding=0", True),
        ("__init__.py", "", "import os", True),
        ("strangers.py", "", "import os", False),
    ],
)
def test_code_digest_follows_the_users_package(package, file, old, new, counts):
    (package / "strangers.py").write_text("")
    before = digest()
    text = (package / file).read_text()
    (package / file).write_text(text.replace(old, new, 1) if old else new)
    assert (digest() != before) == counts
    assert "mynets" not in sys.modules, "nothing of it ran"


def test_relative_imports_are_followed(package):
    (package / "nets.py").write_text("from . import parts\nfrom .deep.inner import f\n")
    (package / "deep").mkdir()
    (package / "deep/__init__.py").write_text("")
    (package / "deep/inner.py").write_text("from ..strangers import g as f\n")
    (package / "strangers.py").write_text("def g(): return 1\n")
    seen = {digest()}
    for file in ("parts.py", "deep/inner.py", "strangers.py"):
        (package / file).write_text((package / file).read_text() + "x = 1\n")
        seen.add(digest())
    assert len(seen) == 4


def test_installed_module_counts_by_its_own_file(package):
    plain = code_digest(codedigest.__file__)
    assert code_digest(codedigest.__file__, "torchvision.models.resnet") != plain
    assert len([*codedigest._of_user("torchvision.models.resnet")]) == 1
    assert code_digest(codedigest.__file__, "no_such_module.at.all") == plain, "whoever builds it says so"


def test_text_that_is_no_target_is_refused():
    with pytest.raises(
        LacunaError, match=r'^import.import: "mynets.nets" is not allowed; allowed: a text like "package'
    ):
        build(MODELS["import"], {"import": "mynets.nets"})
