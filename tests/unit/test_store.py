"""Models and masks to files and back, the same bytes for the same content."""

import pytest
import torch
from tiny import network, same, state

from lacuna.errors import LacunaError
from lacuna.store import load_into, load_mask, load_state, new_model, save_state


def test_state_comes_back_bit_for_bit(tmp_path):
    model = network().to(memory_format=torch.channels_last)
    save_state(tmp_path / "a", state(model))
    assert same(load_state(tmp_path / "a"), state(model))
    other = load_into(network(seed=1), tmp_path / "a")
    assert same(state(other), state(model))
    save_state(tmp_path / "b", dict(reversed(state(other).items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_state_of_another_architecture_is_refused_with_the_remedy(tmp_path):
    save_state(tmp_path / "a", state(network()))
    for other in (network(widths=(5, 6)), torch.nn.Linear(2, 2)):
        with pytest.raises(LacunaError, match=r"a: holds another architecture .*; delete it and run the same command"):
            load_into(other, tmp_path / "a")


def test_missing_and_foreign_files_are_refused(tmp_path):
    for load in (load_state, load_mask):
        with pytest.raises(LacunaError, match=r"a: not a usable .* file .no such file."):
            load(tmp_path / "a")
    save_state(tmp_path / "a", state(network()))
    with pytest.raises(LacunaError, match="not a usable mask file"):
        load_mask(tmp_path / "a")


def test_new_model_follows_the_entry_and_the_dataset():
    entry, meta = {"method": "resnet8", "width": 3}, {"classes": 7, "shape": [2, 8, 8]}
    model = new_model(entry, meta, torch.device("cpu"))
    assert model(torch.zeros(1, 2, 8, 8)).shape == (1, 7)
    assert model.stem[0].out_channels == 3
    with pytest.raises(LacunaError, match=r"^resnet8\.width: 0 is not allowed"):
        new_model(entry | {"width": 0}, meta, torch.device("cpu"))
