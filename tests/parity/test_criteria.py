"""Scores and masks at initialisation, and chains of magnitude masks, against the reference code and its formulas."""

import numpy as np
import pytest
import torch

from lacuna.data.batches import UnlearningData
from lacuna.fields import build
from lacuna.pruning import PRUNERS
from lacuna.pruning.criteria.grasp import grasp
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.criteria.snip import snip
from lacuna.pruning.criteria.synflow import synflow
from lacuna.sparsity.mask import Mask
from lacuna.sparsity.rounds import rounds_to, sparsity_of

CONVOLUTIONS = ("conv1.weight", "conv2.weight")
DTYPES = {"f64": torch.float64, "f32": torch.float32}
MODES = {"train": "train", "eval": "frozen"}


@pytest.fixture
def file(reference):
    return reference("02_synflow_snip_grasp")


def fixed_batch(file, dtype):
    """Data whose balanced batch is the stored one: as many samples of each class as it has."""
    x, y = torch.from_numpy(file["x"]).to(dtype), torch.from_numpy(file["y"])
    return UnlearningData(x, y, {"retain": torch.arange(len(y))}, classes=4)


def find_mask(file, pruner, dtype, **options):
    return build(PRUNERS[pruner], options).find_mask(file.model(dtype), "0.90", fixed_batch(file, dtype), seed=3)


def same_mask(mask, expected):
    assert set(mask) == set(expected)
    return all(np.array_equal(mask[name].numpy(), bits.astype(bool)) for name, bits in expected.items())


def close(found, expected, dtype):
    assert set(found) == set(expected)
    for name, score in found.items():
        if dtype is torch.float64:
            np.testing.assert_allclose(score.numpy(), expected[name], rtol=1e-8, atol=1e-12, err_msg=name)
        else:
            largest = np.abs(expected[name]).max()
            np.testing.assert_allclose(score.numpy(), expected[name], rtol=0, atol=1e-3 * largest, err_msg=name)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_snip(file, mode, precision):
    dtype, per_class = DTYPES[precision], file.hp.samples_per_class
    options = {"samples_per_class": per_class, "batchnorm": MODES[mode]}
    found = snip(file.model(dtype), data=fixed_batch(file, dtype), seed=0, **options)
    close(found, file.under(f"score/snip/{mode}/published_abs_weight_grad"), dtype)
    mask = find_mask(file, "snip", dtype, **options)
    assert same_mask(mask, file.under(f"mask/snip_published/{mode}/0.90"))
    # the coded one forgets the factor θ
    assert not same_mask(mask, file.under(f"mask/snip_reference/{mode}/0.90"))


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("mode", MODES)
def test_grasp(file, mode, precision):
    dtype, per_class = DTYPES[precision], file.hp.samples_per_class
    options = {"samples_per_class": per_class, "batchnorm": MODES[mode]}
    found = grasp(file.model(dtype), data=fixed_batch(file, dtype), seed=0, **options)
    published = {name: -s for name, s in file.under(f"score/grasp/{mode}/all_params_{precision}").items()}
    close(found, published, dtype)
    mask = find_mask(file, "grasp", dtype, **options)
    assert same_mask(mask, file.under(f"mask/grasp_published/{mode}/0.90"))
    # the coded one removes the smallest magnitudes
    assert not same_mask(mask, file.under(f"mask/grasp_reference/{mode}/0.90"))


@pytest.mark.parametrize("precision", DTYPES)
def test_synflow(file, precision):
    """Scores are computed in float64 whatever the network is in."""
    dtype = DTYPES[precision]
    found = synflow(file.model(dtype), data=fixed_batch(file, dtype))
    close(found, file.under("score/synflow_first_iteration"), torch.float64)
    mask = find_mask(file, "synflow", dtype)
    assert same_mask(mask, file.under("mask/synflow_published/0.90"))
    assert sum(int(mask[name].sum()) for name in mask) == file["kept/synflow_published/0.90"]


def test_chain_of_magnitude_masks(reference):
    """Rounds of 20 % with no training between; the reference rounds each step, so its third is one weight off 0.8³."""
    file = reference("01_iterative_masks")
    scores = magnitude(file.model(torch.float64))
    rounds = rounds_to("0.60", 0.2)[:3]
    mask, total = None, sum(s.numel() for s in scores.values())
    for number, name in enumerate(rounds, 1):
        mask = Mask.from_scores(scores, sparsity_of(name, 0.2), within=mask)
        kept = {layer: file[f"mask/iterative20/{name.replace('0', '')}/{layer}"].astype(bool) for layer in CONVOLUTIONS}
        extra = sum(int((mask[layer].numpy() & ~kept[layer]).sum()) for layer in CONVOLUTIONS)
        lost = sum(int((kept[layer] & ~mask[layer].numpy()).sum()) for layer in CONVOLUTIONS)
        assert (extra, lost) == (int(number == 3), 0)
        assert int(kept["conv1.weight"].sum() + kept["conv2.weight"].sum()) + extra == round(0.8**number * total)
