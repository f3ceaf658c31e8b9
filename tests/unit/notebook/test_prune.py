"""lacuna.prune: a sparse copy and its mask, with any pruner."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lacuna
from lacuna.pruning import PRUNERS


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )


def data() -> lacuna.UnlearningData:
    x, y = torch.rand(30, 1, 6, 6, generator=torch.Generator().manual_seed(1)), torch.arange(30) % 3
    return lacuna.UnlearningData.from_tensors(retain=(x[:24], y[:24]), forget=(x[24:], y[24:]))


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("epochs", [None, 2])
def test_any_pruner_gives_a_sparse_copy_that_the_mask_holds(pruner, epochs):
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training = {} if epochs is None else {"epochs": epochs, "batch_size": 8}
    sparse, mask = lacuna.prune(model, 0.5, pruner=pruner, data=data(), seed=1, **training)
    assert mask.sparsity == pytest.approx(0.5, abs=0.02)
    mask.check(sparse)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    kept = mask["3.weight"]
    same = torch.equal(sparse[3].weight[kept], model[3].weight[kept])
    assert same is (epochs is None)
    again, second = lacuna.prune(model, 0.5, pruner=pruner, data=data(), seed=1, **training)
    assert mask == second
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in sparse.state_dict().items())


def test_magnitude_needs_no_data_and_keeps_the_largest_weights():
    model = network()
    _, mask = lacuna.prune(model, "0.75")
    removed = torch.cat([model[i].weight[~mask[f"{i}.weight"]].abs() for i in (0, 3)])
    kept = torch.cat([model[i].weight[mask[f"{i}.weight"]].abs() for i in (0, 3)])
    assert removed.max() <= kept.min()
    assert len(removed) == round(0.75 * (72 + 576))
    assert repr(mask) == "Mask(0.75 of 648 weights removed)"
    assert repr(lacuna.prune(model, 0.75)) == "Pruned(Sequential, Mask(0.75 of 648 weights removed))"


def test_a_random_mask_is_that_of_its_seed():
    first, again, other = (lacuna.prune(network(), 0.5, pruner="random", seed=seed).mask for seed in (1, 1, 2))
    assert first == again != other


def test_training_goes_on_with_a_constant_small_rate_and_by_its_seed():
    """What is not given is lr 0.01 without a schedule; the model comes back in evaluation mode."""

    def trained(**more):
        sparse, _ = lacuna.prune(network(), 0.5, data=data(), epochs=2, batch_size=8, **more)
        assert not sparse.training
        return sparse.state_dict()

    def same(a, b):
        return all(torch.equal(value, b[name]) for name, value in a.items())

    plain = trained()
    assert same(plain, trained(lr=0.01, schedule="constant", seed=0))
    for more in ({"lr": 0.1}, {"schedule": "cosine"}, {"seed": 1}):
        assert not same(plain, trained(**more)), more


def test_training_reads_all_of_the_data():
    """As the original model of the pipeline does, whose D_f is among its training data."""
    lines: list[str] = []
    own = data()
    own.labels[own.index("forget")] = 0  # only a training that reads them can learn it
    sparse, _ = lacuna.prune(network(), 0.5, data=own, epochs=1, batch_size=30, lr=0.1, log=lines.append)
    other, _ = lacuna.prune(network(), 0.5, data=data(), epochs=1, batch_size=30, lr=0.1)
    assert not torch.equal(sparse[-1].weight, other[-1].weight)
    assert lines


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lacuna.prune("a", 0.5), r"^prune: a str is not allowed; allowed: a torch.nn.Module$"),
        (
            lambda: lacuna.prune(network(), 0.5, data=3),
            r"^prune: data is a int; allowed: lacuna.UnlearningData",
        ),
        (lambda: lacuna.prune(network(), 1.5), r"^prune: sparsity 1.5 is not allowed; allowed: a number > 0 and < 1$"),
        (lambda: lacuna.prune(network(), "most"), r"^prune: sparsity 'most' is not allowed"),
        (lambda: lacuna.prune(network(), 0.5, pruner="omb"), r"^unknown pruner 'omb' \(did you mean 'omp'\?\)"),
        (lambda: lacuna.prune(network(), 0.5, pruner="snip"), r"^prune: snip computes its scores on data; .* data=$"),
        (lambda: lacuna.prune(network(), 0.5, epochs=2), r"^prune: epochs: there is no data to train on"),
        (lambda: lacuna.prune(network(), 0.5, data=data(), lr=1), r"^prune: lr: nothing is trained without epochs"),
        (lambda: lacuna.prune(network(), 0.5, epoch=2), r"^prune: unknown option 'epoch' \(did you mean 'epochs'\?\)"),
        (lambda: lacuna.prune(network(), 0.5, scope="all"), r"^prune: omp.scope: \"all\" is not allowed"),
        (lambda: lacuna.prune(network(), 0.5, restart="lt"), r"^prune: restart: not allowed"),
        (lambda: lacuna.prune(network(), 0.5, data=data(), epochs=0), r"^prune.epochs: 0 is not allowed"),
        (lambda: lacuna.prune(nn.Linear(3, 2), 0.5), r"^prune: omp at sparsity 0.5: Linear has no prunable weights"),
        (lambda: lacuna.prune(network(), 0.9999), r"^prune: omp at sparsity 0.9999: none of its 648 prunable weights"),
    ],
)
def test_what_cannot_be_pruned_is_one_sentence(call, said):
    with pytest.raises(lacuna.LacunaError, match=said):
        call()
