"""What every entry of this folder is."""

from __future__ import annotations

from typing import Protocol

from torch import nn


class Architecture(Protocol):
    """A frozen dataclass whose fields are the options of a network."""

    def build(self, classes: int, channels: int) -> nn.Module:
        """The network for `classes` classes and images of `channels` channels, in channels-last layout."""
