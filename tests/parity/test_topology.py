"""What two masks share, against plain formulas."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from lacuna.evaluation import Cell
from lacuna.evaluation.metrics.topology import (
    hamming,
    intersection_over_minimum,
    intersection_over_union,
    mask_hamming,
    mask_iom,
    mask_iou,
    realised_sparsity,
)
from lacuna.sparsity.mask import Mask

PAIRS = ("0.50_0.50", "0.90_0.90", "0.95_0.90")
CONVOLUTIONS = ("conv1.weight", "conv2.weight")


@pytest.mark.parametrize("pair", PAIRS)
def test_masks_of_both_networks(reference, pair):
    file = reference("07_mask_iou")
    for side, sparsity, weights in zip("ur", pair.split("_"), ("param", "other_param"), strict=True):
        scores = {name: torch.from_numpy(np.abs(file[f"{weights}/{name}"])) for name in CONVOLUTIONS}
        for name, bits in Mask.from_scores(scores, sparsity).bits().items():
            assert_array_equal(bits, file[f"{pair}/mask_{side}/{name}"].astype(bool))


@pytest.mark.parametrize("pair", PAIRS)
def test_intersection_over_union(reference, pair):
    file = reference("07_mask_iou")
    u, r = file.mask(f"{pair}/mask_u"), file.mask(f"{pair}/mask_r")
    exact = file[f"{pair}/intersection"] / file[f"{pair}/union"]
    assert exact == pytest.approx(float(file[f"{pair}/iou"]), rel=1e-12)
    assert u.iou(r) == pytest.approx(exact, rel=1e-12)
    assert intersection_over_union(u.bits(), r.bits()) == pytest.approx(exact, rel=1e-12)
    for name in CONVOLUTIONS:
        layer = float(file[f"{pair}/iou_layer/{name}"])
        assert Mask({name: u[name]}).iou(Mask({name: r[name]})) == pytest.approx(layer, rel=1e-12)
        assert intersection_over_union({name: u.bits()[name]}, {name: r.bits()[name]}) == pytest.approx(
            layer, rel=1e-12
        )


@pytest.mark.parametrize("pair", PAIRS)
def test_overlap_and_difference(reference, pair):
    file = reference("07_mask_iou")
    u, r = (file.mask(f"{pair}/mask_{side}").bits() for side in "ur")
    least = float(file[f"{pair}/overlap_over_min"])
    assert intersection_over_minimum(u, r) == pytest.approx(least, rel=1e-12)
    # what only u keeps, and what only r keeps
    only_u = int(file[f"{pair}/kept_in_u_not_in_r"])
    only_r = int(file[f"{pair}/kept"][1] - file[f"{pair}/intersection"])
    assert hamming(u, r) == pytest.approx((only_u + only_r) / sum(m.size for m in u.values()), rel=1e-12)
    cell, oracle = Cell({}, mask=u), Cell({}, mask=r)
    found = [metric(cell, oracle) for metric in (mask_iou, mask_iom, mask_hamming)]
    assert found == [intersection_over_union(u, r), intersection_over_minimum(u, r), hamming(u, r)]
    for name in CONVOLUTIONS:
        layer = float(file[f"{pair}/iou_layer/{name}"])
        assert mask_iou(cell.only(name), oracle.only(name)) == pytest.approx(layer, rel=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_sparsity(reference, pair):
    file = reference("07_mask_iou")
    for i, side in enumerate("ur"):
        mask = file.mask(f"{pair}/mask_{side}")
        assert mask.sparsity == pytest.approx(file[f"{pair}/sparsity"][i], rel=1e-12)
        assert realised_sparsity(Cell({}, mask=mask.bits())) == pytest.approx(file[f"{pair}/sparsity"][i], rel=1e-12)
        assert sum(int(b.sum()) for b in mask.bits().values()) == file[f"{pair}/kept"][i]


def test_network_of_the_masks(reference):
    reference("07_mask_iou").model(torch.float64)
