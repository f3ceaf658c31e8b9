"""Datasets, splits and forget scenarios. Importing this package loads neither torch nor torchvision."""

from lacuna.registry import Registry

DATASETS: Registry = Registry("lacuna.data.datasets", "dataset", __path__[0] + "/datasets")
SCENARIOS: Registry = Registry("lacuna.data.scenarios", "scenario", __path__[0] + "/scenarios")
