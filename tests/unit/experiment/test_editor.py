"""The JSON Schema that editors complete and underline by, against the check of a run."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
import yaml

from lacuna.errors import LacunaError
from lacuna.experiment.config import load
from lacuna.experiment.editor import as_text, editor_schema
from lacuna.experiment.yaml_files import read_yaml
from tests.places import ROOT

SHAPE = ROOT / "workflow/schemas/config.schema.yaml"
STORED = ROOT / "config/schema.json"
SHIPPED = [ROOT / "config/config.yaml", *sorted((ROOT / "config").glob("*/*.yaml"))]


@pytest.fixture(scope="module")
def editor(known: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(editor_schema(read_yaml(SHAPE), known))


def test_the_stored_schema_is_current_and_a_schema(known, editor):
    """If not: make docs."""
    assert STORED.read_text(encoding="utf-8") == as_text(editor_schema(read_yaml(SHAPE), known))
    assert json.loads(STORED.read_text(encoding="utf-8")) == editor.schema
    editor.check_schema(editor.schema)


def test_no_description_ends_in_two_full_stops(editor):
    def descriptions(value: Any) -> list[str]:
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        own = value.get("description") if isinstance(value, dict) else None
        return [*([own] if isinstance(own, str) else []), *(text for each in inner for text in descriptions(each))]

    found = descriptions(editor.schema)
    assert len(found) > 100 and not [text for text in found if text.endswith("..") and not text.endswith("...")]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_file_names_the_schema_and_fits_it(editor, file):
    first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    begins, _, place = first.partition("$schema=")
    assert begins == "# yaml-language-server: "
    assert (file.parent / place).resolve() == STORED
    assert not list(editor.iter_errors(read_yaml(file)))
    # a comment: no job is told of it
    assert yaml.safe_load(rest) == yaml.safe_load(file.read_text(encoding="utf-8"))


GOOD: dict[str, Any] = {
    "name": "mine",
    "metrics": ["UA", "avg_gap", "samples"],
    "figures": ["time_vs_gap"],
    "relearning": {"lr": 0.01},
    "transfer": {"targets": {"own": {"method": "mnist"}}, "probe": {}},
    "tuning": {"trials": 4},
    "grid": {
        "datasets": {"digits": None, "mine": {"method": "npz", "path": "a.npz", "backdoor": {"share": 0.2}}},
        "models": {
            "resnet8": {"width": 4},
            "own": {"import": "nets:make", "kwargs": {"a": 1}},
            "vit": {"method": "vgg16_bn"},
        },
        "recipes": {"short": {"epochs": 3, "rewind_epoch": 1}, "fast": {}, "sgd": {}},
        "seeds": [0, 1],
        "scenarios": {"class": {"forget_class": 3}, "few": {"method": "random", "fraction": 0.1}},
        "pruners": {"omp": {}, "mine": {"method": "filter_l1", "compact": True}},
        "sparsities": ["dense", 0.9, "0.95"],
        "unlearners": {"retrain": {}, "retrain_b": {"method": "retrain"}, "ga": {"lr": 1e-4}, "slow": {"method": "ft"}},
        "unprune": [{"unlearner": ["ga", "slow"], "p": [10, 30], "rounds": 1}],
        "shadows": {"models": 8},
    },
}
REMOVED = object()
# a place in GOOD, another value there, and the place that is underlined
WRONG = [
    ("name", REMOVED, "$"),
    ("name", "a/b", "$.name"),
    ("device", "gpu", "$.device"),
    ("nme", "mine", "$"),
    ("metrics", ["UE"], "$.metrics[0]"),
    ("metrics", [], "$.metrics"),
    ("figures", ["time_vs_gab"], "$.figures[0]"),
    ("missing", True, "$.missing"),
    ("relearning/lr", 0, "$.relearning.lr"),
    ("transfer/targets/own/method", "mnisd", "$.transfer.targets.own.method"),
    ("tuning/trial", 4, "$.tuning"),
    ("grid/seeds", [-1], "$.grid.seeds[0]"),
    ("grid/sparsities", [1.5], "$.grid.sparsities[0]"),
    ("grid/unlearner", {}, "$.grid"),
    ("grid/unlearners", {}, "$.grid.unlearners"),
    ("grid/unlearners/salum", {}, "$.grid.unlearners.salum"),
    ("grid/unlearners/slow/method", "fft", "$.grid.unlearners.slow.method"),
    ("grid/unlearners/ga/lr", -1, "$.grid.unlearners.ga.lr"),
    ("grid/unlearners/ga/batchsize", 8, "$.grid.unlearners.ga"),
    ("grid/unlearners/slow/alpha", 1, "$.grid.unlearners.slow"),
    ("grid/unlearners/retrain/lr", 0.1, "$.grid.unlearners.retrain"),
    ("grid/datasets/mine/path", REMOVED, "$.grid.datasets.mine"),
    ("grid/datasets/mine/backdoor/share", 2, "$.grid.datasets.mine.backdoor.share"),
    ("grid/models/own/import", "nets", "$.grid.models.own.import"),
    ("grid/models/resnet8/depth", 3, "$.grid.models.resnet8"),
    ("grid/recipes/short/epochs", "three", "$.grid.recipes.short.epochs"),
    ("grid/recipes/fast/lrr", 1, "$.grid.recipes.fast"),
    ("grid/scenarios/few/fraction", 1, "$.grid.scenarios.few.fraction"),
    ("grid/scenarios/class", None, "$.grid.scenarios.class"),
    ("grid/pruners/omp/compact", True, "$.grid.pruners.omp"),
    ("grid/unprune/0/p", [10, 300], "$.grid.unprune[0].p"),
    ("grid/unprune/0/unlearner", REMOVED, "$.grid.unprune[0]"),
    ("grid/shadows/models", 7, "$.grid.shadows.models"),
]


def changed(place: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(GOOD)
    *path, last = place.split("/")
    inner: Any = config
    for key in path:
        inner = inner[int(key) if isinstance(inner, list) else key]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return config


def test_what_a_run_accepts_is_not_underlined(editor, known, tmp_path):
    assert not list(editor.iter_errors(GOOD))
    allowed = {key: value for key, value in GOOD.items() if key != "grid"}
    allowed["grid"] = {key: value for key, value in GOOD["grid"].items() if key != "unprune"}  # not with shadows
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(allowed))
    load([ROOT / "config/config.yaml", path], {}, SHAPE, known)


@pytest.mark.parametrize(
    ("place", "value", "underlined"),
    WRONG,
    ids=[f"{place}-{'removed' if value is REMOVED else value}"[:40] for place, value, _ in WRONG],
)
def test_a_mistake_is_underlined_and_refused_by_a_run(editor, known, tmp_path, place, value, underlined):
    config = changed(place, value)
    assert underlined in {error.json_path for error in editor.iter_errors(config)}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(LacunaError):
        load([ROOT / "config/config.yaml", path], {}, SHAPE, known)


def test_every_option_says_what_it_means_and_allows(known, editor):
    """Of every entry that an editor completes; of the config's own keys too."""
    definitions = editor.schema["$defs"]
    for name, entry in definitions.items():
        if "." in name and not name.endswith(".entry"):
            assert entry["description"], name
            for option, schema in entry["properties"].items():
                assert option == "method" or "Allowed: " in schema["description"], (name, option)
    silent = {
        f"{axis}.{method}.{option}"
        for axis in ("unlearners", "pruners", "scenarios", "recipes", "models", "datasets")
        for method, facts in known[axis].items()
        for option in facts["schema"]["properties"]
        if option not in facts["doc"]["fields"]
    }
    assert not silent
    properties = editor.schema["properties"]
    for section in (properties, properties["grid"]["properties"], properties["transfer"]["properties"]):
        assert all(schema.get("description") for schema in section.values())
