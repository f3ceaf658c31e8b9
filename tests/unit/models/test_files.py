"""Models and masks to files and back, the same bytes for the same content."""

import pytest
import torch
from tiny import data, network, same, state
from torch import nn

from lacuna.errors import LacunaError
from lacuna.models.files import load_into, load_state, new_model, save_state
from lacuna.models.inference import copy_of
from lacuna.pruning import PRUNERS
from lacuna.sparsity.compaction import compact
from lacuna.sparsity.files import load_mask
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint


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


class Versioned(nn.Conv2d):
    """A layer that tells the form of a state by its version, as MNASNet does."""

    _version = 2

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version") != 2:
            raise ValueError(f"version should be 2 instead of {local_metadata.get('version')}")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def versioned():
    model = network()
    model.conv2 = Versioned(4, 6, 3, 2, 1, bias=False)
    return model


def test_versions_of_modules_survive_a_file_a_checkpoint_and_a_compaction(tmp_path):
    """A state from a file is tensors alone: what is loaded has the form that the model itself writes."""
    model = versioned()
    save_state(tmp_path / "model.safetensors", state(model))
    assert same(state(load_into(versioned(), tmp_path / "model.safetensors")), state(model))
    mask = PRUNERS["filter_l2"]().find_mask(model, "0.50", data(), seed=0)
    assert compact(model, mask, (1, 6, 6)).conv2.out_channels == 3
    origin = StartingPoint(state(model), state(model), state(model))
    recipe = Recipe(epochs=1, rewind_epoch=0, batch_size=32, crop=0, flip=False)
    PRUNERS["omp"]().prune(model, origin, "0.5", recipe, data(), seed=0)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", every=0)

    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(copy_of(model), recipe, data(), seed=0, checkpoint=checkpoint, log=stop)
    assert checkpoint.path.exists()
    lines: list[str] = []
    fit(copy_of(model), recipe, data(), seed=0, checkpoint=checkpoint, log=lines.append)
    assert "continues after" in lines[0]
