"""Masks reach the requested sparsity to the weight, nest, and survive a round trip."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import network, same, state
from torch import nn

from lacuna.artifacts.files import read_npz, write_npz
from lacuna.errors import LacunaError
from lacuna.evaluation.metrics.topology import intersection_over_union
from lacuna.sparsity.files import load_mask, save_mask
from lacuna.sparsity.mask import Mask, prunable

SHAPES = st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=4), min_size=1, max_size=4)
SPARSITIES = st.one_of(
    st.integers(0, 9999).map(lambda n: f"{n / 10_000:.4f}"), st.floats(0, 0.999, allow_subnormal=False)
)


@st.composite
def scores(draw, values=None):
    """A few tensors of scores; few distinct values, so that ties are common."""
    values = values or draw(st.sampled_from([[0.0], [0.0, 1.0], [-1.0, 0.0, 0.25, 3.0], None]))
    one = st.sampled_from(values) if values else st.floats(-10, 10, width=32)
    return {
        f"layer{i}.weight": torch.tensor(
            draw(st.lists(one, min_size=math.prod(s), max_size=math.prod(s))), dtype=torch.float32
        ).reshape(s)
        for i, s in enumerate(draw(SHAPES))
    }


@st.composite
def masks(draw, number=1):
    """Masks over the same tensors."""
    shapes = draw(SHAPES)
    return [
        Mask(
            {
                f"layer{i}": torch.tensor(
                    draw(st.lists(st.booleans(), min_size=math.prod(s), max_size=math.prod(s)))
                ).reshape(s)
                for i, s in enumerate(shapes)
            }
        )
        for _ in range(number)
    ]


def removed(mask, names=None):
    return sum(int((~mask[name]).sum()) for name in names or mask)


@given(scores=scores(), sparsity=SPARSITIES)
def test_global_scope_removes_exactly_the_lowest(scores, sparsity):
    mask = Mask.from_scores(scores, sparsity)
    total = sum(s.numel() for s in scores.values())
    share = Fraction(str(sparsity))
    assert removed(mask) == round(share * total)
    assert abs(mask.sparsity - float(share)) <= 0.5 / total + 1e-12
    kept = torch.cat([s[mask[name]] for name, s in scores.items()])
    gone = torch.cat([s[~mask[name]] for name, s in scores.items()])
    if len(kept) and len(gone):
        assert kept.min() >= gone.max()
    assert {name: mask[name].shape for name in mask} == {name: s.shape for name, s in scores.items()}


@given(scores=scores(), sparsity=SPARSITIES)
def test_layer_scope_does_so_in_each_layer(scores, sparsity):
    mask = Mask.from_scores(scores, sparsity, "layer")
    for name, layer in scores.items():
        alone = Mask.from_scores({name: layer}, sparsity)
        assert torch.equal(mask[name], alone[name])
        assert removed(mask, [name]) == round(Fraction(str(sparsity)) * layer.numel())


@given(
    scores=scores(),
    levels=st.lists(st.integers(0, 99), min_size=2, max_size=4),
    scope=st.sampled_from(["global", "layer"]),
)
def test_masks_of_growing_sparsity_nest(scores, levels, scope):
    nested = [Mask.from_scores(scores, f"{level / 100:.2f}", scope) for level in sorted(levels)]
    for larger, smaller in itertools.pairwise(nested):
        assert all(bool((larger[name] | ~smaller[name]).all()) for name in scores)


def test_among_equal_scores_the_first_go():
    mask = Mask.from_scores({"a": torch.ones(4), "b": torch.ones(2, 3)}, 0.5)
    assert mask["a"].tolist() == [False] * 4
    assert mask["b"].tolist() == [[False, True, True], [True, True, True]]
    mask = Mask.from_scores({"a": torch.tensor([1.0, 5.0, 1.0, 0.0, 1.0])}, "0.4")
    assert mask["a"].tolist() == [False, True, True, False, True]


def test_half_a_weight_is_rounded_to_even():
    assert removed(Mask.from_scores({"a": torch.arange(5.0)}, 0.5)) == 2
    assert removed(Mask.from_scores({"a": torch.arange(11.0)}, 0.5)) == 6
    # 617.5, though in binary 0.95 is a little less than it says
    assert removed(Mask.from_scores({"a": torch.arange(650.0)}, "0.95")) == 618
    assert removed(Mask.from_scores({"a": torch.arange(650.0)}, 0.95)) == 618


@pytest.mark.parametrize("sparsity", [1, 1.0, "1.00", -0.1, "1.5"])
def test_sparsity_out_of_range_is_refused(sparsity):
    with pytest.raises(LacunaError, match=f"^sparsity: {sparsity} is not allowed; allowed: 0 <= sparsity < 1$"):
        Mask.from_scores({"a": torch.ones(4)}, sparsity)


@given(masks())
def test_packing_round_trip(made):
    (mask,) = made
    again = Mask.unpack(mask.pack())
    assert again == mask
    assert list(again) == list(mask)
    assert hash(again) == hash(mask)
    assert all(torch.equal(mask[name], again[name]) for name in mask)


def test_packing_takes_one_bit_per_weight_and_survives_a_file(tmp_path):
    mask = Mask.from_scores({"a": torch.rand(8, 1000), "b": torch.rand(3, 5, 7)}, 0.9)
    assert mask.pack()["bits/a"].nbytes == 1000
    save_mask(tmp_path / "mask.npz", mask)
    assert load_mask(tmp_path / "mask.npz") == mask
    write_npz(tmp_path / "again.npz", "mask", mask.pack())
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "mask.npz").read_bytes()
    assert Mask.unpack(read_npz(tmp_path / "again.npz", "mask")) == mask


@given(masks(number=2))
def test_iou_is_symmetric_bounded_and_the_share_of_common_weights(pair):
    a, b = pair
    both = sum(1 for name in a for x, y in zip(a[name].flatten(), b[name].flatten(), strict=True) if x and y)
    either = sum(1 for name in a for x, y in zip(a[name].flatten(), b[name].flatten(), strict=True) if x or y)
    assert a.iou(b) == b.iou(a) == (both / either if either else 1.0)
    assert a.iou(a) == 1.0
    assert intersection_over_union(a.bits(), b.bits()) == a.iou(b)
    assert (a == b) == all(torch.equal(a[name], b[name]) for name in a)


def test_masks_that_differ_in_name_or_shape_are_unequal():
    keep = torch.ones(6, dtype=torch.bool)
    several = [Mask({"a": keep}), Mask({"b": keep}), Mask({"a": keep.reshape(2, 3)}), Mask({"a": keep, "b": keep})]
    assert len(set(several)) == 4
    assert Mask({"a": keep, "b": ~keep}) == Mask({"b": ~keep, "a": keep})
    assert Mask({"a": keep}) != "a"


def test_sparsity_per_layer_and_collapse():
    tensors = {"a": torch.tensor([[1, 0, 0, 0]]), "b": torch.zeros(2, 2), "c": torch.ones(1, 2)}
    mask = Mask(tensors | {"bias": torch.zeros(30)})
    assert mask.sparsity_per_layer() == {"a": 0.75, "b": 1.0, "c": 0.0}
    assert mask.sparsity == pytest.approx(0.7)
    assert mask.collapsed() == ["b"]
    other = Mask(tensors | {"bias": torch.ones(30)})
    assert mask.iou(other) == intersection_over_union(mask.bits(), other.bits()) == 1.0, "a bias is no weight"
    assert mask != other


@st.composite
def growths(draw):
    """A mask, scores that may tie, and a share in percent."""
    (mask,) = draw(masks())
    values = st.sampled_from([0.0, 1.0]) if draw(st.booleans()) else st.floats(-9, 9, width=32)
    scores = {
        n: torch.tensor(draw(st.lists(values, min_size=mask[n].numel(), max_size=mask[n].numel()))).view(mask[n].shape)
        for n in mask
    }
    return mask, scores, draw(st.integers(0, 100))


@pytest.mark.parametrize("scope", ["global", "layer"])
@given(growths())
def test_growth_returns_the_share_of_the_removed_with_the_highest_scores(scope, growth):
    mask, scores, percent = growth
    grown = mask.grown(scores, Fraction(percent, 100), scope)
    assert not any(bool((mask[n] & ~grown[n]).any()) for n in mask), "what is kept stays"
    for names in [list(mask)] if scope == "global" else [[n] for n in mask]:
        gone = removed(mask, names)
        assert removed(grown, names) == gone - round(Fraction(percent, 100) * gone)
        new = torch.cat([scores[n][grown[n] & ~mask[n]] for n in names])
        left = torch.cat([scores[n][~grown[n]] for n in names])
        assert not len(new) or not len(left) or new.min() >= left.max()


@pytest.mark.parametrize("share", [-0.1, "1.01"])
def test_share_out_of_range_is_refused(share):
    with pytest.raises(LacunaError, match=r"^share of grown weights: .* is not allowed; allowed: 0 <= share <= 1"):
        Mask({"a": torch.zeros(3)}).grown({"a": torch.ones(3)}, share)


# ---- on a model ------------------------------------------------------------------------------------------------------


def test_prunable_weights_are_the_convolutions():
    model = network()
    assert list(prunable(model)) == ["conv1.weight", "conv2.weight"]
    assert prunable(model)["conv1.weight"] is model.conv1.weight
    assert list(prunable(model, include_linear=True)) == ["conv1.weight", "conv2.weight"], "never the classifier"
    deep = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    assert list(prunable(deep)) == ["0.weight"]
    assert list(prunable(deep, include_linear=True)) == ["0.weight", "2.weight"]


def test_model_without_convolution_is_refused():
    with pytest.raises(
        LacunaError, match="Linear has no prunable weights, it holds no convolution; allowed: a model with"
    ):
        prunable(nn.Linear(2, 2))


def test_full_mask_changes_nothing():
    model = network()
    mask = Mask.full(model)
    before = state(model)
    mask.apply(model)
    mask.check(model)
    assert same(state(model), before)
    assert mask.sparsity == 0


def test_apply_zeroes_the_removed_weights_only():
    model = network()
    before = state(model)
    mask = Mask.from_scores({n: w.abs() for n, w in prunable(model).items()}, 0.6)
    with torch.no_grad():
        model.conv1.weight[~mask["conv1.weight"]] = float("nan")
    mask.apply(model)
    mask.check(model)
    for name, after in state(model).items():
        expected = before[name] * mask[name] if name in mask else before[name]
        assert torch.equal(after, expected)


@pytest.mark.parametrize("leak", [1e-30, -2.0, float("nan")])
def test_check_names_the_leaking_tensor(leak):
    model = network()
    mask = Mask.from_scores({n: w.abs() for n, w in prunable(model).items()}, 0.6)
    mask.apply(model)
    with torch.no_grad():
        model.conv2.weight[tuple((~mask["conv2.weight"]).nonzero()[0])] = leak
    with pytest.raises(LacunaError, match=r"^mask violated: 'conv2.weight' has 1 masked weights that are not 0"):
        mask.check(model)


def test_mask_of_another_model_is_refused():
    with pytest.raises(
        LacunaError, match=r"mask of 'conv1.weight' \(4, 1, 3, 3\) does not fit the model: \(5, 1, 3, 3\)"
    ):
        Mask.full(network()).apply(network(widths=(5, 6)))
    with pytest.raises(LacunaError, match=r"mask of 'other.weight' .* does not fit the model: no such parameter"):
        Mask({"other.weight": torch.ones(2)}).pairs(network())


def test_mask_is_its_own_copy():
    keep = torch.ones(4, dtype=torch.bool)
    mask = Mask({"a": keep})
    keep[0] = False
    assert mask["a"].all()


def test_bits_are_what_numpy_metrics_take():
    bits = Mask({"a": torch.tensor([[1, 0], [0, 1]])}).bits()
    assert bits["a"].dtype == np.bool_
    assert bits["a"].tolist() == [[True, False], [False, True]]
