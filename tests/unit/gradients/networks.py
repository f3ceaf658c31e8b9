"""Networks of every kind of layer, those that are derived by hand and others; and the gradients of a loop."""

import numpy as np
import torch
from tiny import data, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from lacuna.fields import build
from lacuna.gradients.whole import trained
from lacuna.models import MODELS
from lacuna.models.inference import copy_of

SOURCE = data()


def close(found, expected, rtol=1e-9, atol=1e-14, msg=""):
    found, expected = (t.detach().numpy() for t in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=msg)


def looped(model, source, index, loss=None):
    """The gradient of each sample by one backward pass each, by parameter: [n, *shape]."""
    loss = loss or (lambda logits, y: cross_entropy(logits, y))
    model, rows = copy_of(model).eval(), []
    x = source.normalised(source.images[index], next(model.parameters()).dtype)
    for i, y in enumerate(source.labels[index]):
        model.zero_grad()
        loss(model(x[i : i + 1]), y[None]).backward()
        rows.append({name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in trained(model).items()})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


class Twice(nn.Module):
    """One layer, applied twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(36, 3)

    def forward(self, x):
        return self.fc(self.conv(torch.tanh(self.conv(x))).flatten(1))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.fc(self.b(torch.tanh(self.a(x.flatten(1)))))


class Borrowed(nn.Module):
    """A weight that is used outside its layer too."""

    def __init__(self):
        super().__init__()
        self.a, self.fc = nn.Linear(36, 36), nn.Linear(36, 3)

    def forward(self, x):
        return self.fc(torch.tanh(self.a(x.flatten(1))) @ self.a.weight)


class Folded(nn.Module):
    """A layer whose first axis holds more than samples."""

    def __init__(self):
        super().__init__()
        self.a, self.fc = nn.Linear(6, 4), nn.Linear(24, 3)

    def forward(self, x):
        return self.fc(torch.tanh(self.a(x.flatten(0, 2))).view(len(x), -1))


class Bare(nn.Module):
    """A parameter in no layer, and one that is never used."""

    def __init__(self):
        super().__init__()
        self.scale, self.idle, self.fc = nn.Parameter(torch.rand(36)), nn.Parameter(torch.rand(2)), nn.Linear(36, 3)

    def forward(self, x):
        return self.fc(x.flatten(1) * self.scale)


class Doubling(nn.Linear):
    """Not what its base class computes."""

    def forward(self, x):
        return 2 * super().forward(x)


class Scaled(nn.Module):
    """A parameter without axes."""

    def __init__(self):
        super().__init__()
        self.scale, self.fc = nn.Parameter(torch.ones(())), nn.Linear(36, 3)

    def forward(self, x):
        return self.scale * self.fc(x.flatten(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.fc = nn.LSTM(6, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.rows(x[:, 0])[0][:, -1])


class Cube(torch.autograd.Function):
    """Written as before torch.func was there."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


class Cubed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.fc = nn.Linear(36, 4), nn.Linear(4, 3)
        self.shift = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return self.fc(Cube.apply(self.a(x.flatten(1)) + self.shift))


class Counting(Cubed):
    """A number out of a tensor."""

    def forward(self, x):
        a = self.a(x.flatten(1)) + self.shift
        return self.fc(a if a.sum().item() > 1e9 else a.tanh())


class Checkpointed(Cubed):
    def forward(self, x):
        return self.fc(checkpoint(lambda x: self.a(x.flatten(1)).tanh() + self.shift, x, use_reentrant=False))


def assembled(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


NETWORKS = {
    "tiny": (network, True),
    "resnet8": (lambda: build(MODELS["resnet8"], {"width": 4}).build(3, 1), True),
    "rows further apart than columns": (
        lambda: assembled(nn.Conv2d(1, 4, (2, 3), (1, 2), (1, 2), (3, 2)), nn.BatchNorm2d(4), nn.ReLU()),
        True,
    ),
    "strides, padding and dilation": (
        lambda: assembled(nn.Conv2d(1, 4, (3, 2), (2, 1), (2, 1), (1, 2)), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        True,
    ),
    "batch norm of vectors": (lambda: assembled(nn.Flatten(), nn.Linear(36, 5, bias=False), nn.BatchNorm1d(5)), True),
    "batch norm of sequences": (lambda: assembled(nn.Flatten(2), nn.BatchNorm1d(1), nn.Tanh()), True),
    "batch norm without weights": (lambda: assembled(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)), True),
    "batch norm without statistics": (
        lambda: assembled(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2, affine=True)),
        False,
    ),
    "groups": (lambda: assembled(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3, groups=2), nn.GroupNorm(2, 6)), False),
    "reflecting": (lambda: assembled(nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")), False),
    "same": (lambda: assembled(nn.Conv2d(1, 4, 3, padding="same")), False),
    "sequence": (lambda: assembled(nn.Flatten(1, 2), nn.Linear(6, 4), nn.Tanh()), False),
    "twice": (Twice, False),
    "tied": (Tied, False),
    "borrowed": (Borrowed, False),
    "folded": (Folded, False),
    "bare": (Bare, False),
    "subclass": (lambda: nn.Sequential(nn.Flatten(), Doubling(36, 3)), False),
    "scaled": (Scaled, False),
    "recurrent": (Recurrent, False),
    "custom function": (Cubed, False),
    "number out of a tensor": (Counting, False),
    "checkpoint": (Checkpointed, False),
}

# those that torch.func cannot follow either
SINGLY = ["recurrent", "custom function", "number out of a tensor", "checkpoint"]


def made(name):
    """The network, with statistics and affine parameters that are not the neutral ones, in float64."""
    torch.manual_seed(0)
    model = NETWORKS[name][0]()
    model.double().train()
    for _ in range(3):
        model(torch.randn(30, 1, 6, 6, dtype=torch.float64) * 2 + 1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    return model
