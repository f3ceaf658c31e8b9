"""Small networks and data: big enough to be wrong, small enough to train in milliseconds."""

import dataclasses
import random
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.models.init import reinitialise
from lacuna.sparsity.mask import Mask, prunable
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe

State = dict[str, torch.Tensor]


def network(channels: int = 1, widths: tuple[int, int] = (4, 6), classes: int = 3, seed: int = 0) -> nn.Module:
    """conv-bn-relu twice, global average pool, linear: the network of the parity files, for any sizes."""
    first, second = widths
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, first, 3, 1, 1, bias=False),
            bn1=nn.BatchNorm2d(first),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(first, second, 3, 2, 1, bias=False),
            bn2=nn.BatchNorm2d(second),
            relu2=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(second, classes),
        )
    )
    reinitialise(model, seed)
    return model


def data(retain: int = 40, forget: int = 12, seed: int = 0, classes: int = 3, size: int = 6, **rest) -> UnlearningData:
    """uint8 images whose pattern tells the class, with scattered indices for retain, forget, val and test."""
    rng = np.random.default_rng(seed)
    n = retain + forget + 20
    y = rng.integers(0, classes, n)
    patterns = rng.integers(0, 160, (classes, 1, size, size))
    x = (patterns[y] + rng.integers(0, 96, (n, 1, size, size))).astype(np.uint8)
    order = torch.from_numpy(rng.permutation(n))
    cuts = dict(zip(("retain", "forget", "val", "test"), order.split([retain, forget, 10, 10]), strict=True))
    rest = {"mean": (0.4,), "std": (0.3,)} | rest
    return UnlearningData(torch.from_numpy(x), torch.from_numpy(y), cuts, classes, **rest)


def state(model: nn.Module) -> State:
    """A copy of parameters and buffers."""
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def same(a: State, b: State) -> bool:
    """Equal bit for bit, names included."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Deep(nn.Module):
    """A convolution, a hidden linear layer and a classifier."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.hidden = nn.Linear(4, 30)
        self.classifier = nn.Linear(30, 3)

    def forward(self, x):
        return self.classifier(self.hidden(self.conv(x).mean((2, 3))).relu())


def trained_on(source: UnlearningData) -> nn.Module:
    """The small network in float64, trained on all that is to be retained and forgotten."""
    model = network()
    everything = dataclasses.replace(source, parts={"retain": source.index("mixed")})
    fit(model, Recipe(epochs=4, lr=0.1, batch_size=16, schedule="constant", crop=0, flip=False), everything, seed=0)
    model.zero_grad(set_to_none=True)
    return model.double()


def half(model: nn.Module) -> Mask:
    """The mask that keeps the larger half of the weights."""
    return Mask.from_scores({name: w.detach().abs() for name, w in prunable(model).items()}, "0.5")


def global_streams(seed=None):
    """The states of the global streams, started at a seed if one is given."""
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
