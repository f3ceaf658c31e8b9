"""Fine-tuning and ascent with an ℓ1 penalty, and the threshold at their end."""

import copy
from fractions import Fraction

import pytest
import torch
from tiny import data
from torch.nn.functional import cross_entropy

from lacuna import unlearn
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.sparsity.mask import prunable
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS
from unit.unlearning.methods.classic import QUICK, close, gradients, magnitude_mask, one_step, trained, whole


def test_l1_sparse_ga_steps_along_ascent_plus_sign():
    model, given = trained(dtype=torch.float64).double(), data()
    mask = magnitude_mask(model)
    mask.apply(model)
    x, y = whole(given, "forget")
    ascent = gradients(model, -cross_entropy(model(x), y))
    kept = dict(mask.pairs(model))
    for on in ("all", "weights"):
        found = one_step("l1_sparse_ga", model, given, penalty=0.3, l1_on=on, mask=mask)
        for p, g, f in zip(model.parameters(), ascent, found, strict=True):
            penalty = 0.3 * p.detach().sign() if on == "all" or p.dim() > 1 else 0.0
            close([f], [(g + penalty) * kept.get(p, torch.ones_like(p))])


@pytest.mark.parametrize("method", ["l1_sparse", "l1_sparse_ga"])
@pytest.mark.parametrize("masked", [True, False])
def test_threshold_reaches_the_sparsity_to_one_weight(method, masked, original):
    mask = magnitude_mask(original, "0.3") if masked else None
    plain = unlearn(method, original, data(), mask=mask, **QUICK)
    total = sum(w.numel() for w in prunable(original).values())
    for s in (0.3, 0.5, 0.77):
        pruned = unlearn(method, original, data(), mask=mask, threshold_to=s, **QUICK)
        removed = sum(int((~pruned.mask[name]).sum()) for name in pruned.mask)
        assert removed == round(Fraction(str(s)) * total)
        kept, gone = [], []
        for name in pruned.mask:
            before, after = plain.model.state_dict()[name], pruned.model.state_dict()[name]
            assert not after[~pruned.mask[name]].any()
            assert torch.equal(after[pruned.mask[name]], before[pruned.mask[name]]), "a survivor changed"
            kept.append(before[pruned.mask[name]].abs())
            gone.append(before[~pruned.mask[name]].abs())
            assert mask is None or not (pruned.mask[name] & ~mask[name]).any(), "a removed weight is back"
        assert torch.cat(kept).min() >= torch.cat(gone).max(), "not the smallest weights of all layers together"
        if masked and s == 0.3:
            assert pruned.mask == mask


def test_threshold_below_the_mask_is_refused_before_training(original):
    mask = magnitude_mask(original, "0.6")
    with pytest.raises(LacunaError, match=r"^l1_sparse\.threshold_to: 0\.5 .* sparsity 0\.5992.*allowed"):
        unlearn("l1_sparse", original, data(), mask=mask, threshold_to=0.5, **QUICK)
    with pytest.raises(LacunaError, match="threshold_to"):
        unlearn("l1_sparse", original, data(), threshold_to=1.0)


def test_a_kept_weight_that_is_zero_goes_after_the_removed_ones(original):
    model = copy.deepcopy(original)
    mask = magnitude_mask(model, "0.3")
    with torch.no_grad():
        for name, weight in prunable(model).items():
            weight.mul_(mask[name]).view(-1)[:5] = 0.0
    method = build(UNLEARNERS["l1_sparse"], {"threshold_to": 0.32})
    work = LoopState(0, torch.device("cpu"), 3, mask)
    method.finish(model, data(), work)
    assert not any((work.mask[name] & ~mask[name]).any() for name in mask)


def test_realised_sparsity_counts_weights_near_zero(original):
    model = copy.deepcopy(original)
    weights = prunable(model)
    with torch.no_grad():
        for w in weights.values():
            w.fill_(1.0).view(-1)[:3] = torch.tensor([9.9e-5, -9.9e-5, 1.1e-4])
    work = LoopState(0, torch.device("cpu"), 3)
    build(UNLEARNERS["l1_sparse"], {}).finish(model, data(), work)
    assert work.facts["realised_sparsity"] == pytest.approx(2 * len(weights) / sum(w.numel() for w in weights.values()))
    assert work.mask is None
    assert "realised_sparsity" in unlearn("l1_sparse", original, data(), **QUICK).fit.facts
