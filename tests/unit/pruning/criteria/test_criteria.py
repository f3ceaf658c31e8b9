"""Criteria: each score is what it claims to be, by finite differences, closed forms and conservation laws."""

import inspect
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Deep, data, network, same, state
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.pruning.criteria import taylor as taylor_module
from lacuna.pruning.criteria.base import balanced
from lacuna.pruning.criteria.grasp import grasp
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.criteria.random import random
from lacuna.pruning.criteria.snip import snip
from lacuna.pruning.criteria.synflow import synflow
from lacuna.pruning.criteria.taylor import taylor
from lacuna.sparsity.mask import Mask, prunable

SOURCE = data(retain=60, forget=12)
CRITERIA = {function.__name__: function for function in (magnitude, random, taylor, snip, grasp, synflow)}
# those that remove single weights
UNSTRUCTURED = [name for name, pruner in PRUNERS.items() if not pruner.structured]


def score(name, model, source=SOURCE, seed=0, **options):
    """A criterion's scores, given what its parameters name."""
    offered = {"data": source, "seed": seed} | options
    wanted = inspect.signature(CRITERIA[name]).parameters
    return CRITERIA[name](model, **{k: v for k, v in offered.items() if k in wanted})


def find_mask(pruner, model, sparsity, source=SOURCE, seed=0, mask=None, **options):
    return build(PRUNERS[pruner], options).find_mask(model, sparsity, source, seed=seed, mask=mask)


def worn(model, seed=1):
    """The model with batch norm statistics and affine parameters that are not those of the first day."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 3)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model


def moved(model, name, entry, factor):
    """A copy with one entry of one weight multiplied."""
    copy = network()
    copy.double().load_state_dict(model.state_dict())
    copy.train(model.training)
    dict(copy.named_parameters())[name].data.flatten()[entry] *= factor
    return copy


def some_entries(model):
    return [(name, entry) for name, w in prunable(model).items() for entry in (0, 7, w.numel() - 1)]


# ---- every criterion -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_scores_every_prunable_weight_and_changes_nothing(name):
    model = worn(network())
    model.train()
    before, drawn = state(model), torch.get_rng_state()
    scores = score(name, model)
    assert {k: s.shape for k, s in scores.items()} == {k: w.shape for k, w in prunable(model).items()}
    assert same(before, state(model)) and model.training
    assert all(p.grad is None for p in model.parameters())
    assert not any(s.requires_grad for s in scores.values())
    assert torch.equal(drawn, torch.get_rng_state())
    assert same(scores, score(name, model)), "the same bits again"


@pytest.mark.parametrize("name", CRITERIA)
def test_masked_weights_score_nothing(name):
    """A weight that is 0 has no influence; only `random` does not look, and only grasp has scores below 0."""
    model = network()
    mask = Mask.from_scores(random(model, seed=5), "0.6")
    mask.apply(model)
    scores = score(name, model)
    if name != "random":
        assert all(bool((s[~mask[n]] == 0).all()) for n, s in scores.items())
    assert (min(float(s.min()) for s in scores.values()) < 0) == (name == "grasp")


# ---- data at hand ----------------------------------------------------------------------------------------------------


def loss_on(model, chosen, temperature=1.0):
    x = SOURCE.normalised(SOURCE.images[chosen], torch.float64)
    return cross_entropy(model(x) / temperature, SOURCE.labels[chosen])


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_snip_is_the_sensitivity_to_a_gate(mode):
    """|∂ℓ(c ⊙ θ)/∂c| at c = 1, by central differences."""
    model = worn(network()).double().train(mode == "train")
    chosen = balanced(SOURCE, 4, seed=9)
    scores = score("snip", model, seed=9, samples_per_class=4, batchnorm=mode)
    for name, entry in some_entries(model):
        up, down = (loss_on(moved(model, name, entry, 1 + e), chosen).item() for e in (1e-5, -1e-5))
        assert float(scores[name].flatten()[entry]) == pytest.approx(abs(up - down) / 2e-5, rel=1e-5, abs=1e-10)


def gradient_flow(model, chosen):
    """½ gᵀg over all parameters, of logits/200."""
    gradients = torch.autograd.grad(loss_on(model, chosen, 200.0), list(model.parameters()))
    return sum(float(g.square().sum()) for g in gradients) / 2


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_grasp_is_what_removing_a_weight_does_to_the_gradient_flow(mode):
    """θ ∂(½ gᵀg)/∂θ by central differences: the flow that is lost, to first order, when a weight goes."""
    model = worn(network()).double().train(mode == "train")
    chosen = balanced(SOURCE, 4, seed=9)
    scores = score("grasp", model, seed=9, samples_per_class=4, batchnorm=mode)
    largest = max(float(s.abs().max()) for s in scores.values())
    for name, entry in some_entries(model):
        up, down = (gradient_flow(moved(model, name, entry, 1 + e), chosen) for e in (1e-4, -1e-4))
        assert float(scores[name].flatten()[entry]) == pytest.approx((up - down) / 2e-4, rel=1e-4, abs=1e-5 * largest)


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_taylor_squares_each_batch(batch_size):
    """Of one sample each: Σ (θ gᵢ)²; of all at once: (θ Σ gᵢ/n)²; in either case no draw of an order matters."""
    model = worn(network()).double()
    expected = {name: torch.zeros_like(w) for name, w in prunable(model).items()}
    model.eval()
    for chosen in SOURCE.index("retain").split(batch_size):
        gradients = torch.autograd.grad(loss_on(model, chosen), list(prunable(model).values()))
        for (name, w), g in zip(prunable(model).items(), gradients, strict=True):
            expected[name] += (w * g).detach() ** 2
    model.train()
    for seed in (0, 1):
        scores = score("taylor", model, seed=seed, batch_size=batch_size)
        for name, s in scores.items():
            torch.testing.assert_close(s, expected[name], rtol=1e-9, atol=1e-18)


def test_taylor_has_no_short_batch(monkeypatch):
    """Each batch's square weighs the same, and that of one sample would be mostly noise."""
    seen = []
    loss = taylor_module.loss_on
    monkeypatch.setattr(taylor_module, "loss_on", lambda m, d, chosen: seen.append(len(chosen)) or loss(m, d, chosen))
    score("taylor", network(), data(retain=41), seed=0, batch_size=10)
    assert seen == [9, 8, 8, 8, 8]


def test_taylor_mixes_a_sorted_dataset():
    """Stored class by class, no batch of the pass is of one class: another order gives other batches."""
    order = torch.argsort(SOURCE.labels[SOURCE.parts["retain"]])
    sorted_ = replace(SOURCE, parts=dict(SOURCE.parts) | {"retain": SOURCE.parts["retain"][order]})
    model = network()
    one, other = (score("taylor", model, sorted_, seed=seed, batch_size=20) for seed in (0, 1))
    assert not same(one, other)


@given(per_class=st.integers(1, 30), seed=st.integers(0, 99))
def test_balanced_batch_has_as_many_of_every_class(per_class, seed):
    chosen = balanced(SOURCE, per_class, seed)
    assert len(chosen.unique()) == len(chosen)
    retained = SOURCE.parts["retain"]
    assert bool(torch.isin(chosen, retained).all())
    for label in range(SOURCE.classes):
        there = int((SOURCE.labels[retained] == label).sum())
        assert int((SOURCE.labels[chosen] == label).sum()) == min(per_class, there)
    assert torch.equal(chosen, balanced(SOURCE, per_class, seed))


def test_a_class_that_is_not_retained_is_left_out():
    """The exact oracle of a forgotten class never sees it."""
    without = SOURCE.parts["retain"][SOURCE.labels[SOURCE.parts["retain"]] != 1]
    chosen = balanced(replace(SOURCE, parts={"retain": without}), 5, seed=0)
    assert SOURCE.labels[chosen].bincount(minlength=3).tolist() == [5, 0, 5]


@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_another_seed_is_another_batch(name):
    model = network()
    assert not same(score(name, model, seed=0, samples_per_class=3), score(name, model, seed=1, samples_per_class=3))


# ---- SynFlow ---------------------------------------------------------------------------------------------------------


def chain(depth, width=6, kernel=3, seed=0):
    """Convolutions and batch norm without end, global average pool, linear."""
    layers = [
        layer
        for i in range(depth)
        for layer in (
            nn.Conv2d(width if i else 1, width, kernel, 1, kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
    ]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))
    reinitialise(model, seed)
    return model


@torch.no_grad()
def flow(model, shape=(1, 1, 6, 6)):
    """R of the absolute network, without the constant of the classifier's bias."""
    copy = chain(sum(isinstance(m, nn.Conv2d) for m in model), model[0].out_channels, model[0].kernel_size[0])
    copy.load_state_dict(model.state_dict())
    copy.double().eval()
    for p in copy.parameters():
        p.data.abs_()
    copy[-1].bias.data.zero_()
    return float(copy(torch.ones(shape, dtype=torch.float64)).sum())


def test_synflow_is_conserved_in_every_layer():
    """What flows into a layer flows out: the scores of each sum to R (Tanaka et al., theorem 2)."""
    model = chain(5)
    total = flow(model)
    for layer in score("synflow", model).values():
        assert float(layer.sum()) == pytest.approx(total, rel=1e-12)


def test_synflow_is_what_a_weight_carries():
    """R is linear in every single weight: without it, R falls by exactly its score."""
    model = chain(3)
    total = flow(model)
    for name, layer in score("synflow", model).items():
        for entry in (0, layer.numel() // 2):
            less = chain(3)
            less.load_state_dict(model.state_dict())
            dict(less.named_parameters())[name].data.flatten()[entry] = 0
            assert total - flow(less) == pytest.approx(float(layer.flatten()[entry]), rel=1e-9)


def test_synflow_sees_no_data():
    model = network()
    elsewhere = data(retain=9, forget=3, seed=5)
    assert same(score("synflow", model), score("synflow", model, elsewhere, seed=1))


def test_synflow_of_a_deep_network_stays_in_range():
    """R is 1e44 and 1e-48 here, which float32 cannot hold; nothing of either is lost."""
    for factor in (4.0, 0.02):
        model = chain(40)
        with torch.no_grad():
            for w in prunable(model).values():
                w.mul_(factor)
        total = flow(model)
        assert total > 1e39 or 0 < total < 1e-39
        sums = [float(layer.sum()) for layer in score("synflow", model).values()]
        assert sums == pytest.approx([total] * 40, rel=1e-10)


def test_synflow_beyond_all_range_is_refused():
    model = chain(40)
    with torch.no_grad():
        for w in prunable(model).values():
            w.mul_(1e9)
    with pytest.raises(LacunaError, match=r"^synflow: R is inf, beyond the range of 64 bits; allowed: a shallower"):
        score("synflow", model)


def test_synflow_in_rounds_keeps_layers_that_one_round_removes():
    """At 1 % of the weights a single round cuts the chain, a hundred leave a path from end to end."""
    model = chain(6, width=12)
    connected = {}
    for rounds in (1, 100):
        sparse = chain(6, width=12)
        sparse.load_state_dict(model.state_dict())
        find_mask("synflow", model, "0.99", rounds=rounds).apply(sparse)
        connected[rounds] = flow(sparse) > 0
    assert connected == {1: False, 100: True}


def test_synflow_removes_by_rounds_what_it_scores_in_each():
    """By hand, with two rounds: down to √density by the dense scores, the rest by those of what is left."""
    model = network()
    mask = find_mask("synflow", model, "0.84", rounds=2)
    total = sum(w.numel() for w in prunable(model).values())
    first = Mask.from_scores(score("synflow", model), int(0.6 * total) / total)
    half = network()
    first.apply(half)
    assert mask == Mask.from_scores(score("synflow", half), "0.84", within=first)
    assert same(state(model), state(network())), "the model itself stays dense"


# ---- masks of every pruner -------------------------------------------------------------------------------------------


def removed_of(mask, scope):
    """Removed and all weights, of each group that is ranked."""
    pairs = [(int((~mask[n]).sum()), mask[n].numel()) for n in mask]
    return pairs if scope == "layer" else [tuple(map(sum, zip(*pairs, strict=True)))]


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("pruner", UNSTRUCTURED)
@settings(max_examples=8, deadline=None)
@given(level=st.integers(1, 9899), seed=st.integers(0, 9))
def test_requested_sparsity_is_reached_to_the_weight(pruner, scope, level, seed):
    options = {"rounds": 4} if pruner == "synflow" else {}
    mask = find_mask(pruner, network(seed=seed), f"{level / 10000:.4f}", seed=seed, scope=scope, **options)
    for gone, n in removed_of(mask, scope):
        assert abs(gone - n * level / 10000) <= 0.5 + 1e-9


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("pruner", UNSTRUCTURED)
def test_what_a_mask_removed_stays_removed(pruner, scope):
    """With a mask of another origin, uneven over the layers, no weight returns, and the sparsity is still met."""
    model = network()
    weights = {n: torch.rand(w.shape, generator=torch.Generator().manual_seed(1)) for n, w in prunable(model).items()}
    weights["conv1.weight"] *= 0.7
    given = Mask.from_scores(weights, "0.4")
    given.apply(model)
    mask = find_mask(pruner, model, "0.9", mask=given, scope=scope)
    assert not any(bool((mask[n] & ~given[n]).any()) for n in mask)
    assert all(abs(gone - 0.9 * n) <= 0.5 + 1e-9 for gone, n in removed_of(mask, scope))


@pytest.mark.parametrize("pruner", UNSTRUCTURED)
def test_hidden_linear_layers_are_pruned_on_request(pruner):
    model = Deep()
    reinitialise(model, 0)
    assert list(find_mask(pruner, model, "0.5")) == ["conv.weight"]
    mask = find_mask(pruner, model, "0.5", mask=Mask.full(model), include_linear=True)
    assert list(mask) == ["conv.weight", "hidden.weight"]
    assert mask.sparsity == 0.5
