"""lacuna.predict: what the model answers, and what is known of its run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lacuna
from lacuna.models.inference import logits
from tests.places import ROOT

SIZES = {"retain": 12, "forget": 6, "test": 8}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 3)
    )


def data(**more) -> lacuna.UnlearningData:
    generator = torch.Generator().manual_seed(1)
    parts = {
        part: (torch.rand(n, 1, 4, 4, generator=generator), torch.arange(n) % 3) for part, n in (SIZES | more).items()
    }
    return lacuna.UnlearningData.from_tensors(**parts)


@pytest.fixture(scope="module")
def result():
    return lacuna.unlearn("ga", network(), data(), mask=lacuna.Mask.full(network()), epochs=2, batch_size=4, seed=1)


def test_predictions_are_those_in_evaluation_mode_in_the_order_of_the_data():
    model, own = network().train(), data()
    cell = lacuna.predict(model, own)
    assert {name: len(part.labels) for name, part in cell.parts.items()} == SIZES
    model.eval()
    for name, part in cell.parts.items():
        index = own.index(name)
        with torch.no_grad():
            np.testing.assert_allclose(part.logits, model(own.images[index]).numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(part.labels, own.labels[index].numpy())
        np.testing.assert_array_equal(part.index, index.numpy())
    model.train()
    assert lacuna.predict(model, own)["test"].logits.tobytes() == cell["test"].logits.tobytes()
    assert model.training and model[1].num_batches_tracked == 0


def test_the_values_are_those_of_cells_by_hand(result):
    own = data()
    by_hand = lacuna.Cell.of(**{part: (logits(result.model, own, part), own.labels[own.index(part)]) for part in SIZES})
    names = ["UA", "RA", "TA", "MIA_auc", "KL_forget"]
    values = lacuna.evaluate(lacuna.predict(result, own), {"retrain": by_hand}, metrics=names)
    assert values == lacuna.evaluate(by_hand, {"retrain": by_hand}, metrics=names)


def test_what_is_known_of_the_run_comes_along(result):
    cell, oracle = lacuna.predict(result, data()), lacuna.predict(network(), data(), mask=lacuna.Mask.full(network()))
    names = ["time_s", "samples", "forwards", "backwards", "parameters", "macs", "sparsity", "mask_iou"]
    values = lacuna.evaluate(cell, {"o": oracle}, metrics=[*names, "parameter_distance"])
    fit = result.fit
    assert values["time_s"] == fit.seconds and values["samples"] == fit.samples == 12
    assert (values["forwards"], values["backwards"]) == (fit.forwards, fit.backwards)
    assert values["parameters"] == sum(p.numel() for p in result.model.parameters())
    assert values["macs"] == 4 * 2 * 2 * 9 + 16 * 3
    assert (values["sparsity"], values["mask_iou/o"]) == (0.0, 1.0)
    start = dict(network().named_parameters())
    moved = sum(float((p - start[name]).detach().square().sum()) for name, p in result.model.named_parameters())
    assert values["parameter_distance/o"] == pytest.approx(moved**0.5, rel=1e-4)
    assert cell.extra["job"]["device"] == "cpu"
    # of a network alone the seconds are not known, and a metric says so
    assert "time_s" in lacuna.evaluate(oracle, metrics=["time_s", "samples"]).absent


def test_a_mask_of_ones_own_and_the_network_that_ran_count(result):
    own = lacuna.Mask({"0.weight": result.model[0].weight != result.model[0].weight.min()})
    with torch.no_grad():
        model = network()
        model[0].weight.mul_(own["0.weight"])
    of = replace(result, model=model, fit=replace(result.fit, network=network()[:1]))
    cell = lacuna.predict(of, data(), mask=own)
    assert [bits.sum() for bits in cell.mask.values()] == [35]
    assert cell.extra["job"]["network"]["parameters"] == 40, "filters may have been taken out where it ran"


def test_a_part_without_samples_is_left_out():
    own = data()
    own = replace(own, parts={**own.parts, "test": own.parts["test"][:0]})
    assert list(lacuna.predict(network(), own).parts) == ["retain", "forget"]


def test_the_cell_is_a_copy(result):
    model = network()
    cell = lacuna.predict(model, data())
    before = cell.extra["weights"]["0.weight"].copy()
    with torch.no_grad():
        model[0].weight.zero_()
    np.testing.assert_array_equal(cell.extra["weights"]["0.weight"], before)


def test_parts_are_chosen_and_others_are_left_out():
    own = data(mine=4)
    assert list(lacuna.predict(network(), own).parts) == ["retain", "forget", "test"]
    assert list(lacuna.predict(network(), own, parts=["test"]).parts) == ["test"]
    assert list(lacuna.predict(network(), own, parts="forget").parts) == ["forget"]


class Silent(nn.Module):
    def forward(self, x):
        return x


def violated() -> lacuna.Mask:
    return lacuna.Mask({"0.weight": torch.zeros(4, 1, 3, 3)})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lacuna.predict("a", data()), r"^predict: a str is not allowed; allowed: a torch.nn.Module, or what"),
        (lambda: lacuna.predict(network(), [1]), r"^predict: data is a list; allowed: lacuna.UnlearningData$"),
        (
            lambda: lacuna.predict(network(), data(), mask={}),
            r"^predict: mask is a dict; allowed: a lacuna.Mask",
        ),
        (
            lambda: lacuna.predict(network(), data(), mask=violated()),
            r"mask violated: '0.weight' has 36 masked",
        ),
        (lambda: lacuna.predict(network()[:1], data()), r"^model: its answer to one image is shape"),
        (
            lambda: lacuna.predict(nn.Conv2d(3, 1, 1), data()),
            r"^model: it has no answer for images of shape",
        ),
        (lambda: lacuna.predict(Silent(), data()), r"^predict: Silent has no parameters"),
        (
            lambda: lacuna.predict(network(), data(), parts=["val"]),
            r"^predict: no part 'val' in the data",
        ),
        (lambda: lacuna.predict(network()[:-1].append(nn.Linear(16, 2)), data()), r"^data: label 2 is out of range"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(call, said):
    with pytest.raises(lacuna.LacunaError, match=said):
        call()


def test_what_the_readme_shows_works():
    """Its lines on a user's own model and tensors, as they stand there."""
    block = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("```python\nimport lacuna\n")[2].partition("```")[0]
    )
    names = {"lacuna": lacuna, "model": network()}
    for part, n in (("r", 40), ("f", 12), ("t", 20)):
        names |= {f"x_{part}": torch.rand(n, 1, 4, 4), f"y_{part}": torch.arange(n) % 3}
    exec(block, names)
    values = names["values"]
    assert {
        "UA",
        "RA",
        "TA",
        "MIA",
        "avg_gap/retrain",
        "KL_forget/retrain",
        "mask_iou/retrain",
        "speedup/retrain",
    } <= set(values)
    assert values["sparsity"] == pytest.approx(0.9, abs=0.02)
    assert values.absent["ZRF"].startswith("the predictions of a network that learnt nothing are not known")
