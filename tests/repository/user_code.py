"""A user's program with the eight names of `lacuna`: `make lint` checks its types, test_public_face.py runs it."""

from typing import assert_type

import torch
from torch import Tensor, nn

import lacuna
from lacuna.unlearning.base import Unlearned


def forget(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    data: lacuna.UnlearningData = lacuna.UnlearningData.from_tensors(retain=(x[:8], y[:8]), forget=(x[8:], y[8:]))
    mask = assert_type(lacuna.Mask.full(model), lacuna.Mask)
    result = assert_type(lacuna.unlearn("ga", model, data, mask=mask, batch_size=4, epochs=1, seed=1), Unlearned)
    logits: Tensor = result.model(x).detach()
    own = assert_type(lacuna.Cell.of(retain=(logits[:8], y[:8]), forget=(logits[8:], y[8:])), lacuna.Cell)
    sparse, kept = lacuna.prune(model, 0.5, data=data, pruner="snip")
    assert_type((sparse, kept), tuple[nn.Module, lacuna.Mask])
    cell = assert_type(lacuna.predict(result, data), lacuna.Cell)
    assert own["forget"].accuracy == cell["forget"].accuracy
    return lacuna.evaluate(cell, {"retrain": cell}, metrics=["UA", "KL_forget"])


def refused() -> str:
    try:
        lacuna.unlearn("no such method", nn.Linear(1, 1), lacuna.UnlearningData.from_tensors())
    except lacuna.LacunaError as error:
        return str(error)
    return lacuna.forget("a name that there is not")  # type: ignore[attr-defined, no-any-return]


if __name__ == "__main__":
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    print(forget(network, torch.rand(12, 1, 4, 4), torch.tensor([0, 1] * 6)), refused())
