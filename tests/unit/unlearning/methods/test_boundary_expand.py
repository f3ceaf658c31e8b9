"""Boundary expanding: a shadow class that is added, learnt and dropped."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from tiny import half
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna.errors import LacunaError
from lacuna.models.inference import copy_of
from lacuna.sparsity.mask import Mask
from lacuna.unlearning import base, unlearn
from lacuna.unlearning.methods.boundary_expand import BoundaryExpand
from unit.unlearning.methods.edits import QUICK, SOURCE, close, everything_of, one_batch, run, working


def test_shadow_class_is_added_learnt_and_dropped(trained):
    wide = {}

    @dataclass(frozen=True, kw_only=True)
    class Watched(BoundaryExpand):
        def begin(self, model, data, work):
            given = super().begin(model, data, work)
            wide["start"] = (model.fc.weight.detach().clone(), model.fc.bias.detach().clone())
            return given

        def finish(self, model, data, work):
            with torch.no_grad():
                wide["logits"] = copy_of(model).eval()(everything_of(SOURCE, "forget")[0])
            super().finish(model, data, work)

    outcome = base.run(Watched, trained, SOURCE, **QUICK)
    weight, bias = wide["start"]
    assert (weight.shape, bias.shape) == ((4, 6), (4,))
    assert torch.equal(weight[:3], trained.fc.weight)
    assert torch.equal(bias[:3], trained.fc.bias)
    assert 0 < weight[3].abs().max() <= 6**-0.5
    assert 0 < bias[3].abs() <= 6**-0.5
    # it learnt D_f, and what is left is the other classes' rows
    losses = [row["loss"] for row in outcome.fit.history]
    assert losses[1] < losses[0]
    with torch.no_grad():
        found = outcome.model(everything_of(SOURCE, "forget")[0])
    assert outcome.model.fc.out_features == 3
    close(found, wide["logits"][:, :3], rtol=1e-12, atol=1e-12)


def test_shadow_class_step_by_hand(trained):
    """One step on D_f: the rows of the three classes move by their gradient under the label of the fourth."""
    method = BoundaryExpand(lr=0.1, epochs=1, batch_size=100, momentum=0.0, weight_decay=0.0)
    model = copy_of(trained)
    method.begin(model, SOURCE, working(model))
    x, y = everything_of(SOURCE, "forget")
    cross_entropy(model.train()(x), torch.full_like(y, 3)).backward()
    expected = model.fc.weight.detach() - 0.1 * model.fc.weight.grad
    source = dataclasses.replace(SOURCE, shuffle=False)
    found = unlearn("boundary_expand", trained, source, **dataclasses.asdict(method))
    close(found.model.fc.weight, expected[:3], rtol=1e-9, atol=1e-12)


def test_shadow_class_label_follows_the_classifier_not_the_data(trained):
    """A head with more outputs than the data has classes: the shadow class is still a new one."""
    fewer = dataclasses.replace(SOURCE, classes=2, labels=SOURCE.labels % 2)
    method, model = BoundaryExpand(), copy_of(trained)
    work = working(model)
    method.begin(model, fewer, work)
    given = one_batch(fewer, "forget")
    expected = cross_entropy(model(given.x), torch.full_like(given.y, 3))
    close(method.loss(model, given, work), expected)


def test_shadow_class_with_a_mask_on_the_classifier(trained):
    generator = torch.Generator().manual_seed(0)
    mask = Mask(
        {"fc.weight": torch.rand(3, 6, generator=generator) < 0.5, "conv1.weight": half(trained)["conv1.weight"]}
    )
    outcome = run("boundary_expand", trained, mask=mask)
    assert outcome.mask == mask
    weight = outcome.model.fc.weight
    assert not weight[~mask["fc.weight"]].any()
    assert weight[mask["fc.weight"]].all()


def test_model_without_linear_layer_has_no_shadow_class():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        LacunaError, match=r"^Sequential has no classifier: it holds no Linear layer; allowed: a network with one$"
    ):
        unlearn("boundary_expand", model, SOURCE)
