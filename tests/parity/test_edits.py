"""Saliency unlearning against the reference code: the saliency, its masks, and a masked run step for step."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lacuna.gradients.whole import mean_gradient
from lacuna.training.state import LoopState
from lacuna.unlearning import base
from lacuna.unlearning.methods.salun import SalUn

DTYPES = {"f64": torch.float64, "f32": torch.float32}
TOLERANCE = {"f64": {"rtol": 0, "atol": 1e-9}, "f32": {"rtol": 1e-4, "atol": 5e-6}}


def test_saliency_is_the_gradient_over_the_whole_forget_set(reference):
    file = reference("06_salun")
    found = mean_gradient(file.model(torch.float64), file.data(torch.float64), "forget", file.hp.batch_size)
    published = file.under("saliency/published_full_gradient")
    coded = file.under("saliency/reference_sum_of_batch_means")
    assert set(found) == set(published)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient.abs(), published[name], rtol=1e-8, atol=1e-12, err_msg=name)
    # in the coded one the short last batch weighs as much as a whole one: no multiple of the published saliency
    flat, other = (np.concatenate([v[n].ravel() for n in published]) for v in (published, coded))
    assert np.corrcoef(flat, other)[0, 1] < 0.999


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("share", [0.10, 0.30, 0.50])
def test_movable_entries_are_those_of_the_published_mask(reference, share, precision):
    file, dtype = reference("06_salun"), DTYPES[precision]
    method = SalUn(share=share, batch_size=file.hp.batch_size)
    found = method.movable(
        file.model(dtype), file.data(dtype), LoopState(seed=0, device=torch.device("cpu"), classes=4)
    )
    expected = file.under(f"mask_published/{share:.2f}")
    assert set(found) == set(expected)
    for name, movable in found.items():
        np.testing.assert_array_equal(movable.numpy(), expected[name].astype(bool), err_msg=name)


@pytest.mark.parametrize("precision", DTYPES)
def test_masked_run_ends_where_the_reference_ends(reference, precision):
    """With the reference's mask and labels, and its order: all forget batches, then all retain batches."""
    file, dtype = reference("06_salun"), DTYPES[precision]
    given = file.under("mask_reference/0.50")
    labels = torch.zeros(2, len(file["y"]), dtype=torch.int64)
    labels[:, file["idx_forget"]] = torch.from_numpy(file["rl/random_labels"])
    losses = []

    @dataclass(frozen=True, kw_only=True)
    class Fixed(SalUn):
        name = "salun"

        def loss(self, model, retain, forget, epoch):
            loss = (
                cross_entropy(model(forget.x), labels[epoch][forget.index])
                if retain is None
                else cross_entropy(model(retain.x), retain.y)
            )
            losses.append(loss.item())
            return loss

        def movable(self, model, data, work):
            return {name: torch.from_numpy(mask.astype(bool)) for name, mask in given.items()}

    start = file.model(dtype)
    outcome = base.run(
        Fixed,
        start,
        file.data(dtype),
        lr=file.hp.rl_lr,
        epochs=file.hp.rl_epochs,
        batch_size=file.hp.batch_size,
        order="passes",
        momentum=0.9,
        weight_decay=5e-4,
    )
    expected = file.under(f"rl/{precision}/param") | file.under(f"rl/{precision}/buffer")
    found, initial = outcome.model.state_dict(), start.state_dict()
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, **TOLERANCE[precision], err_msg=name)
    for name, mask in given.items():
        outside = torch.from_numpy(mask == 0)
        assert torch.equal(found[name][outside], initial[name][outside]), f"{name} moved outside the mask"
    np.testing.assert_allclose(
        losses, file[f"rl/{precision}/ce_per_step"], rtol=0, atol=1e-9 if precision == "f64" else 1e-5
    )
