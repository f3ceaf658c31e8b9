"""What masks share and how far weights are apart, whole and layer by layer."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lacuna.errors import LacunaError
from lacuna.evaluation import Cell, evaluate, evaluate_layers
from lacuna.evaluation.metrics.topology import distance, hamming, intersection_over_minimum, intersection_over_union
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.layers import layers_table

SHAPES = {"conv1.weight": (3, 2, 2), "conv2.weight": (5, 1)}


@st.composite
def pairs(draw, equal=False):
    """Two masks over the same two tensors; equal: they keep as many weights."""
    size = sum(int(np.prod(shape)) for shape in SHAPES.values())
    kept = draw(st.integers(1, size)), draw(st.integers(0, size))
    masks = []
    for n in (kept[0], kept[0] if equal else kept[1]):
        order = np.array(draw(st.permutations(range(size))))
        flat = np.zeros(size, bool)
        flat[order[:n]] = True
        cut = int(np.prod(SHAPES["conv1.weight"]))
        masks.append({k: part.reshape(SHAPES[k]) for k, part in zip(SHAPES, np.split(flat, [cut]), strict=True)})
    return masks


def sets(masks):
    return [{(k, i) for k in m for i in np.flatnonzero(m[k])} for m in masks]


@given(pairs())
def test_overlaps_are_those_of_sets(masks):
    a, b = sets(masks)
    assert intersection_over_union(*masks) == len(a & b) / len(a | b)
    assert intersection_over_minimum(*masks) == (len(a & b) / min(len(a), len(b)) if b else 0.0)
    assert hamming(*masks) == len(a ^ b) / 17
    assert [f(*masks) for f in (intersection_over_minimum, hamming)] == [
        f(*masks[::-1]) for f in (intersection_over_minimum, hamming)
    ]


@given(pairs(equal=True))
def test_at_equal_sparsity_one_overlap_gives_the_others(masks):
    iou, iom = intersection_over_union(*masks), intersection_over_minimum(*masks)
    assert iou == pytest.approx(iom / (2 - iom), rel=1e-12)
    density = len(sets(masks)[0]) / 17
    assert hamming(*masks) == pytest.approx(2 * density * (1 - iom), abs=1e-12)


def test_empty_masks():
    nothing, all_of_it = ({"a": np.full((3, 1), kept)} for kept in (False, True))
    assert [f(nothing, nothing) for f in (intersection_over_union, intersection_over_minimum, hamming)] == [1, 1, 0]
    assert [f(nothing, all_of_it) for f in (intersection_over_union, intersection_over_minimum, hamming)] == [0, 0, 1]


@given(pairs(), st.integers(0, 1000))
def test_distance_is_the_norm_over_kept_and_unmasked_parameters(masks, seed):
    rng = np.random.default_rng(seed)
    mask = masks[0]
    a, b = ({k: rng.normal(size=s).astype(np.float32) for k, s in (SHAPES | {"fc.bias": (4,)}).items()} for _ in "ab")
    statistics = {"bn.running_mean": np.zeros(2), "bn.num_batches_tracked": np.array(3)}
    moved = {"bn.running_mean": np.ones(2), "bn.num_batches_tracked": np.array(9)}
    expected = sum(
        float(x - y) ** 2
        for k in a
        for x, y, m in zip(
            a[k].astype(float).flat, b[k].astype(float).flat, mask.get(k, np.ones(a[k].shape)).flat, strict=True
        )
        if m
    )
    assert_allclose(distance(a | statistics, b | moved, mask) ** 2, expected, rtol=1e-12)
    assert distance(a | statistics, a | moved, mask) == 0


def test_what_cannot_be_compared_is_refused():
    a, b = {"a": np.zeros(3)}, {"a": np.zeros(4)}
    with pytest.raises(LacunaError, match="not of one architecture"):
        distance(a, b, {})
    with pytest.raises(LacunaError, match="not over the same tensors"):
        hamming({"a": np.zeros(3, bool)}, {"b": np.zeros(3, bool)})


def cells(masks, seed=0):
    rng = np.random.default_rng(seed)
    part = (rng.normal(size=(6, 3)), np.arange(6) % 3)
    return [
        Cell.of(
            mask=m,
            extra={"weights": {k: rng.normal(size=s) * m[k] for k, s in SHAPES.items()}},
            retain=part,
            forget=part,
            test=part,
        )
        for m in masks
    ]


TOPOLOGY = ["mask_iou", "mask_iom", "mask_hamming", "parameter_distance", "sparsity"]


@given(pairs())
def test_layers_add_up_to_the_whole(masks):
    cell, oracle = cells(masks)
    whole = evaluate(cell, {"o": oracle}, TOPOLOGY)
    layers = evaluate_layers(cell, {"o": oracle}, [*TOPOLOGY, "UA"])
    assert set(layers) == set(whole), "and nothing that a layer does not have"
    assert all(set(values) == set(SHAPES) for values in layers.values())
    sizes = {k: int(np.prod(s)) for k, s in SHAPES.items()}
    for name in ("mask_hamming/o", "sparsity"):
        assert sum(layers[name][k] * sizes[k] for k in SHAPES) / 17 == pytest.approx(whole[name])
    squares = sum(v**2 for v in layers["parameter_distance/o"].values())
    assert squares == pytest.approx(whole["parameter_distance/o"] ** 2)
    for name, f in (("mask_iou/o", intersection_over_union), ("mask_iom/o", intersection_over_minimum)):
        assert layers[name] == {k: f({k: masks[0][k]}, {k: masks[1][k]}) for k in SHAPES}


@given(pairs())
def test_identity(masks):
    assume(any(m.any() for m in masks[1].values()))
    cell, _ = cells(masks)
    assert list(evaluate(cell, {"o": cell}, TOPOLOGY[:4]).values()) == [1, 1, 0, 0]


def test_without_weights_or_masks_the_reason_is_told():
    cell, oracle = (Cell.of(retain=p, forget=p, test=p) for p in [(np.eye(2), np.array([0, 1]))] * 2)
    found = evaluate(cell, {"o": oracle}, TOPOLOGY)
    assert not found
    assert found.absent["parameter_distance/o"] == "the weights are not known; lacuna.predict takes them from the model"
    assert found.absent["mask_iou/o"] == "the masks are not known"
    assert evaluate_layers(cell, {"o": oracle}, TOPOLOGY) == {}


def test_layers_become_rows_in_the_given_order():
    place = dict(zip(COORDINATES, ("d", "m", "r", 0, "class", "omp", "0.90", "ft"), strict=True))
    table = layers_table([{"cell": place, "layers": {"sparsity": {"b": 0.5, "a": 1.0}, "mask_iou/o": {"b": 0.1}}}])
    assert table["sparsity"].tolist() == ["0.90"] * 3, "the coordinate of the cell"
    rows = list(table[["layer", "metric", "value"]].itertuples(index=False, name=None))
    assert rows == [("b", "sparsity", 0.5), ("a", "sparsity", 1.0), ("b", "mask_iou/o", 0.1)]
