"""What files say of their making: read back, compared with a plan, found unlike an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lacuna.artifacts.files import comment_of, content_digest, read_npz, write_json, write_npz
from lacuna.artifacts.origin import record_in
from lacuna.artifacts.records import differences, disagreement, unlike_experiment

PARAMETERS = {"unlearner": {"lr": 0.2, "milestones": [1, 2]}, "code": "abc"}


def test_comment_of_an_npz_is_no_part_of_its_content(tmp_path: Path) -> None:
    arrays = {"x": np.arange(3)}
    write_npz(tmp_path / "plain.npz", "split", arrays)
    write_npz(tmp_path / "told.npz", "split", arrays, json.dumps({"parameters": PARAMETERS, "inputs": {}}))
    assert content_digest(tmp_path / "plain.npz") == content_digest(tmp_path / "told.npz")
    assert read_npz(tmp_path / "told.npz", "split")["x"].tolist() == [0, 1, 2]
    assert comment_of(tmp_path / "plain.npz") == ""
    assert record_in([tmp_path / "told.npz"]) == {"parameters": PARAMETERS, "inputs": {}}


def test_no_record_where_none_is_or_it_is_damaged(tmp_path: Path) -> None:
    write_npz(tmp_path / "plain.npz", "split", {"x": np.arange(3)})
    write_npz(tmp_path / "foreign.npz", "split", {"x": np.arange(3)}, "made by hand")
    (tmp_path / "broken.json").write_text('{"parameters"')
    (tmp_path / "list.json").write_text("[1]")
    for name in ("plain.npz", "foreign.npz", "broken.json", "list.json", "nothing.json", "table.csv"):
        assert record_in([tmp_path / name]) is None, name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"unlearner": {"lr": 0.3, "milestones": [1, 2]}}, "unlearner.lr: 0.2 there, 0.3 here"),
        ({"unlearner": {"lr": 0.2, "milestones": (1, 2)}}, ""),
        ({"unlearner": {"lr": 0.2, "milestones": [1]}}, "unlearner.milestones: [1, 2] there, [1] here"),
        ({"unlearner": {"milestones": [1, 2]}}, "unlearner.lr: 0.2 there, nothing here"),
        ({"compact": True}, "compact: nothing there, true here"),
        ({"code": "abd"}, "made by other code"),
    ],
)
def test_first_difference_of_parameters(change: dict[str, Any], words: str) -> None:
    record = {"parameters": PARAMETERS, "inputs": {}}
    assert disagreement(record, PARAMETERS | change, []) == words


def test_inputs_count_by_name_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json("results/meta.json", {"classes": 3})
    record = {"parameters": {}, "inputs": {"results/meta.json": content_digest("results/meta.json")}}
    assert disagreement(record, {}, ["results/meta.json", "own/list.csv"]) == ""
    assert disagreement(record, {}, ["results/meta.json", "results/b.json"]) == "results/b.json: not made from it"
    assert disagreement(record, {}, []) == "results/meta.json: made from it"
    write_json("results/meta.json", {"classes": 4})
    assert disagreement(record, {}, ["results/meta.json"]) == "made from another results/meta.json"


def test_differences_name_every_leaf() -> None:
    there, here = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 5, "e": None}}
    assert list(differences(there, here)) == [
        ("b.c", "2", "5"),
        ("b.d", "3", "nothing"),
        ("b.e", "nothing", "null"),
    ]


def test_cells_made_with_other_options_than_the_experiment_are_named(tmp_path: Path) -> None:
    recipe = {"method": "sgd", "lr": 0.1}
    grid = {
        "datasets": {"d": {"method": "digits"}},
        "models": {"m": {"method": "resnet8"}},
        "recipes": {"r": recipe},
        "scenarios": {"s": {"method": "class", "forget_class": 5}},
        "pruners": {"omp": {"method": "omp"}},
        "unlearners": {"ft": {"method": "ft", "lr": 0.2}, "retrain": {"method": "retrain", "start": "theta0"}},
    }
    common = {"model": {"method": "resnet8"}, "recipe": recipe}
    cells = tmp_path / "cells/d/m/r/seed0/s/omp-0.90"
    write_json(cells / "ft/job.json", {"parameters": common | {"unlearner": {"method": "ft", "lr": 0.3}}, "inputs": {}})
    # an oracle follows the recipe
    oracle = recipe | {"method": "retrain", "start": "theta0"}
    write_json(cells / "retrain/job.json", {"parameters": common | {"unlearner": oracle}, "inputs": {}})
    write_json(tmp_path / "data/d/meta.json", {"parameters": {"entry": {"method": "digits"}}})
    forget = json.dumps({"parameters": {"entry": {"method": "class", "forget_class": 3}}})
    write_npz(tmp_path / "splits/d/seed0/forget/s.npz", "split", {"forget": np.arange(2)}, forget)
    row = {"dataset": "d", "model": "m", "recipe": "r", "seed": "0", "scenario": "s", "pruner": "omp"}
    rows = [row | {"sparsity": "0.90", "unlearner": unlearner} for unlearner in ("ft", "retrain")]
    # a dense one starts from a draw of its own
    dense = oracle | {"start": "fresh"}
    write_json(
        cells.with_name("dense") / "retrain/job.json", {"parameters": common | {"unlearner": dense}, "inputs": {}}
    )
    rows.append(row | {"pruner": "dense", "sparsity": "0.00", "unlearner": "retrain"})
    assert list(unlike_experiment({"grid": grid}, rows, tmp_path)) == [
        (tmp_path / "splits/d/seed0/forget/s.npz", "entry.forget_class is 3, in the experiment 5"),
        (cells / "ft/job.json", "unlearner.lr is 0.3, in the experiment 0.2"),
    ]
