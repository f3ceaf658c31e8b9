"""Names of states and places of files: what one function writes another reads."""

import doctest

import pytest

from lacuna.artifacts import coordinates
from lacuna.artifacts.coordinates import COORDINATES, WILDCARDS, State, row_of
from lacuna.artifacts.layout import (
    CELL_FILES,
    cell_at,
    check_cell,
    checkpoint_beside,
    coordinates_at,
    is_trials,
    is_unfinished,
    model_at,
    row_at,
    shadow_beside,
    trials_beside,
)

ROW = {"dataset": "digits", "model": "resnet8", "recipe": "brief", "seed": 3, "scenario": "class"}


@pytest.mark.parametrize(
    ("name", "pruner", "sparsity"),
    [
        ("dense", "dense", "0.00"),
        ("omp-0.90", "omp", "0.90"),
        ("imp-round03", "imp", "round03"),
        ("my-own-0.5000", "my-own", "0.5000"),
    ],
)
def test_a_state_and_its_name(name, pruner, sparsity):
    state = State.parse(name)
    assert state == (pruner, sparsity) and str(state) == name
    assert state.dense == (name == "dense")


def test_examples():
    assert doctest.testmod(coordinates) == (0, 2)


@pytest.mark.parametrize("state", ["dense", "omp-0.90"])
def test_a_row_and_its_place(state):
    wildcards = {k: str(v) for k, v in ROW.items()} | {"state": state, "unlearner": "ga"}
    assert tuple(wildcards) == WILDCARDS
    row = row_of(wildcards)
    assert set(row) == set(COORDINATES)
    assert cell_at(row) == f"cells/digits/resnet8/brief/seed3/class/{state}/ga"
    assert model_at(row, State.parse(state)) == f"models/digits/resnet8/brief/seed3/{state}"
    for name in CELL_FILES:
        assert row_at(f"{cell_at(row)}/{name}") == row
        assert coordinates_at(f"{cell_at(row)}/{name}") == wildcards
        check_cell(row, f"{cell_at(row)}/{name}")
        with pytest.raises(ValueError, match="it is of another cell: sparsity"):
            check_cell(row | {"sparsity": "0.95"}, f"{cell_at(row)}/{name}")


def test_a_place_that_names_no_cell():
    assert coordinates_at("data/digits/meta.json") == {}
    assert coordinates_at("splits/digits/seed3/split.npz") == {}
    check_cell(ROW, "tables/tiny/cells.csv")


def test_what_a_stopped_job_leaves(tmp_path):
    study = tmp_path / "ga.json"
    trials = trials_beside(study)
    for left in (checkpoint_beside(study), checkpoint_beside(study, 2), shadow_beside(study, 0), trials):
        assert left.parent == tmp_path and left.name.startswith(".") and is_unfinished(left)
    study.touch()
    assert is_trials(trials) and not is_unfinished(trials), "a finished search keeps its trials"
    assert not is_unfinished(tmp_path / "model.safetensors")
