"""Every criterion scores every prunable weight, and every pruner of single weights reaches its sparsity."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Deep, network, same, state
from unit.pruning.criteria.scores import CRITERIA, find_mask, score, worn

from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.pruning.criteria.random import random
from lacuna.sparsity.mask import Mask, prunable

# those that remove single weights
UNSTRUCTURED = [name for name, pruner in PRUNERS.items() if not pruner.structured]


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
