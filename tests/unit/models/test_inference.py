"""What a network answers, in evaluation mode and in the stored order; copies share nothing."""

import random

import numpy as np
import pytest
import torch
from tiny import data, global_streams, network, same, state, trained_on
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.models.inference import accuracy, answers_finite, copy_of, logits, prediction_batch

SOURCE = data()


def test_logits_are_in_evaluation_mode_and_stored_order():
    model = trained_on(SOURCE).float()
    model.train()
    model.bn1.eval()
    before, modes = state(model), [m.training for m in model.modules()]
    found = logits(model, SOURCE, "test", batch_size=3)
    assert same(state(model), before), "batch norm statistics included"
    assert [m.training for m in model.modules()] == modes
    model.eval()
    images = SOURCE.images[SOURCE.parts["test"]]
    with torch.no_grad():
        expected = model(SOURCE.normalised(images, torch.float32))
    torch.testing.assert_close(found, expected)
    assert (found.dtype, found.requires_grad) == (torch.float32, False)
    hits = (expected.argmax(1) == SOURCE.labels[SOURCE.parts["test"]]).sum().item()
    assert accuracy(model, SOURCE, "test") == pytest.approx(10.0 * hits)


def test_logits_of_a_network_that_draws_in_evaluation_are_the_same_at_every_call():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            x = nn.functional.dropout(x, 0.5) * random.random()
            return self.net(x * np.random.rand())  # noqa: NPY002

    model = Noisy()
    found = []
    for seed in (1, 2):
        before = global_streams(seed)
        found.append(logits(model, SOURCE, "test"))
        assert global_streams() == before
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("shape", "expected"), [((3, 32, 32), 64), ((1, 8, 8), 256), ((3, 64, 64), 16), ((3, 224, 224), 16)]
)
def test_a_cpu_predicts_in_batches_that_its_caches_hold(shape, expected):
    assert (
        prediction_batch(UnlearningData.from_tensors(retain=(torch.rand(2, *shape), torch.tensor([0, 1])))) == expected
    )


def test_a_gpu_predicts_in_large_batches(monkeypatch):
    monkeypatch.setattr(UnlearningData, "device", torch.device("cuda"))
    assert prediction_batch(SOURCE) == 1000


def test_logits_do_not_depend_on_the_batches():
    model, x = network(), torch.rand(700, 1, 6, 6)
    many = UnlearningData.from_tensors(retain=(x, torch.arange(700) % 3))
    torch.testing.assert_close(logits(model, many, "retain"), logits(model, many, "retain", 700), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "images"), [(32, 16), (8, 40)])
def test_the_check_for_finite_answers_predicts_one_batch_of_each_part(size, images):
    """A training of few steps would spend more on it than on a step."""
    model, x, seen = network(channels=4), torch.rand(40, 4, 4 * size, size), []
    parts = {"retain": (x, torch.arange(40) % 3), "forget": (x[:5], torch.arange(5) % 3)}
    model.register_forward_hook(lambda model, inputs, output: seen.append(len(output)))
    assert answers_finite(model, UnlearningData.from_tensors(**parts))
    assert seen == [images, 5]
    with torch.no_grad():
        model.fc.bias[0] = torch.inf
    assert not answers_finite(model, UnlearningData.from_tensors(**parts))


def test_copy_shares_nothing():
    model = network()
    other = copy_of(model)
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.add_(1)
    assert same(state(model), state(network()))
