"""SynFlow: what flows through a network without data, by rounds."""

import pytest
import torch
from tiny import data, network, same, state
from torch import nn

from lacuna.errors import LacunaError
from lacuna.models.init import reinitialise
from lacuna.sparsity.mask import Mask, prunable
from unit.pruning.criteria.scores import find_mask, score


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
