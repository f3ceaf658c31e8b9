"""The gradient of a mean over a part of the data."""

import pytest
from tiny import same, state
from torch.nn.functional import cross_entropy

from lacuna.gradients.whole import mean_gradient
from lacuna.models.inference import copy_of
from unit.unlearning.methods.edits import SOURCE, close, everything_of


@pytest.mark.parametrize("batch_size", [5, 12, 100])
def test_mean_gradient_does_not_depend_on_the_batches(trained, batch_size):
    model = copy_of(trained)
    x, y = everything_of(SOURCE, "forget")
    cross_entropy(model.eval()(x), y).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    model.train()
    model.bn1.eval()
    found = mean_gradient(model, SOURCE, "forget", batch_size)
    for name, gradient in found.items():
        close(gradient, expected[name], rtol=1e-9, atol=1e-13)
    assert [m.training for m in (model, model.bn1, model.bn2)] == [True, False, True]
    assert all(p.grad is None for p in model.parameters())
    assert same(state(model), state(trained)), "batch norm statistics stay"
