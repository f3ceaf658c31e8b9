"""SalUn: nothing outside the saliency mask moves."""

from dataclasses import dataclass

import pytest
import torch
from tiny import half, same, state

from lacuna.gradients.whole import lowest, mean_gradient
from lacuna.models.inference import copy_of
from lacuna.sparsity.mask import Mask
from lacuna.unlearning import base, unlearn
from lacuna.unlearning.methods.salun import SalUn
from unit.unlearning.methods.edits import QUICK, SOURCE


def test_lowest_counts_what_exists_and_takes_the_first_of_equals():
    scores = {"a": torch.tensor([[3.0, 1.0], [1.0, 0.0]]), "b": torch.tensor([1.0, 2.0])}
    found = lowest(scores, 0.5)
    assert found["a"].tolist() == [[False, True], [True, True]]
    assert found["b"].tolist() == [False, False]
    masked = lowest(scores, 0.5, Mask({"a": torch.tensor([[1, 1], [0, 0]])}))
    assert masked["a"].tolist() == [[False, True], [False, False]]
    assert masked["b"].tolist() == [True, False]
    tied = lowest({"a": torch.zeros(5000), "b": torch.zeros(5000)}, 0.6)
    assert torch.cat(list(tied.values())).tolist() == [True] * 6000 + [False] * 4000
    hundred = {"a": torch.arange(100.0)}
    assert [int(lowest(hundred, share)["a"].sum()) for share in (0.29, 0.57, 0.58)] == [29, 57, 58]


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
@pytest.mark.parametrize("sparse", [False, True])
def test_salun_moves_nothing_outside_its_mask(trained, sparse, batchnorm):
    """Bit for bit, after three epochs with momentum and weight decay."""
    mask = half(trained) if sparse else None
    options = {"epochs": 3, "momentum": 0.9, "weight_decay": 0.1, "lr": 0.1, "batch_size": 16, "batchnorm": batchnorm}
    outcome = unlearn("salun", trained, SOURCE, mask=mask, share=0.3, **options)
    start = copy_of(trained)
    if mask is not None:
        mask.apply(start)
    before, after = state(start), state(outcome.model)
    gradient = mean_gradient(start, SOURCE, "forget", 100)
    kept = {
        n: mask[n] if mask is not None and n in mask else torch.ones_like(g, dtype=torch.bool)
        for n, g in gradient.items()
    }
    saliency, exists, moved = (
        torch.cat([t.flatten() for t in values])
        for values in (
            [g.abs() for g in gradient.values()],
            kept.values(),
            [after[name] != before[name] for name in gradient],
        )
    )
    count = 3 * int(exists.sum()) // 10
    threshold = saliency[exists].sort(descending=True).values[count - 1]
    salient = exists & (saliency >= threshold)
    assert int(salient.sum()) == count
    assert torch.equal(moved, salient), "what is salient moves, nothing else does"
    assert any((after[name] != before[name]).any() for name in ("bn1.weight", "bn2.bias", "fc.weight"))
    for name in ("bn1.running_mean", "bn2.running_var", "bn1.num_batches_tracked"):
        assert torch.equal(after[name], before[name]) == (batchnorm == "frozen")


def test_salun_with_all_weights_salient_would_be_random_labels(trained):
    @dataclass(frozen=True, kw_only=True)
    class Everywhere(SalUn):
        def movable(self, model, data, work):
            return {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}

    options = QUICK | {"seed": 4}
    assert same(
        state(base.run(Everywhere, trained, SOURCE, **options).model),
        state(unlearn("rl", trained, SOURCE, **options).model),
    )
