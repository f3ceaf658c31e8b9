"""The plain versions of what lacuna does, as research code for one paper has them: what its speed is told against.

Written for this comparison: images go through Pillow one by one, an evaluation predicts anew for every number that it
wants, and attacks are scikit-learn's SVC with all its settings as they come.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Images(Dataset[tuple[Tensor, int]]):
    """Images [n, 3, 32, 32], uint8, transformed one by one; augmented: cropped with a border of 4, mirrored."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, augmented: bool):
        self.images, self.labels = np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels
        drawn = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()] if augmented else []
        self.transform = transforms.Compose([*drawn, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[i])), int(self.labels[i])


def batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int, augmented: bool
) -> Iterable[tuple[Tensor, Tensor]]:
    return DataLoader(Images(images, labels, augmented), batch_size=batch_size, shuffle=augmented)


def train_epoch(model: nn.Module, images: np.ndarray, labels: np.ndarray, batch_size: int = 128) -> None:
    """One epoch of SGD with momentum, in PyTorch's default layout."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for x, y in batches(images, labels, batch_size, augmented=True):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        loss.item()


@torch.no_grad()
def predictions(model: nn.Module, images: np.ndarray, labels: np.ndarray, batch_size: int = 256) -> Tensor:
    """Softmax probabilities [n, classes]."""
    model.eval()
    return torch.cat([model(x).softmax(1) for x, _ in batches(images, labels, batch_size, augmented=False)])


Part = tuple[np.ndarray, np.ndarray]


def evaluate(model: nn.Module, parts: dict[str, Part]) -> dict[str, float]:
    """Accuracies of all parts and the efficacy of the attack by five features, each after a forward pass of its own.

    parts: images and labels of retain, forget, val and test.
    """
    told = {part: float((predictions(model, x, y).argmax(1).numpy() == y).mean()) for part, (x, y) in parts.items()}
    members, others, target = (
        (predictions(model, *parts[part]).numpy(), parts[part][1]) for part in ("retain", "test", "forget")
    )
    n = min(len(members[0]), len(others[0]))
    for name, feature in FEATURES.items():
        x = np.concatenate([feature(*members)[:n], feature(*others)[:n]])
        attack = SVC(C=3, gamma="auto", kernel="rbf").fit(x, np.repeat([1, 0], n))
        told[name] = 1 - float(attack.predict(feature(*target)).mean())
    return told


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(p * np.log(p + 1e-30)).sum(1)


def _modified_entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    own = p[np.arange(len(p)), y]
    rest = -(p * np.log(1 - p + 1e-30)).sum(1) + own * np.log(1 - own + 1e-30)
    return rest - (1 - own) * np.log(own + 1e-30)


FEATURES = {
    "correctness": lambda p, y: (p.argmax(1) == y)[:, None].astype(float),
    "confidence": lambda p, y: p[np.arange(len(p)), y][:, None],
    "entropy": lambda p, y: _entropy(p)[:, None],
    "modified_entropy": lambda p, y: _modified_entropy(p, y)[:, None],
    "probabilities": lambda p, y: p,
}
