"""The resources of rules: memory, minutes and GPUs, from the sizes of network and images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from lacuna_workflow.params import Wildcards

from lacuna.experiment import limits
from lacuna.experiment.grid import Experiment
from lacuna.experiment.limits import gpus_for
from lacuna.experiment.shadow_plan import models_of

_DAY = 24 * 60


def memory(megabytes: int) -> Callable[[Wildcards, int], int]:
    """More at each attempt, for whoever sets retries in a profile."""
    return lambda wildcards, attempt: megabytes * attempt


def small(megabytes: int = 1000, minutes: int = 10) -> dict[str, Any]:
    """Those of a job that makes no model."""
    return {"mem_mb": memory(megabytes), "runtime": minutes, "gpu": 0}


def reading(cells: Callable[[], int]) -> dict[str, Any]:
    """Those of a job that reads and checks the predictions of so many cells, one after the other: 2 s and 1 MB each."""
    return small() | {
        "mem_mb": lambda wildcards, attempt: (2000 + cells()) * attempt,
        "runtime": lambda wildcards: 30 + cells() // 30,
    }


def megabytes_of(path: str) -> float:
    """The size of an input; a guess as long as nobody made it."""
    try:
        return os.stat(path).st_size / 1e6
    except FileNotFoundError:
        return 200.0


class JobResources:
    """Those of the jobs of an experiment that make models."""

    def __init__(self, experiment: Experiment):
        self.experiment, self.gpu = experiment, gpus_for(experiment.device)
        self._minutes: dict[tuple[Any, ...], float] = {}

    @property
    def of_model(self) -> dict[str, Any]:
        """Those of a rule whose jobs make a model."""
        return {"mem_mb": self.model_memory, "runtime": self.model_runtime, "gpu": self.gpu}

    @property
    def of_search(self) -> dict[str, Any]:
        """Those of a rule whose jobs search hyper-parameters."""
        return self.of_model | {"runtime": self.runtime_of_search}

    def network_of(self, wildcards: Wildcards) -> Mapping[str, Any]:
        """The sizes of a job's network; a guess where no plan could tell."""
        guess = {"parameters": 25e6, "multiplications_per_pixel": 5e5}
        return self.experiment.sizes.get((wildcards.dataset, wildcards.model), guess)

    def model_memory(self, wildcards: Wildcards, input: Any, attempt: int) -> int:
        """Megabytes of a job that makes a model."""
        network, images = self.network_of(wildcards), megabytes_of(input.images)
        return attempt * limits.memory_mb(network, images, bool(self.gpu))

    def model_runtime(self, wildcards: Wildcards, input: Any, attempt: int) -> int:
        """Minutes of a job that makes a model, or several: shadow models, folds."""
        own = (wildcards.dataset, wildcards.model, wildcards.recipe, wildcards.get("shadows", "0-0"))
        key = (*own, wildcards.get("folds", 1), megabytes_of(input.images))
        if key not in self._minutes:  # asked of every job of a plan, and most have the same
            self._minutes[key] = self._minutes_of(wildcards, *key[3:])
        return limits.time_limit(self._minutes[key], attempt)

    def _minutes_of(self, wildcards: Wildcards, shadows: str, folds: str | int, images_mb: float) -> float:
        epochs = self.experiment.entry("recipes", wildcards.recipe).values["epochs"]
        models = len(models_of(shadows)) * int(folds)
        return limits.minutes(self.network_of(wildcards), images_mb, epochs, bool(self.gpu), models)

    def runtime_of_search(self, wildcards: Wildcards, input: Any, attempt: int) -> int:
        """Minutes of a search: every trial unlearns every start, each for no more epochs than a training has."""
        runs: int = (self.experiment.tuning or {"trials": 1})["trials"] * len(input.models)
        return min(runs * self.model_runtime(wildcards, input, attempt), _DAY)
