"""Filter pruning: which filters go, what goes with them, and how near that comes to the sparsity."""

import itertools
from fractions import Fraction

import pytest
import shapes
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny import data, network, same, state
from torch import nn

from lacuna.data.batches import Augment
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.inference import copy_of
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.pruning.criteria.taylor import taylor
from lacuna.randomness import derive
from lacuna.sparsity.channels import channels
from lacuna.sparsity.mask import Mask
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint

SHAPE = (1, 6, 6)
SOURCE = data(augment=Augment(1))
RECIPE = Recipe(epochs=3, rewind_epoch=1, lr=0.1, batch_size=16, schedule="constant", crop=1, flip=False)
FILTERS = [name for name in PRUNERS if PRUNERS[name].structured]
NORMS = {"filter_l1": lambda rows: rows.abs().sum(1), "filter_l2": lambda rows: rows.norm(dim=1)}


def resnet(width=4, seed=0):
    model = build(MODELS["resnet8"], {"width": width}).build(3, 1)
    reinitialise(model, seed)
    return model


def found(pruner, model, sparsity, mask=None, **given):
    return build(PRUNERS[pruner], given).find_mask(model, sparsity, SOURCE, seed=0, mask=mask)


def filters(mask):
    """Per convolution the filters that are kept; a filter is kept or removed as one."""
    for keep in mask.weights.values():
        rows = keep.flatten(1)
        assert torch.equal(rows.any(1), rows.all(1))
    return {name.removesuffix(".weight"): keep.flatten(1).any(1) for name, keep in mask.weights.items()}


# ---- which filters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruner", NORMS)
@pytest.mark.parametrize("sparsity", ["0.25", "0.50", "0.60"])
def test_each_layer_loses_its_smallest_filters(pruner, sparsity):
    model = resnet()
    mask = found(pruner, model, sparsity, groups="layer")
    for name, keep in filters(mask).items():
        norms = NORMS[pruner](model.get_submodule(name).weight.detach().flatten(1))
        gone = round(Fraction(sparsity) * len(norms))
        assert keep.tolist() == [int(rank) >= gone for rank in norms.argsort().argsort()]


@pytest.mark.parametrize("pruner", NORMS)
def test_a_stream_loses_the_channels_of_the_smallest_mean(pruner):
    model = resnet()
    keep = filters(found(pruner, model, "0.50"))
    stream = ("stem.0", "groups.0.0.conv2")
    norms = [NORMS[pruner](model.get_submodule(name).weight.detach().flatten(1)) for name in stream]
    expected = (torch.stack(norms).mean(0).argsort().argsort() >= 2).tolist()
    assert [keep[name].tolist() for name in stream] == [expected, expected]
    assert torch.equal(keep["groups.1.0.conv2"], keep["groups.1.0.shortcut.0"])
    apart = filters(found(pruner, model, "0.50", groups="layer"))
    assert not torch.equal(apart["groups.1.0.conv2"], apart["groups.1.0.shortcut.0"])


def test_taylor_scores_of_a_filter_are_added():
    model = network()
    keep = filters(found("filter_taylor", model, "0.50", batch_size=16))
    scores = build(PRUNERS["filter_taylor"], {"batch_size": 16}).scores(model, SOURCE, 0)
    assert torch.equal(
        scores["conv1.weight"],
        taylor(model, data=SOURCE, seed=derive(0, "scores"), batch_size=16)["conv1.weight"],
    )
    for name, score in scores.items():
        order = score.flatten(1).sum(1).argsort().argsort()
        assert keep[name.removesuffix(".weight")].tolist() == (order >= len(order) // 2).tolist()


@pytest.mark.parametrize("groups", ["coupled", "layer"])
@pytest.mark.parametrize("pruner", FILTERS)
def test_bias_and_norm_of_a_filter_go_with_it(pruner, groups):
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
    )
    mask = found(pruner, model, "0.50", groups=groups)
    assert set(mask) == {"0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"}
    for layer, vectors in {"0": ("0.bias", "1.weight", "1.bias"), "3": ("3.bias",)}.items():
        assert all(torch.equal(mask[name], filters(mask)[layer]) for name in vectors)
    mask.apply(model.eval())
    assert not model[:3](torch.randn(2, *SHAPE))[:, ~filters(mask)["0"]].any()


@pytest.mark.parametrize("pruner", FILTERS)
def test_hidden_linear_layers_lose_their_outputs_on_request(pruner):
    model = nn.Sequential(nn.Conv2d(1, 4, 6), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert set(found(pruner, model, "0.50")) == {"0.weight", "0.bias"}
    mask = found(pruner, model, "0.50", include_linear=True)
    assert {name: int(keep.sum()) for name, keep in filters(mask).items()} == {"0": 2, "2": 4}


def test_filters_go_where_a_layer_that_may_not_be_pruned_writes_too():
    """That layer stays whole: its part of the channel is no filter's."""

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 6)
            self.side, self.last = nn.Linear(36, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.last((self.conv(self.a(x).relu()).flatten(1) + self.side(x.flatten(1))).relu())

    mask = found("filter_l2", Shared(), "0.50")
    assert {name: int(k.sum()) for name, k in filters(mask).items()} == {"a": 2, "conv": 2}
    assert set(mask) == {f"{layer}.{p}" for layer in ("a", "conv") for p in ("weight", "bias")}


@pytest.mark.parametrize("groups", ["coupled", "layer"])
@pytest.mark.parametrize("sparsity", ["0.25", "0.50", "0.75"])
@pytest.mark.parametrize("make", shapes.REACHED)
def test_every_layer_loses_its_share_however_channels_are_shared(make, sparsity, groups):
    """Gates, zero-padded shortcuts, slices, concatenations: half of the filters are half of the filters."""
    model, share = make(), Fraction(sparsity)
    if make is shapes.Gate and sparsity == "0.75":
        with pytest.raises(
            LacunaError, match=r"^none of the 1 filters of 'gate.weight' would stay; allowed: at most 0.5$"
        ):
            build(PRUNERS["filter_l1"], {}).check(model, sparsity)
        return
    mask = found("filter_l1", model, sparsity, groups=groups)
    for name, keep in filters(mask).items():
        assert int((~keep).sum()) == round(share * len(keep)), name
    assert set(mask.weights) == {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    build(PRUNERS["omp"], {}).check(model, sparsity)
    mask.apply(model)
    assert model(torch.randn(2, *SHAPE)).isfinite().all()


@pytest.mark.parametrize("make", shapes.REACHED)
def test_so_does_the_whole_network_if_all_are_ranked_together(make):
    model = make()
    mask = found("filter_l2", model, "0.40", scope="global")
    largest = max(w[0].numel() for w in mask.weights.values())
    total = sum(w.numel() for w in mask.weights.values())
    assert abs(mask.sparsity - 0.4) <= 2 * largest / total
    assert not mask.collapsed()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_sparsity_that_whole_filters_miss_is_refused_with_the_nearest(scope):
    """The filters that write the outputs stay, which are 24 of 96 weights."""
    with pytest.raises(LacunaError, match=r"^by whole filters 0\.\d+ of the prunable weights go, not 0.75") as caught:
        found("filter_l1", shapes.Written(), "0.75", scope=scope)
    assert "as filters of 'b.weight' stay; allowed: a sparsity of about 0." in str(caught.value)


# ---- how many --------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    level=st.integers(1, 99),
    widths=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    scope=st.sampled_from(["layer", "global"]),
    pruner=st.sampled_from(["filter_l1", "filter_l2"]),
)
def test_what_the_check_allows_leaves_a_filter_in_each_layer(level, widths, scope, pruner):
    able, model, sparsity = build(PRUNERS[pruner], {"scope": scope}), network(widths=widths), f"{level / 100:.2f}"
    try:
        able.check(model, sparsity)
    except LacunaError:
        assume(False)
    keep = filters(able.find_mask(model, sparsity, SOURCE, seed=0))
    assert all(k.any() for k in keep.values())
    if scope == "layer":
        assert [int((~k).sum()) for k in keep.values()] == [round(Fraction(sparsity) * n) for n in widths]


def test_the_smallest_layer_decides_what_can_be_reached():
    """Half to even: of 4 filters 0.875 would be 3.5 and take all, of 5 filters 0.9 would be 4.5 and leaves one."""
    able = build(PRUNERS["filter_l1"], {})
    four, five = network(widths=(4, 9)).to("meta"), network(widths=(9, 5)).to("meta")
    able.check(four, "0.8749")
    with pytest.raises(
        LacunaError, match=r"^none of the 4 filters of 'conv1.weight' would stay; allowed: at most 0\.8749$"
    ):
        able.check(four, "0.875")
    able.check(five, "0.9")
    with pytest.raises(
        LacunaError, match=r"^none of the 5 filters of 'conv2.weight' would stay; allowed: at most 0\.9$"
    ):
        able.check(five, "0.9001")
    together = build(PRUNERS["filter_l1"], {"scope": "global"})
    # 36 and 324 weights of which one filter of 9 and one of 36 stay
    together.check(four, "0.875")
    with pytest.raises(LacunaError, match=r"^one filter of each layer stays; allowed: at most 0\.875$"):
        together.check(four, "0.8751")


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 100), level=st.integers(5, 80))
def test_global_ranking_comes_as_near_as_whole_channels_can(seed, level):
    """By hand: channels in the order of their score over the group's mean, the best of each group never."""
    model, wanted = resnet(width=2, seed=seed), level / 100
    entries = []
    for group in channels(model, SHAPE):
        layers = [model.get_submodule(n.removesuffix(".weight")) for n in group.rows if f"{n}".endswith("weight")]
        weights = [m.weight.detach().flatten(1) for m in layers if isinstance(m, nn.Conv2d)]
        norms = torch.stack([w.double().norm(dim=1) for w in weights]).mean(0)
        norms /= norms.mean()
        cost = sum(w.shape[1] for w in weights)
        entries += [(float(n), cost) for i, n in enumerate(norms) if i != int(norms.argmax())]
    total = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    removed = [0, *itertools.accumulate(cost for _, cost in sorted(entries))]
    nearest = min(abs(r / total - wanted) for r in removed)
    mask = found("filter_l2", model, f"{wanted:.2f}", scope="global")
    assert abs(mask.sparsity - wanted) == pytest.approx(nearest)


def test_global_ranking_does_not_see_the_scale_of_a_layer():
    model = resnet()
    mask = found("filter_l2", model, "0.50", scope="global")
    counts = {name: int(k.sum()) for name, k in filters(mask).items()}
    assert len({n / len(filters(mask)[name]) for name, n in counts.items()}) > 1, "not the same share of every layer"
    with torch.no_grad():
        model.groups[1][0].conv1.weight.mul_(1000)
    assert found("filter_l2", model, "0.50", scope="global") == mask


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("pruner", FILTERS)
def test_removed_filters_never_return(pruner, scope):
    model = resnet()
    first = found(pruner, model, "0.30", scope=scope)
    reinitialise(model, 9)
    second = found(pruner, model, "0.60", mask=first, scope=scope)
    assert not any(bool((second[name] & ~first[name]).any()) for name in first)
    assert second.sparsity == pytest.approx(found(pruner, model, "0.60", scope=scope).sparsity, abs=0.1)
    less = Mask({name: first[name] for name in first} | {"stem.0.weight": first["stem.0.weight"].clone()})
    single = less["stem.0.weight"].flatten(1)
    single[single.any(1).nonzero()[0], 0] = False
    again = found(pruner, model, "0.60", mask=less, scope=scope)
    assert not any(bool((again[name] & ~less[name]).any()) for name in less), "nor single weights of kept ones"


# ---- growing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", ["coupled", "layer"])
@pytest.mark.parametrize("pruner", FILTERS)
def test_the_removed_channels_of_the_largest_initial_norm_grow(pruner, groups):
    model, initial = resnet(), state(resnet(seed=5))
    able = build(PRUNERS[pruner], {"groups": groups})
    mask = able.find_mask(model, "0.50", SOURCE, seed=0)
    grown = able.grow(mask, model, SOURCE, initial, "0.5")
    assert set(grown) == set(mask)
    for group in channels(model, SHAPE, groups == "coupled"):
        before, after = group.kept(mask), group.kept(grown)
        assert bool((after | ~before).all())
        assert int((after & ~before).sum()) == round(0.5 * int((~before).sum()))
        norms = torch.stack([initial[n].flatten(1).norm(dim=1) for n in group.rows if n in grown.weights]).mean(0)
        assert norms[after & ~before].min() > norms[~after].max()
        for name, (row, channel) in group.rows.items():
            assert torch.equal(grown[name].view(len(row), -1)[:, 0], after[channel])
    assert able.find_mask(model, "0.50", SOURCE, seed=0, mask=grown).sparsity == mask.sparsity
    generator = torch.Generator().manual_seed(1)
    assert able.grow(mask, model, SOURCE, initial, "0.5", generator).sparsity == grown.sparsity


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dense():
    model = resnet().double()
    initial = state(model)
    run = fit(model, RECIPE, SOURCE, seed=0, snapshot_epoch=RECIPE.rewind_epoch)
    return StartingPoint(state(model), run.snapshot, initial)


@pytest.mark.parametrize("groups", ["coupled", "layer"])
def test_pruning_compacted_is_pruning_masked(dense, groups):
    """In float64 both give one function; the whole network is left, and told what ran."""
    x = torch.randn(4, *SHAPE, dtype=torch.float64)
    models, masks, runs = [], [], []
    for compact in (False, True):
        model = resnet().double()
        pruner = build(PRUNERS["filter_l2"], {"groups": groups, "compact": compact})
        mask, run = pruner.prune(model, dense, "0.50", RECIPE, SOURCE, seed=1)
        mask.check(model)
        models.append(model.eval())
        masks.append(mask)
        runs.append(run)
    assert masks[0] == masks[1]
    torch.testing.assert_close(models[0](x), models[1](x), rtol=0, atol=1e-8)
    torch.testing.assert_close(runs[1].network.eval()(x), models[1](x), rtol=0, atol=1e-8)
    rewound = copy_of(models[0])
    rewound.load_state_dict(dense.rewind)
    masks[0].apply(rewound)
    assert not torch.allclose(rewound(x), models[0](x), atol=1e-3), "something was learnt"
    assert runs[0].network is None
    assert not same(state(models[0]), state(models[1])), "dead weights decay in the masked network only"


def test_oracle_prunes_compacted_as_well():
    from lacuna.unlearning import unlearn

    pruner = build(PRUNERS["filter_l2"], {"compact": True})
    settings = {"epochs": 2, "rewind_epoch": 1, "batch_size": 16}
    outcome = unlearn("retrain_exact", resnet(), SOURCE, seed=0, pruner=pruner, sparsity="0.50", **settings)
    outcome.mask.check(outcome.model)
    assert outcome.fit.network.stem[0].out_channels == 2
    assert outcome.mask.sparsity == 0.5
