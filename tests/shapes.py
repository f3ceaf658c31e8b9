"""Networks whose channels are shared in ways that ResNets do not know, for images of one channel and three classes."""

import torch
from torch import nn
from torch.nn import functional as F


def block(i, o, groups=1):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, groups=groups, bias=False), nn.BatchNorm2d(o), nn.ReLU())


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def chain(*layers, width):
    return nn.Sequential(*layers, Mean(), nn.Linear(width, 3))


class Squeeze(nn.Module):
    """Squeeze and excitation by Linear layers."""

    def __init__(self, width):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width), nn.Sigmoid())

    def forward(self, x):
        return x * self.gate(x.mean((2, 3)))[:, :, None, None]


class Padded(nn.Module):
    """A shortcut without weights: half of the images' rows and columns, four channels of zeros on either side."""

    def __init__(self):
        super().__init__()
        self.a, self.b = block(1, 8), nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = self.a(x)
        return self.head(F.relu(self.b(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))).mean((2, 3)))


class Gate(nn.Module):
    """A gate of one channel over all places."""

    def __init__(self):
        super().__init__()
        self.a, self.gate, self.b, self.head = block(1, 8), nn.Conv2d(8, 1, 1), block(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = self.a(x)
        return self.head(self.b(x * self.gate(x).sigmoid()).mean((2, 3)))


class Halves(nn.Module):
    """A stream that is cut in two: one half is mapped on, both are joined again."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.head = block(1, 12), block(6, 6), block(12, 8), nn.Linear(8, 3)

    def forward(self, x):
        left, right = self.a(x).chunk(2, 1)
        return self.head(self.c(torch.cat([left, self.b(right)], 1)).mean((2, 3)))


class Slices(nn.Module):
    """The first channels of a layer are added to another's."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.head = block(1, 12), block(12, 8), block(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.a(x)
        return self.head(self.c(self.b(x) + x[:, :8]).mean((2, 3)))


class Dense(nn.Module):
    """Layers that read all before them, normed before each: DenseNet."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8 + 4 * i), nn.ReLU(), nn.Conv2d(8 + 4 * i, 4, 3, padding=1)) for i in range(3)
        )
        self.norm, self.head = nn.BatchNorm2d(20), nn.Linear(20, 3)

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(self.norm(x).relu().mean((2, 3)))


class Written(nn.Module):
    """The last convolution writes the outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = block(1, 8), nn.Conv2d(8, 3, 1), nn.Linear(3, 3)

    def forward(self, x):
        return self.b(self.a(x)).mean((2, 3)) + 0 * self.head(x.new_zeros(len(x), 3))


def prelu():
    return chain(nn.Conv2d(1, 8, 3, padding=1), nn.PReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.PReLU(), width=8)


def squeeze():
    return chain(block(1, 8), Squeeze(8), block(8, 8), Squeeze(8), block(8, 16), Squeeze(16), width=16)


def grouped():
    return chain(block(1, 16), block(16, 16, 4), block(16, 16), width=16)


def depthwise():
    return chain(block(1, 8), block(8, 8, 8), block(8, 16), width=16)


REACHED = [prelu, squeeze, grouped, depthwise, Padded, Gate, Halves, Slices, Dense]
