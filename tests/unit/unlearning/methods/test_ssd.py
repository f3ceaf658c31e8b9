"""Selective synaptic dampening: what is selected, and by how much it is dampened."""

import pytest
import torch
from tiny import half, same, state
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.fields import build
from lacuna.gradients.per_sample import mean_squares, true_label
from lacuna.gradients.whole import squared_batch_means
from lacuna.models.inference import copy_of
from lacuna.randomness import derive
from lacuna.unlearning import UNLEARNERS, unlearn
from lacuna.unlearning.methods.ssd import SynapticDampening
from unit.gradients.networks import SOURCE, close, looped
from unit.unlearning.methods.second_order import SPARSE


@SPARSE
@pytest.mark.parametrize("method", ["ssd", "lfssd"])
@pytest.mark.parametrize(("alpha", "dampening"), [(1.2, 1.0), (1.2, 0.3), (0.5, 1.0), (1.0, 0.0)])
def test_dampening_touches_only_selected_weights(trained_model, method, alpha, dampening, sparse):
    mask, start = half(trained_model) if sparse else None, copy_of(trained_model)
    if mask is not None:
        mask.apply(start)
    loss = None if method == "ssd" else (lambda logits, y: logits.square().sum())
    forget = looped(start, SOURCE, SOURCE.index("forget"), loss)
    everything = looped(start, SOURCE, SOURCE.index("mixed"), loss)
    end = unlearn(method, trained_model, SOURCE, mask=mask, alpha=alpha, dampening=dampening).model
    chosen_of_all = []
    for name, p in start.named_parameters():
        i_f, i_d = forget[name].square().mean(0), everything[name].square().mean(0)
        chosen = i_f > alpha * i_d
        found = dict(end.named_parameters())[name]
        assert torch.equal(found[~chosen], p[~chosen]), "bit for bit"
        close(found[chosen], (p * (dampening * i_d / i_f).clamp(max=1))[chosen], rtol=1e-8)
        chosen_of_all.append(chosen.flatten())
    assert 0 < torch.cat(chosen_of_all).double().mean() < 1


@pytest.mark.parametrize("method", ["ssd", "lfssd"])
@pytest.mark.parametrize("factor", [1 + 1e-9, 1.0])
def test_no_importance_is_more_than_all_of_it(trained_model, method, factor):
    """I_D holds n_f/n of I_f, so from α = n/n_f on nothing can be selected: said, and the model marked as unchanged."""
    said = []
    outcome = unlearn(method, trained_model, SOURCE, alpha=52 / 12 * factor, log=said.append)
    assert same(state(outcome.model), state(trained_model))
    assert outcome.fit.facts["unchanged"] == 1.0 and outcome.fit.facts["dampened"] == 0.0
    assert said[-1] == (
        f"{method}: 0 parameters dampened; warning: alpha 4.333 ≥ n/n_f 4.333, so that exact importances select "
        "nothing; the model is the original bit for bit"
    )


def test_equality_selects_nothing_whatever_rounding_does():
    """A weight that no retained sample moves has I_f = (n/n_f) I_D: at α = n/n_f it stays."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    x = torch.zeros(30, 1, 2, 2)
    x[:3, 0, 0, 0] = 0.7  # the first input is 0 in all retained samples
    x[3:, 0, 1, 1] = 1.0
    parts = {"forget": (x[:3], torch.zeros(3)), "retain": (x[3:], torch.arange(27) % 2)}
    source = UnlearningData.from_tensors(**parts)
    below, at = (unlearn("ssd", model, source, alpha=alpha).fit.facts for alpha in (9.99, 10.0))
    assert below["dampened"] == 2 and at["dampened"] == 0


@pytest.mark.parametrize("method", ["ssd", "lfssd"])
def test_squared_batch_means_select_where_exact_importances_cannot(trained_model, method):
    """The published importances are not nested: I_f may be more than n/n_f times I_D."""
    alpha = len(SOURCE.index("mixed")) / len(SOURCE.index("forget"))
    forget, everything = (
        squared_batch_means(trained_model, SOURCE, part, 64, build(UNLEARNERS[method], {}, method).losses, seed=0)
        for part in ("forget", "mixed")
    )
    beyond = sum(int((f > alpha * everything[name]).sum()) for name, f in forget.items())
    assert beyond > 0
    assert unlearn(method, trained_model, SOURCE, alpha=alpha).fit.facts["unchanged"] == 1.0
    outcome = unlearn(method, trained_model, SOURCE, alpha=alpha, variant="batch", seed=0)
    assert outcome.fit.facts["dampened"] == outcome.fit.facts["changed"] == beyond
    assert outcome.fit.facts["unchanged"] == 0.0
    for name, p in outcome.model.named_parameters():
        start = dict(trained_model.named_parameters())[name]
        selected = forget[name] > alpha * everything[name]
        close(p, torch.where(selected, start * everything[name] / forget[name], start), rtol=1e-8)


@pytest.mark.parametrize("seed", [None, 3])
def test_squared_batch_means_are_of_the_mean_gradient(trained_model, seed):
    """By hand; one batch of all gives the squared gradient of the whole, batches of one sample the exact importance."""
    found = squared_batch_means(trained_model, SOURCE, "retain", 16, true_label, seed)
    index = SOURCE.index("retain")
    if seed is not None:
        order = torch.Generator().manual_seed(derive(seed, "batches", "retain"))
        index = index[torch.randperm(len(index), generator=order)]
    singles = looped(trained_model, SOURCE, index)
    for name, squares in found.items():
        close(
            squares,
            torch.stack([g.mean(0).square() for g in singles[name].split(SOURCE.sizes("retain", 16))]).mean(0),
            rtol=1e-8,
            atol=1e-15,
        )
    one = squared_batch_means(trained_model, SOURCE, "retain", 1000, true_label, seed)
    each = squared_batch_means(trained_model, SOURCE, "retain", 1, true_label, seed)
    for name, expected in mean_squares(trained_model, SOURCE, "retain").items():
        close(one[name], singles[name].mean(0).square(), rtol=1e-8, atol=1e-15)
        close(each[name], expected, rtol=1e-8, atol=1e-15)


def test_dampening_never_enlarges_and_ties_are_not_selected():
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    forget = {"weight": torch.tensor([[2.0, 1.0, 4.0, 0.0]])}
    everything = {"weight": torch.tensor([[1.0, 1.0, 1.0, 0.0]])}
    SynapticDampening(alpha=1.0, dampening=3.0).dampen(model, forget, everything)
    assert model.weight.tolist() == [[1.0, 2.0, 2.25, 4.0]]
