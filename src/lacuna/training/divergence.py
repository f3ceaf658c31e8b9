"""The error of a run that diverged, and looks at its loss that do not wait for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from lacuna.errors import Diverged, LacunaError


def diverged(name: str, what: str) -> LacunaError:
    """The error of a run that turned out to have diverged; what: the sign of it."""
    return Diverged(f"{name}: diverged ({what}); try a smaller lr or fewer epochs")


class Look:
    """The sum of losses every so often. A GPU's is the one of the look before, so that nothing waits for the device."""

    def __init__(self, device: torch.device):
        self.host = torch.zeros((), dtype=torch.float64, pin_memory=True) if device.type == "cuda" else None
        self.copied: torch.cuda.Event | None = None

    def __call__(self, loss_sum: Tensor) -> float:
        if self.host is None:
            return float(loss_sum)
        value = 0.0
        if self.copied is not None:
            self.copied.synchronize()
            value = float(self.host)
        self.host.copy_(loss_sum, non_blocking=True)
        self.copied = torch.cuda.Event()
        self.copied.record()
        return value

    def forget(self) -> None:
        """The sum starts anew."""
        self.copied = None
