"""Masked small gradients: which weights are drawn again, and what is damped."""

import pytest
import torch
from tiny import data, half, network, state
from torch.nn.functional import cross_entropy

from lacuna.models.inference import copy_of
from lacuna.sparsity.mask import prunable
from lacuna.unlearning.methods.msg import MaskedSmallGradients
from unit.unlearning.methods.edits import SOURCE, close, everything_of, one_batch, working


def small_gradients(model, source, names):
    """|∇(ℓ_r − ℓ_f)| in evaluation mode, from whole batches."""
    twin = copy_of(model).eval()
    (xr, yr), (xf, yf) = everything_of(source, "retain"), everything_of(source, "forget")
    (cross_entropy(twin(xr), yr) - cross_entropy(twin(xf), yf)).backward()
    gradients = dict(twin.named_parameters())
    return {name: gradients[name].grad.abs() for name in names}


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("sparse", [False, True])
def test_msg_draws_exactly_the_smallest_gradients_again(trained, scope, sparse):
    # as many retained as forgotten samples: the random sample of D_r is D_r
    source = data(retain=25, forget=25)
    model = copy_of(trained)
    mask = half(model) if sparse else None
    if mask is not None:
        mask.apply(model)
    method, before = MaskedSmallGradients(scope=scope, batch_size=10), state(model)
    expected = small_gradients(model, source, prunable(model))
    method.begin(model, source, working(model, mask))
    after = state(model)
    changed = {name: after[name] != before[name] for name in before}
    kept = {
        name: mask[name] if mask is not None else torch.ones_like(g, dtype=torch.bool) for name, g in expected.items()
    }
    groups = [list(expected)] if scope == "global" else [[name] for name in expected]
    for group in groups:
        drawn, exists, scores = (torch.cat([t[name].flatten() for name in group]) for t in (changed, kept, expected))
        assert int(drawn.sum()) == int(0.3 * int(exists.sum()))
        assert not drawn[~exists].any()
        assert scores[drawn].max() <= scores[exists & ~drawn].min()
    assert not any(c.any() for name, c in changed.items() if name not in expected), "only convolutions"


def test_msg_samples_as_many_retained_as_forgotten(trained, monkeypatch):
    seen = {}

    def record(model, data, part, batch_size):
        seen[part] = data.index(part)
        return {name: torch.zeros_like(p) for name, p in model.named_parameters()}

    monkeypatch.setattr("lacuna.unlearning.methods.msg.mean_gradient", record)
    MaskedSmallGradients().choose(trained, SOURCE, working(trained))
    assert torch.equal(seen["forget"], SOURCE.parts["forget"])
    assert len(set(seen["retain"].tolist())) == len(seen["forget"]) < len(SOURCE.parts["retain"])
    assert set(seen["retain"].tolist()) <= set(SOURCE.parts["retain"].tolist())


def test_msg_damps_the_gradient_of_the_other_convolution_weights(trained):
    method, model = MaskedSmallGradients(damping=0.1), copy_of(trained)
    work = working(model)
    method.begin(model, SOURCE, work)
    given = one_batch(SOURCE, "retain")
    twin = copy_of(model)
    cross_entropy(twin(given.x), given.y).backward()
    method.backward(model, {"retain": given}, work)
    for name, p in twin.named_parameters():
        found = dict(model.named_parameters())[name].grad
        fresh = dict(trained.named_parameters())[name] != p
        factor = torch.where(fresh, 1.0, 0.1) if name in prunable(model) else 1.0
        close(found, p.grad * factor, rtol=1e-6, atol=1e-12)


def test_msg_draws_as_the_model_draws_its_own(trained):
    wide = network(widths=(40, 60))
    with torch.no_grad():
        wide.conv2.weight.fill_(5.0)
    MaskedSmallGradients(batch_size=16).begin(wide, SOURCE, working(wide))
    drawn = wide.conv2.weight[wide.conv2.weight != 5.0].detach()
    assert len(drawn) == int(0.3 * wide.conv2.weight.numel())
    bound = (40 * 9) ** -0.5
    assert drawn.abs().max() <= bound
    assert drawn.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
