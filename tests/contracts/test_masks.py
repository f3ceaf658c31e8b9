"""Every pruner × every unlearner: removed weights and their momentum are exactly 0 after every step and at the end."""

import dataclasses

import pytest
import torch
from tiny import data, network, state

from lacuna.data.batches import Augment, UnlearningData
from lacuna.fields import build
from lacuna.pruning import PRUNERS
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.sgd import Sgd
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import UNLEARNERS, unlearn

SOURCE = data(augment=Augment(1))
EVERYTHING = UnlearningData(
    SOURCE.images, SOURCE.labels, {"retain": SOURCE.index("mixed")}, 3, SOURCE.mean, SOURCE.std, SOURCE.augment
)
QUICK = {"epochs": 1, "batch_size": 16, "lr": 0.05, "rewind_epoch": 0}
RECIPE = Recipe(schedule="constant", crop=1, flip=False, **QUICK)
# few rounds are as many stages as one needs to see
FAST = {"synflow": {"rounds": 5}, "imp": {"rate": 0.4}}
METHODS = list(UNLEARNERS)


@pytest.fixture(scope="module")
def dense():
    model = network()
    initial = state(model)
    fit(model, RECIPE, EVERYTHING, seed=0)
    return StartingPoint(state(model), initial, initial)


@pytest.fixture(scope="module", params=PRUNERS)
def sparse(request, dense):
    """A pruner, the model that it made, and its mask."""
    model, pruner = network(), build(PRUNERS[request.param], FAST.get(request.param, {}))
    mask, _ = pruner.prune(model, dense, "0.5", RECIPE, EVERYTHING, seed=0)
    model.zero_grad(set_to_none=True)
    return pruner, model, mask


@pytest.fixture
def watched(monkeypatch):
    """Looks at the removed weights and their momentum whenever the optimizer has enforced its mask."""
    looks = []
    enforce = Sgd.enforce

    def look(optimizer):
        enforce(optimizer)
        for weight, keep in optimizer._masked:
            assert not weight[keep == 0].any()
            if weight in optimizer.momentum:
                assert not optimizer.momentum[weight][keep == 0].any()
        looks.append(len(optimizer._masked))

    monkeypatch.setattr(Sgd, "enforce", look)
    return looks


def removed_weights(model, mask):
    weights = dict(model.named_parameters())
    return torch.cat([weights[name][~mask[name]].flatten() for name in mask])


def test_pruned_model_is_zero_where_its_mask_is(sparse):
    _, model, mask = sparse
    removed = removed_weights(model, mask)
    assert len(removed) > 0
    assert not removed.any()
    assert mask.sparsity == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("method", METHODS)
def test_no_unlearner_revives_a_removed_weight(sparse, watched, method):
    pruner, model, mask = sparse
    known = {f.name for f in dataclasses.fields(UNLEARNERS[method])}
    options = {k: v for k, v in QUICK.items() if k in known}
    options |= {"pruner": pruner, "sparsity": "0.5"} if method == "retrain_exact" else {"mask": mask}
    outcome = unlearn(method, model, SOURCE, seed=0, **options)
    assert outcome.mask.sparsity >= mask.sparsity, "a mask may move with its layer, never fill up"
    removed = removed_weights(outcome.model, outcome.mask)
    assert len(removed) > 0
    assert not removed.any()
    if outcome.fit.steps:
        assert watched and max(watched) > 0
