"""SalUn with a soft threshold: the proximal operator."""

from dataclasses import dataclass

import pytest
import torch
from tiny import half, same, state

from lacuna.models.inference import copy_of
from lacuna.unlearning import base, unlearn
from lacuna.unlearning.methods.salun_soft import SoftSalUn
from unit.unlearning.methods.edits import QUICK, SOURCE, close, working


def test_soft_salun_with_a_huge_threshold_returns_the_original(trained):
    outcome = unlearn("salun_soft", trained, SOURCE, penalty=1e6, **QUICK)
    for (name, found), expected in zip(outcome.model.named_parameters(), trained.parameters(), strict=True):
        assert torch.equal(found, expected), name


@pytest.mark.parametrize("nothing", [{"penalty": 0.0}, {"share": 0.0}])
def test_soft_salun_without_threshold_is_random_labels(trained, nothing):
    options = {**QUICK, "order": "mixed"}
    soft, hard = (unlearn(m, trained, SOURCE, **options, **o).model for m, o in (("salun_soft", nothing), ("rl", {})))
    assert same(state(soft), state(hard))


def test_soft_step_is_the_proximal_operator(trained):
    """θ⁺ minimises ½‖z − θ‖² + s‖z − θ_o‖₁: (θ − θ⁺)/s is a subgradient of the norm."""
    method, model = SoftSalUn(penalty=0.4, epochs=4), copy_of(trained)
    work = working(model)
    method.begin(model, SOURCE, work)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape, generator=generator, dtype=torch.float64)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    work.epoch, work.lr = 1, 2.0
    method.after_step(model, {}, work)
    threshold = 2.0 * 0.4 * (1 - 1 / 4)
    for (name, p), origin in zip(model.named_parameters(), trained.parameters(), strict=True):
        subgradient = (before[name] - p.detach()) / threshold
        assert subgradient.abs().max() <= 1 + 1e-12
        back = p == origin
        assert torch.equal(back, (before[name] - origin).abs() <= threshold)
        close(subgradient[~back], (p - origin)[~back].sign(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_soft_salun_puts_back_its_share_which_falls_linearly(trained, sparse):
    mask = half(trained) if sparse else None
    masked = int(sum((~mask[name]).sum() for name in mask)) if sparse else 0
    exists = sum(p.numel() for p in trained.parameters()) - masked
    returned = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(SoftSalUn):
        def after_step(self, model, batches, work):
            super().after_step(model, batches, work)
            back = sum(int((p == work.memory["anchors"][n]).sum()) for n, p in model.named_parameters())
            returned.append(back - masked)

    base.run(Watched, trained, SOURCE, mask=mask, share=0.6, epochs=3, batch_size=26, lr=0.05)
    assert len(returned) == 6
    expected = [int(0.6 * (1 - epoch / 3) * exists) for epoch in (0, 0, 1, 1, 2, 2)]
    assert returned == expected
