"""How long a model takes to learn D_f again, and what the metrics make of it."""

import pytest
import torch
from tiny import data, network, same, state
from torch.nn.functional import cross_entropy

from lacuna.errors import LacunaError
from lacuna.evaluation import Cell, evaluate
from lacuna.fields import build
from lacuna.measurement.relearning import Relearning, relearn
from lacuna.models.inference import accuracy, copy_of
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.sparsity.mask import Mask
from lacuna.training.loop import Objective, Recipe, fit

SOURCE = data()
QUICK = {"epochs": 6, "lr": 0.05, "batch_size": 4, "margin": 0.05}


@pytest.fixture(scope="module")
def original():
    model = network()
    fit(model, Recipe(epochs=20, lr=0.1, batch_size=16, crop=0, flip=False), SOURCE, seed=0)
    both = torch.cat([SOURCE.parts["retain"], SOURCE.parts["forget"]])
    everything = data()
    everything.parts["retain"] = both
    fit(model, Recipe(epochs=20, lr=0.05, batch_size=16, crop=0, flip=False), everything, seed=0)
    assert accuracy(model, SOURCE, "forget") > 80
    return model


def test_what_was_never_forgotten_takes_no_epoch(original):
    model = copy_of(original)
    found = relearn(model, original, SOURCE, Relearning(**QUICK), seed=0)
    before = accuracy(original, SOURCE, "forget")
    assert found == {"epochs": 0, "target": pytest.approx(0.95 * before), "accuracy": [before]}
    assert same(state(model), state(original))


class Tuning(Objective):
    def loss(self, model, forget):
        return cross_entropy(model(forget.x), forget.y)


def test_epochs_are_those_of_fine_tuning_on_the_forget_set(original):
    """As many as plain SGD on D_f takes, epoch by epoch, and no more are run."""
    found = relearn(network(seed=5), original, SOURCE, Relearning(**QUICK | {"epochs": 40}), seed=0)
    assert found["epochs"] >= 2
    for epochs, reached in enumerate(found["accuracy"]):
        model = network(seed=5)
        if epochs:
            fit(model, Tuning(epochs=epochs, lr=0.05, batch_size=4), SOURCE, seed=0)
        assert accuracy(model, SOURCE, "forget") == reached
    assert len(found["accuracy"]) == found["epochs"] + 1
    assert all(a < found["target"] for a in found["accuracy"][:-1])
    assert found["accuracy"][-1] >= found["target"]


def test_what_is_not_relearnt_in_time_has_no_number(original):
    found = relearn(network(seed=5), original, SOURCE, Relearning(**QUICK | {"epochs": 2, "lr": 1e-9}), seed=0)
    assert found["epochs"] is None
    assert len(found["accuracy"]) == 3


def test_masked_weights_stay_zero(original):
    model = network(seed=5)
    mask = Mask.from_scores(magnitude(model), "0.5")
    mask.apply(model)
    relearn(model, original, SOURCE, Relearning(**QUICK), seed=0, mask=mask)
    mask.check(model)


def test_settings_are_checked():
    assert build(Relearning, {"margin": 0.1}).margin == 0.1
    with pytest.raises(LacunaError, match=r"margin: 1\.5 is not allowed"):
        build(Relearning, {"margin": 1.5}, "relearning")


# ---- metrics ---------------------------------------------------------------------------------------------------------


def cell(epochs, accuracy=(0.0, 10.0, 20.0)):
    part = (torch.eye(3).numpy(), torch.arange(3).numpy())
    facts = {"epochs": epochs, "target": 95.0, "accuracy": list(accuracy)}
    return Cell.of(retain=part, forget=part, test=part, extra={"relearn": facts})


def test_metrics_of_relearning():
    found = evaluate(cell(3), {"o": cell(4)}, ["relearn_epochs", "AIN"])
    assert found == {"relearn_epochs": 3, "AIN/o": 0.75}
    assert evaluate(cell(4), cell(4), ["AIN"]) == {"AIN/oracle": 1}
    assert evaluate(cell(0), cell(4), ["AIN"]) == {"AIN/oracle": 0}


@pytest.mark.parametrize(
    ("own", "oracle", "why"),
    [
        (None, 2, "the model is at 20.00 % on D_f after 2 epochs, not yet at 95.00 %"),
        (2, None, "the oracle is at 20.00 % on D_f after 2 epochs, not yet at 95.00 %"),
        (2, 0, "the oracle needs no epoch to relearn D_f"),
    ],
)
def test_an_index_that_cannot_be_said_is_absent_with_its_reason(own, oracle, why):
    found = evaluate(cell(own), cell(oracle), ["AIN"])
    assert not found
    assert found.absent == {"AIN/oracle": why}
