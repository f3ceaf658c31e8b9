"""A class by its name is the class by its number: the same experiment, and so the same cells."""

import re

import numpy as np
import pytest
import yaml
from places import ROOT

from lacuna.artifacts.files import write_json
from lacuna.errors import LacunaError
from lacuna.experiment.config import load

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
PETS = ("bird", "cat", "dog")


def npz(path, names=PETS):
    rng = np.random.default_rng(0)
    y = np.arange(12) % 3
    x = rng.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    np.savez(path, **arrays, **({} if names is None else {"classes": np.array(names)}))
    return str(path)


@pytest.fixture
def plan(tmp_path, known):
    def run(forget_class, datasets, **more):
        grid = {
            "datasets": datasets,
            "models": {"resnet8": {}},
            "recipes": {"short": {"epochs": 5, "rewind_epoch": 1}},
            "seeds": [0],
            "scenarios": {"one": {"method": "class", "forget_class": forget_class}},
            "pruners": {},
            "sparsities": ["dense"],
            "unlearners": {"retrain": {}, "ft": {}},
        }
        held = {"name": "mine", "device": "cpu", "metrics": ["UA"], "grid": grid}
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(held))
        return load([tmp_path / "c.yaml"], {}, SCHEMA, known, **more)

    return run


@pytest.mark.parametrize(("name", "number"), [("cat", 1), (["dog", "bird"], [2, 0]), (["cat", 2], [1, 2]), (1, 1)])
def test_a_name_is_its_number(plan, tmp_path, name, number):
    datasets = {"pets": {"method": "npz", "path": npz(tmp_path / "pets.npz")}}
    assert plan(name, datasets).axes["scenarios"] == plan(number, datasets).axes["scenarios"]
    assert plan(name, datasets).entry("scenarios", "one").values["forget_class"] == number


@pytest.mark.parametrize(
    ("name", "names", "told"),
    [
        (
            "cta",
            PETS,
            "'cta' is no class of dataset 'pets' (did you mean 'cat'?); allowed: 0 to 2, or a name: bird, cat, dog",
        ),
        ("cat", None, "'cat' is not known, as dataset 'pets' names no classes; allowed: a number"),
        (["cat", 1], PETS, "['cat', 1] names a class twice; allowed: each class once"),
    ],
)
def test_a_name_that_is_none_is_refused(plan, tmp_path, name, names, told):
    datasets = {"pets": {"method": "npz", "path": npz(tmp_path / "pets.npz", names)}}
    with pytest.raises(LacunaError, match=rf"^{re.escape(f'grid.scenarios.one.forget_class: {told}')}$"):
        plan(name, datasets)


def test_a_name_with_two_numbers_is_refused(plan, tmp_path):
    datasets = {
        label: {"method": "npz", "path": npz(tmp_path / f"{label}.npz", names)}
        for label, names in (("a", PETS), ("b", PETS[::-1]))
    }
    assert plan("cat", datasets).entry("scenarios", "one").values["forget_class"] == 1
    told = (
        "grid.scenarios.one.forget_class: 'dog' is class 2 of a and class 0 of b; "
        "allowed: a name with the same number in all datasets, or an experiment for each"
    )
    with pytest.raises(LacunaError, match=rf"^{re.escape(told)}$"):
        plan("dog", datasets)


def test_files_that_are_missing_are_named_by_their_key(plan, tmp_path):
    with pytest.raises(LacunaError, match=r"^grid\.datasets\.pets\.root: .*nowhere: no such folder"):
        plan("cat", {"pets": {"method": "image_folder", "root": str(tmp_path / "nowhere"), "size": 8}})


def test_ingested_names_need_no_files(plan, tmp_path):
    """As of a published dataset whose files are elsewhere; one that was ingested from another entry does not count."""
    experiment = plan(0, {"cifar10": {}})
    entry = {"method": "cifar10", **experiment.axes["datasets"]["cifar10"].values}
    folder = tmp_path / "data/cifar10"
    folder.mkdir(parents=True)
    write_json(folder / "meta.json", {"entry": entry, "class_names": ["x", "deer"]})
    assert plan("deer", {"cifar10": {}}, ingested=tmp_path / "data").entry("scenarios", "one").values == {
        "forget_class": 1
    }
    write_json(folder / "meta.json", {"entry": entry | {"root": "other"}, "class_names": ["x", "deer"]})
    assert plan("deer", {"cifar10": {}}, ingested=tmp_path / "data").entry("scenarios", "one").values == {
        "forget_class": 4
    }


@pytest.mark.parametrize("older", [{}, {"class_names": None}, {"class_names": ["x"], "content": "of other files"}])
def test_a_dataset_that_an_older_version_ingested_is_asked_itself(plan, tmp_path, older):
    """It stored no names, or those of other files."""
    values = plan(0, {"cifar10": {}}).axes["datasets"]["cifar10"].values
    (tmp_path / "data/cifar10").mkdir(parents=True)
    write_json(tmp_path / "data/cifar10/meta.json", {"entry": {"method": "cifar10", **values}, **older})
    experiment = plan("deer", {"cifar10": {}}, ingested=tmp_path / "data")
    assert experiment.entry("scenarios", "one").values == {"forget_class": 4}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "b"], "classes: 2 names are not allowed; allowed: 3, one for each class"),
        (["a", "a", "b"], "allowed: one text for each class, no two alike and none empty"),
        ([1, 2, 3], "allowed: one text for each class, no two alike and none empty"),
    ],
)
def test_names_in_a_file_fit_its_classes(tmp_path, names, told):
    from lacuna.data.datasets.npz import Npz

    with pytest.raises(LacunaError, match=re.escape(told)):
        Npz(path=npz(tmp_path / "x.npz", names)).load()


def test_names_of_published_datasets_are_those_of_their_files():
    from torchvision.datasets import FashionMNIST

    from lacuna.data import DATASETS
    from lacuna.fields import build

    assert list(build(DATASETS["fashion_mnist"], {}).class_names()) == FashionMNIST.classes
    for method, options, count in (("cifar10", {}, 10), ("cifar100", {}, 100), ("cifar100", {"labels": "coarse"}, 20)):
        names = build(DATASETS[method], options).class_names()
        assert len(set(names)) == count and list(names[:8]) == sorted(names[:8])
    assert build(DATASETS["digits"], {"only": [3, 8]}).class_names() == ("3", "8")
