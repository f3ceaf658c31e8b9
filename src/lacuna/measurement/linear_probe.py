"""Transfer: what the features of an unlearned model are worth elsewhere, by a linear probe on another dataset."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lacuna.errors import LacunaError
from lacuna.fields import Bound, Count, Positive
from lacuna.models.anatomy import classifier
from lacuna.models.modes import evaluating

# ITU-R BT.601: how bright red, green and blue look
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Probing:
    """Multinomial logistic regression on frozen features: min ℓ(W z + b) + ½ l2 ‖W‖², all samples at once (L-BFGS).

    z: the features, centred and divided by one number, the root of their mean variance, both of the training part:
    so a strength means the same for every network, and no dead feature is blown up.
    l2: the strengths that are tried, > 0; the validation split of the target chooses, of equals the strongest.
    tolerance: the largest derivative at which a fit ends, in nats per unit of a weight.
    iterations: the most of one fit.
    batch_size: images that go through the network at once; decides speed alone.
    """

    l2: Annotated[tuple[Positive, ...], Bound("minItems", 1), Bound("uniqueItems", True)] = (
        1.0,
        1e-1,
        1e-2,
        1e-3,
        1e-4,
        1e-5,
    )
    tolerance: Positive = 1e-6
    iterations: Count = 2000
    batch_size: Count = 500


@dataclass(frozen=True)
class Source:
    """What a network's own images were: shape (channels, height, width); mean and std per channel, of [0, 1]."""

    shape: Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]

    def seen(self, x: Tensor) -> Tensor:
        """Foreign images uint8 [n, 1 or 3, h, w] as this network's own: float32 [n, *shape], normalised.

        Colour becomes grey by its luminance, grey is repeated; resized bilinearly with antialiasing (the sides one by
        one, so the aspect ratio may change); the statistics are the source's. Raises LacunaError for other channels.
        """
        channels, height, width = self.shape
        x = x.float() / 255
        if x.shape[1] == 3 and channels == 1:
            x = (x * torch.tensor(_LUMA, device=x.device).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
        elif x.shape[1] == 1:
            x = x.expand(-1, channels, -1, -1)
        elif x.shape[1] != channels:
            raise LacunaError(
                f"a network for {channels} channels cannot take images with {x.shape[1]}; "
                f"allowed: {channels}, 1, or 3 for a network for 1"
            )
        if x.shape[2:] != (height, width):
            x = interpolate(x, (height, width), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(v, device=x.device).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def features(model: nn.Module, batches: Iterator[Tensor]) -> Tensor:
    """What the classifier (the last Linear) of a network reads, float32 [n, features], in evaluation mode.

    Raises LacunaError if the network is more than its classifier on these: if they do not give its logits.
    """
    name, head = classifier(model)
    seen: list[tuple[Tensor, Tensor]] = []
    hook = head.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    gathered: list[Tensor] = []
    try:
        with evaluating(model):
            for x in batches:
                seen.clear()
                logits = model(x)
                if len(seen) != 1 or seen[0][0].ndim != 2 or not torch.equal(seen[0][1], logits):
                    raise LacunaError(
                        f"{type(model).__name__}: its logits are not what its last Linear '{name}' gives; "
                        "allowed for a probe: a network that ends with its classifier"
                    )
                gathered.append(seen[0][0].float())
    finally:
        hook.remove()
    return torch.cat(gathered)


@dataclass(frozen=True)
class Fitted:
    """A probe. weight: [classes, features]; bias: [classes]; derivative: the largest one left; both of scaled ones."""

    weight: Tensor
    bias: Tensor
    derivative: float

    def accuracy(self, z: Tensor, y: Tensor) -> float:
        """In percent; ties go to the first class."""
        return 100.0 * float(((z @ self.weight.T + self.bias).argmax(1) == y).double().mean())


def fit_probe(
    z: Tensor, y: Tensor, classes: int, l2: float, how: Probing | None = None, start: Fitted | None = None
) -> Fitted:
    """Minimise mean cross-entropy + ½ l2 ‖W‖² over W and b (the bias is free).

    z: float64 [n, features]; y: int64 [n] in 0..classes-1. start: a probe to begin from; 0 if there is none.
    """
    how = how or Probing()
    n, d = z.shape
    rows = torch.arange(n, device=z.device)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = torch.from_numpy(flat).to(z.device).reshape(classes, d + 1)
        w, b = weight[:, :d], weight[:, d]
        log_p = (z @ w.T + b).log_softmax(1)
        value = -log_p[rows, y].mean() + l2 / 2 * w.square().sum()
        slope = log_p.exp()
        slope[rows, y] -= 1
        slope /= n
        gradient = torch.cat([slope.T @ z + l2 * w, slope.sum(0)[:, None]], 1)
        return float(value), gradient.reshape(-1).cpu().numpy()

    first = np.zeros(classes * (d + 1))
    if start is not None:
        first = torch.cat([start.weight, start.bias[:, None]], 1).reshape(-1).cpu().numpy()
    # ftol 0: the derivative alone decides when it is enough
    options = {"gtol": how.tolerance, "ftol": 0.0, "maxiter": how.iterations, "maxfun": 2 * how.iterations}
    solution = minimize(loss, first, jac=True, method="L-BFGS-B", options=options | {"maxcor": 20})
    weight = torch.from_numpy(solution.x).to(z.device).reshape(classes, d + 1)
    return Fitted(weight[:, :d].contiguous(), weight[:, d].contiguous(), float(np.abs(solution.jac).max()))


def probe(by_part: Mapping[str, Tensor], labels: Mapping[str, Tensor], classes: int, how: Probing) -> dict[str, Any]:
    """Fit a probe on the features of `train` at each strength, choose on `val`, and score that one on `test`.

    by_part: float [n, features] by part; labels: int64 [n] by part. Returns `accuracy` on test and `val_accuracy` of
    each strength in percent, the chosen `l2`, and the largest `derivative` left by any fit.
    """
    center = by_part["train"].double().mean(0)
    scale = float((by_part["train"].double() - center).square().mean().sqrt()) or 1.0
    z = {part: (x.double() - center) / scale for part, x in by_part.items()}
    fits: dict[float, Fitted] = {}
    last = None
    for l2 in sorted(how.l2, reverse=True):
        fits[l2] = last = fit_probe(z["train"], labels["train"], classes, l2, how, last)
    on_val = {l2: fitted.accuracy(z["val"], labels["val"]) for l2, fitted in fits.items()}
    # the first of equals
    chosen = max(on_val, key=lambda l2: on_val[l2])
    return {
        "accuracy": fits[chosen].accuracy(z["test"], labels["test"]),
        "val_accuracy": {repr(l2): value for l2, value in on_val.items()},
        "l2": chosen,
        "derivative": max(fitted.derivative for fitted in fits.values()),
    }


def transfer(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    parts: Mapping[str, np.ndarray],
    *,
    source: Source,
    classes: int,
    how: Probing | None = None,
) -> dict[str, Any]:
    """Freeze `model` (nothing of it changes) and learn another dataset from its features.

    images: uint8 [n, 1 or 3, height, width] of the target; labels: int [n] in 0..classes-1; parts: index arrays
    `train`, `val` and `test`. source: of the network's own images. Returns what `probe` does, with the number of
    `features`, and the seconds that they (`feature_seconds`) and the fits of all strengths (`probe_seconds`) took.

    Raises LacunaError for a network that does not end with its classifier, or images that it cannot take.
    """
    how = how or Probing()
    device = next(model.parameters()).device
    start = _clock(device)

    def batches(index: np.ndarray) -> Iterator[Tensor]:
        for chosen in np.split(index, range(how.batch_size, len(index), how.batch_size)):
            yield source.seen(torch.from_numpy(images[chosen]).to(device))

    by_part = {part: features(model, batches(parts[part])) for part in ("train", "val", "test")}
    ready = _clock(device)
    of = {part: torch.from_numpy(labels[parts[part]].astype(np.int64)).to(device) for part in by_part}
    result = probe(by_part, of, classes, how)
    return result | {
        "features": by_part["train"].shape[1],
        "feature_seconds": ready - start,
        "probe_seconds": _clock(device) - ready,
    }


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
