"""Datasets, splits and forget scenarios. Importing this package loads neither torch nor torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lacuna.registry import Registry

if TYPE_CHECKING:
    from lacuna.data.images import Dataset
    from lacuna.data.scenarios.base import Scenario

DATASETS: Registry[type[Dataset]] = Registry("lacuna.data.datasets", "dataset", __path__[0] + "/datasets")
SCENARIOS: Registry[type[Scenario]] = Registry("lacuna.data.scenarios", "scenario", __path__[0] + "/scenarios")
