"""The implicit weight by the next batch."""

import pytest
import torch

from lacuna.training.state import LoopState
from unit.unlearning.methods.surgery import method


def test_fast_variant_looks_past_a_batch_without_retain_samples():
    unlearner = method("eupmu_fast", beta=0.1, weight_init=1.0)
    work = LoopState(0, torch.device("cpu"), 3)
    work.tensors["lambda"] = torch.tensor(1.0)
    weights = []
    for loss, here, work.lr in ((0.0, False, 0.3), (0.5, True, 0.1), (0.0, False, 0.3), (0.9, True, 0.2)):
        work.memory["forgotten"] = torch.tensor([True, not here])
        unlearner.weighted(torch.tensor(1.0), torch.tensor(loss), work)
        weights.append(float(work.tensors["lambda"]))
    # the difference is over two steps, of 0.1 and 0.3
    assert weights == pytest.approx([1.0, 1.0, 1.0, 1.0 + 0.1 * 0.4 / 0.4])


def test_fast_variant_compares_with_the_next_batch():
    unlearner = method("eupmu_fast", beta=0.1, weight_init=1.0)
    work = LoopState(0, torch.device("cpu"), 3)
    work.tensors["lambda"] = torch.tensor(1.0)
    work.memory["forgotten"] = torch.tensor([True, False])
    retain = [0.5, 0.6, 0.3]
    weights = []
    for loss, work.lr in zip(retain, (0.1, 0.2, 0.4), strict=True):
        unlearner.weighted(torch.tensor(1.0), torch.tensor(loss), work)
        weights.append(float(work.tensors["lambda"]))
    # the lr is that of the step between both looks
    assert weights == pytest.approx([1.0, 1.0 + 0.1 * 0.1 / 0.1, 1.1 - 0.1 * 0.3 / 0.2])
