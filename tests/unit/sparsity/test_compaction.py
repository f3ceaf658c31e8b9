"""A network without its removed filters is the masked network: same outputs, same steps, fewer numbers."""

import dataclasses

import pytest
import shapes
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import data, network, same, state
from torch import nn

from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.files import load_into, save_state
from lacuna.models.inference import copy_of
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.sparsity.channels import channels
from lacuna.sparsity.compaction import Compaction, compact
from lacuna.sparsity.mask import Mask
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import UNLEARNERS, unlearn

SHAPE = (1, 6, 6)
SOURCE = data()
# fields that every method with a loop has, set for speed
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.05, "rewind_epoch": 1}


def options(method, **more):
    known = {f.name for f in dataclasses.fields(UNLEARNERS[method])}
    return {k: v for k, v in QUICK.items() if k in known} | more


def resnet(name="resnet8", width=4, seed=0, inputs=1):
    model = build(MODELS[name], {"width": width}).build(3, inputs)
    reinitialise(model, seed)
    return model


def worn(model, seed=0):
    """The model with batch norm that training has moved: no statistic, factor or shift is what it was at first."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.uniform_(-1, 1, generator=generator)
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    return model


def drawn(model, share, seed=0, coupled=True, shape=SHAPE):
    """A mask that removes channels at random, one of each layer kept."""
    generator = torch.Generator().manual_seed(seed)
    parameters, kept = dict(model.named_parameters()), {}
    for group in channels(model, shape, coupled):
        keep = torch.rand(group.count, generator=generator) >= share
        keep[0] = True
        for name, (row, channel) in group.rows.items():
            kept.setdefault(name, torch.ones(parameters[name].shape, dtype=torch.bool))
            kept[name][row[~keep[channel]]] = False
    return Mask(kept)


def masked(model, mask):
    model = copy_of(model)
    mask.apply(model)
    return model


def images(n=4, shape=SHAPE, dtype=torch.float32):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(5), dtype=dtype)


def assert_same_function(one, other, x, atol=1e-5):
    for mode in (False, True):
        torch.testing.assert_close(one.train(mode)(x), other.train(mode)(x), rtol=1e-5, atol=atol)


# ---- the same function -----------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    share=st.floats(0, 0.95),
    make=st.sampled_from([resnet, network]),
    coupled=st.booleans(),
)
def test_compacted_network_gives_the_outputs_of_the_masked_one(seed, share, make, coupled):
    model = worn(make(seed=seed), seed)
    mask = drawn(model, share, seed, coupled)
    small = compact(model, mask, SHAPE)
    assert_same_function(masked(model, mask), small, images())


@pytest.mark.parametrize(("name", "width"), [("resnet20", 16), ("resnet18", 32)])
@pytest.mark.parametrize("coupled", [True, False])
def test_so_do_the_larger_networks(name, width, coupled):
    shape = (3, 8, 8)
    model = worn(resnet(name, width, inputs=3))
    mask = drawn(model, 0.5, coupled=coupled, shape=shape)
    assert_same_function(masked(model, mask), compact(model, mask, shape), images(8, shape))


class Branches(nn.Module):
    """What a graph may hold: a concatenation, a flattened map, hidden linear layers, filters with bias, no norm."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(1, 6, 1, bias=False)
        self.norm = nn.BatchNorm2d(10)
        self.both = nn.Conv2d(10, 5, 3, 2, 1)
        self.hidden = nn.Linear(5 * 9, 7)
        self.last = nn.Linear(7, 3)

    def forward(self, x):
        x = self.norm(torch.cat([self.left(x), self.right(x)], 1)).relu()
        return self.last(self.hidden(self.both(x).relu().flatten(1)).relu())


def test_channels_are_followed_through_concatenation_and_flattening():
    model = worn(Branches())
    found = {group.layer: group for group in channels(model, SHAPE)}
    assert {layer: group.count for layer, group in found.items()} == {"left": 4, "right": 6, "both": 5, "hidden": 7}
    assert found["right"].rows["norm.weight"][0].tolist() == [4, 5, 6, 7, 8, 9]
    assert set(found["left"].rows) == {"left.weight", "left.bias", "norm.weight", "norm.bias"}
    mask = drawn(model, 0.5)
    small = compact(model, mask, SHAPE)
    assert_same_function(masked(model, mask), small, images())
    assert small.hidden.in_features == 9 * small.both.out_channels < 45


def test_a_networks_outputs_are_no_channels():
    """Neither those of a classifier nor those of a last convolution."""
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert [group.layer for group in channels(plain, SHAPE)] == ["0"]
    assert [group.layer for group in channels(network(), SHAPE)] == ["conv1", "conv2"]
    removed = Mask({"fc.weight": torch.tensor([[0], [1], [1]]).expand(3, 6), "fc.bias": torch.tensor([0, 1, 1])})
    assert compact(network(), removed, SHAPE).fc.out_features == 3


def test_writers_of_one_stream_share_their_channels():
    found = {group.layer: set(group.rows) for group in channels(resnet(), SHAPE)}
    assert found["stem.0"] == {
        "stem.0.weight",
        *(f"{norm}.{p}" for norm in ("stem.1", "groups.0.0.bn2") for p in ("weight", "bias")),
        "groups.0.0.conv2.weight",
    }
    assert set(found) == {"stem.0", *(f"groups.{i}.0.conv1" for i in range(3)), "groups.1.0.conv2", "groups.2.0.conv2"}
    alone = {group.layer: set(group.rows) for group in channels(resnet(), SHAPE, coupled=False)}
    assert alone["groups.0.0.conv2"] == {"groups.0.0.conv2.weight", "groups.0.0.bn2.weight", "groups.0.0.bn2.bias"}
    assert sorted(n for rows in alone.values() for n in rows) == sorted(n for rows in found.values() for n in rows)


@pytest.mark.parametrize(
    ("middle", "sentence"),
    [
        (nn.Sequential(nn.BatchNorm2d(4), nn.Sigmoid()), r"logits differ by .*allowed: a network where a removed"),
        (nn.BatchNorm2d(4, affine=False), r"logits differ by .*batch norm with weight and bias"),
    ],
)
def test_a_removed_filter_that_still_speaks_is_refused(middle, sentence):
    """σ(0) = ½ and a shift by the running mean reach the next layer: the small network is another function."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), middle, nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(1.0)
    with pytest.raises(LacunaError, match=sentence):
        compact(model, drawn(model, 0.5, seed=1), SHAPE)


@pytest.mark.parametrize(
    "make", [shapes.squeeze, shapes.grouped, shapes.depthwise, shapes.prelu, shapes.Gate, shapes.Dense]
)
@pytest.mark.parametrize("pruner", ["filter_l1", "filter_l2"])
def test_a_filter_pruners_mask_is_taken_out_however_channels_are_shared(make, pruner):
    """What cannot be taken out (channels that a grouped convolution deals out) stays, and the outputs are the same."""
    model = worn(make())
    mask = PRUNERS[pruner](groups="coupled").find_mask(model, "0.50", SOURCE, seed=0)
    small = compact(model, mask, SHAPE)
    assert_same_function(masked(model, mask), small, images())
    count = [sum(p.numel() for p in m.parameters()) for m in (small, model)]
    assert count[0] < count[1] or make is shapes.squeeze, "a gate that is not prunable keeps its channels"


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.Sequential(nn.BatchNorm2d(8), nn.Sigmoid())])
def test_a_norm_over_channels_or_a_sigmoid_is_refused(norm):
    model = shapes.chain(nn.Conv2d(1, 8, 3, padding=1), norm, nn.ReLU(), shapes.block(8, 8), width=8)
    mask = PRUNERS["filter_l2"]().find_mask(worn(model), "0.50", SOURCE, seed=0)
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-1, 1)
    with pytest.raises(LacunaError, match=r"(differ by|cannot be followed).*; allowed: .*"):
        compact(model, mask, SHAPE)


# ---- fewer numbers ---------------------------------------------------------------------------------------------------


def test_what_is_left_are_the_kept_rows_and_columns_of_the_whole():
    model = worn(network())
    first, second = torch.tensor([1, 0, 1, 0]).bool(), torch.tensor([0, 1, 1, 0, 1, 1]).bool()
    kept = {"conv1.weight": first.view(4, 1, 1, 1).expand(4, 1, 3, 3), "bn1.weight": first, "bn1.bias": first}
    kept |= {"conv2.weight": second.view(6, 1, 1, 1).expand(6, 4, 3, 3), "bn2.weight": second, "bn2.bias": second}
    small, whole = compact(model, Mask(kept), SHAPE).state_dict(), model.state_dict()
    assert torch.equal(small["conv1.weight"], whole["conv1.weight"][first])
    assert torch.equal(small["conv2.weight"], whole["conv2.weight"][second][:, first])
    assert torch.equal(small["fc.weight"], whole["fc.weight"][:, second])
    assert torch.equal(small["fc.bias"], whole["fc.bias"])
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(small[f"bn2.{name}"], whole[f"bn2.{name}"][second])


def test_layers_that_disagree_keep_what_one_of_them_needs():
    """Four channels of a stream; two writers, each of which removes two: only the common one can go."""
    model = worn(resnet())
    shared = ("stem.0", "stem.1", "groups.0.0.conv2", "groups.0.0.bn2")
    mask = {name: torch.ones_like(p) for name, p in model.named_parameters() if name.rpartition(".")[0] in shared}
    for layer, norm, gone in (("stem.0", "stem.1", [0, 1]), ("groups.0.0.conv2", "groups.0.0.bn2", [1, 2])):
        for name in (f"{layer}.weight", f"{norm}.weight", f"{norm}.bias"):
            mask[name][gone] = 0
    mask = Mask(mask)
    compaction = Compaction.of(model, mask, SHAPE)
    assert compaction.network.stem[0].out_channels == 3
    left = compaction.mask(mask)
    left.check(compaction.network)
    assert left["stem.1.weight"].tolist() == [False, True, True]
    assert left["groups.0.0.bn2.weight"].tolist() == [True, False, True]


def test_single_weights_take_nothing_out():
    model = resnet()
    mask = Mask.from_scores(magnitude(model), "0.9")
    small = compact(model, mask, SHAPE)
    assert same(state(small), state(masked(model, mask)))


def test_one_channel_of_a_layer_stays():
    model = worn(network())
    mask = Mask({name: torch.zeros_like(p) for name, p in model.named_parameters() if not name.startswith("fc")})
    small = compact(model, mask, SHAPE)
    assert (small.conv1.out_channels, small.conv2.out_channels) == (1, 1)
    assert_same_function(masked(model, mask), small, images())


def test_the_given_model_stays_and_the_small_one_is_like_it():
    model = resnet().double()
    model.stem[0].weight.requires_grad_(False)
    model.train()
    model.groups[0].eval()
    before, mask = state(model), drawn(model, 0.5)
    small = compact(model, mask, SHAPE)
    assert same(state(model), before)
    assert not model.groups[0].training and model.stem.training
    assert {n: m.training for n, m in small.named_modules()} == {n: m.training for n, m in model.named_modules()}
    assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in model.parameters()]
    assert {p.dtype for p in small.parameters()} == {torch.float64}
    assert small.groups[1][0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert small.groups[1][0].bn1.num_batches_tracked.dtype == torch.int64


def test_small_values_find_their_places_again():
    model = worn(resnet())
    mask = drawn(model, 0.5)
    compaction = Compaction.of(model, mask, SHAPE)
    other = worn(resnet(seed=7), 7)
    compaction.expand(compaction.network, other)
    assert_same_function(masked(model, mask), masked(other, mask), images())
    again = Compaction.of(other, mask, SHAPE).network
    assert same(state(again), state(compaction.network))
    less = Mask(
        {
            name: keep & (torch.arange(keep.numel()).view(keep.shape) % 2 == 0)
            for name, keep in compaction.mask(mask).weights.items()
        }
    )
    whole = compaction.whole_mask(less, mask)
    restricted = compaction.mask(whole)
    assert all(torch.equal(restricted[name], less[name]) for name in less)
    assert all(torch.equal(whole[name], mask[name]) for name in mask if name not in less)
    assert not any(bool((whole[name] & ~mask[name]).any()) for name in mask)


def test_it_is_stored_as_mask_and_state(tmp_path):
    model = worn(resnet())
    mask = drawn(model, 0.5)
    small = compact(model, mask, SHAPE)
    save_state(tmp_path / "small.safetensors", state(small))
    loaded = load_into(compact(resnet(seed=3), mask, SHAPE), tmp_path / "small.safetensors")
    assert torch.equal(loaded.eval()(images()), small.eval()(images()))


# ---- the same steps --------------------------------------------------------------------------------------------------

STEPS = ["ft", "ga", "neggrad_plus", "l1_sparse", "retrain"]


@pytest.mark.parametrize("method", STEPS)
@pytest.mark.parametrize("coupled", [True, False])
def test_unlearning_compacted_is_unlearning_masked(method, coupled):
    """In float64 the two runs are one: removed channels take no part in loss, gradient or momentum."""
    model = worn(resnet()).double()
    mask = drawn(model, 0.5, coupled=coupled)
    more = options(method, seed=3, mask=mask, epochs=3, lr=0.02)
    if method == "retrain":  # from a θ_0 of the whole network
        more["origin"] = StartingPoint(initial=state(resnet(seed=5)))
    # weight decay moves the dead weights of a masked network, which nothing reads
    assert UNLEARNERS[method].weight_decay > 0 and UNLEARNERS[method].momentum > 0
    whole = unlearn(method, model, SOURCE, **more)
    small = unlearn(method, model, SOURCE, compact=True, **more)
    x = images(dtype=torch.float64)
    torch.testing.assert_close(small.model(x), whole.model(x), rtol=0, atol=1e-8)
    torch.testing.assert_close(small.fit.network(x), whole.model(x), rtol=0, atol=1e-8)
    assert not torch.allclose(whole.model(x), masked(model, mask).eval()(x), atol=1e-3), "something was learnt"
    assert small.mask == whole.mask == mask
    if method != "l1_sparse":  # its penalty counts dead weights too
        losses = [[row["loss"] for row in run.fit.history] for run in (small, whole)]
        assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize("method", [name for name in UNLEARNERS if name != "retrain_exact"])
def test_every_method_runs_on_the_small_network_and_gives_the_whole_one(method):
    model = worn(network())
    mask = drawn(model, 0.5, seed=1)
    before = state(model)
    outcome = unlearn(method, model, SOURCE, seed=0, mask=mask, compact=True, **options(method))
    assert same(state(model), before)
    assert {n: v.shape for n, v in state(outcome.model).items()} == {n: v.shape for n, v in before.items()}
    assert {n: outcome.mask[n].shape for n in outcome.mask} == {n: mask[n].shape for n in mask}
    outcome.mask.check(outcome.model)
    assert not any(bool((outcome.mask[n] & ~mask[n]).any()) for n in mask)
    assert not outcome.model.training
    parameters = [sum(p.numel() for p in m.parameters()) for m in (outcome.fit.network, outcome.model)]
    assert parameters[0] < parameters[1]
    torch.testing.assert_close(outcome.model(images()), outcome.fit.network.eval()(images()), rtol=1e-4, atol=1e-5)


def test_nothing_can_be_taken_out_without_a_mask():
    with pytest.raises(LacunaError, match=r"^compact: nothing can be taken out of a network without a mask; allowed:"):
        unlearn("ft", network(), SOURCE, compact=True, epochs=1)


def test_a_network_that_cannot_be_followed_is_refused():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.conv(x)

    with pytest.raises(LacunaError, match=r"^Broken: its channels cannot be followed \("):
        channels(Broken(), SHAPE)


def test_the_oracle_starts_anew_before_it_is_compacted():
    """It knows nothing of the weights that it is given, and draws as the whole network does."""
    mask = drawn(resnet(), 0.5)
    given = {"mask": mask, "compact": True, "seed": 3}
    one, other = (unlearn("retrain", worn(resnet(seed=s), s), SOURCE, **given, **options("retrain")) for s in (1, 2))
    assert same(state(one.fit.network), state(other.fit.network))
