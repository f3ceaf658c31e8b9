"""What the shadow scripts share: each model's network, half and random stream, and going on after an interruption."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from lacuna_workflow.job import without_method
from lacuna_workflow.model_job import OF_MANY, load_data, use_device, write_job

import numpy as np
import torch
from torch import nn

from lacuna.artifacts.files import Arrays
from lacuna.artifacts.layout import checkpoint_beside
from lacuna.data.batches import UnlearningData
from lacuna.experiment.shadow_plan import half_of, models_of
from lacuna.fields import build
from lacuna.models.files import new_model
from lacuna.procedures.shadows import make_resumably, remove_parts, restricted
from lacuna.randomness import derive
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.recipes import RECIPES
from lacuna.training.state import TrainingResult


class Shadow(NamedTuple):
    """One shadow model: its number, an empty network, the data of its half, and what a training is told."""

    number: int
    network: nn.Module
    data: UnlearningData
    rest: dict[str, Any]


class ShadowJob:
    """Several shadow models in one job. dense: they are trained on all of their half; else there is a forget set."""

    def __init__(self, snakemake: Any, log: Callable[[str], None], dense: bool):
        self.snakemake, self.log = snakemake, log
        w, params = snakemake.wildcards, snakemake.params
        self.device = use_device(snakemake.config["device"], snakemake.threads)
        self.recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
        self.data, self.meta = load_data(snakemake, self.device, self.recipe, dense)
        seen = [self.data.parts[part].cpu().numpy() for part in ("retain", "forget") if part in self.data.parts]
        self.halves = {i: half_of(np.concatenate(seen), i, int(w.seed), w.dataset) for i in models_of(w.shadows)}
        self.streams: dict[int, int] = {}

    def stream(self, number: int, *parts: str) -> int:
        """The random stream of a shadow model in one stage."""
        w = self.snakemake.wildcards
        return derive(int(w.seed), "shadow", number, *parts, w.dataset, w.model, w.recipe)

    def each(self, stage: tuple[str, ...], made_from: str, make: Callable[[Shadow, int], Arrays]) -> dict[int, Arrays]:
        """The arrays of every model of the job. made_from: a digest of files that decide the result beside the data."""
        self.streams = {number: self.stream(number, *stage) for number in self.halves}
        output = self.snakemake.output[0]

        def one(number: int) -> Arrays:
            name = f"shadow model {number}"
            checkpoint = Checkpoint(checkpoint_beside(output, number))
            network = new_model(self.snakemake.params.model, self.meta, self.device)
            own = restricted(self.data, self.halves[number], name)
            rest = {"checkpoint": checkpoint, "log": self.log, "name": name}
            return make(Shadow(number, network, own, rest), self.streams[number])

        what = [dict(self.snakemake.params.items()), self.streams, self.data.fingerprint(), made_from]
        fingerprint = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        return make_resumably(self.halves, one, output, fingerprint)

    def close(self, models: dict[int, Arrays]) -> None:
        """After the output is written: job.json beside it, and no debris."""
        seconds = {number: float(arrays["seconds"]) for number, arrays in models.items()}
        fit = TrainingResult(seconds=sum(seconds.values()))
        first = next(iter(self.streams.values()))
        about = {"seconds_per_model": seconds, "random_streams": self.streams}
        write_job(self.snakemake, self.snakemake.output.job, fit, self.device, first, **OF_MANY, **about)
        remove_parts(models, self.snakemake.output[0])


def packed(models: dict[int, Arrays]) -> Arrays:
    """The arrays of several models in one dict: "3/final/conv1.weight"."""
    return {f"{number}/{key}": array for number, arrays in models.items() for key, array in arrays.items()}


def under(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays below a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def state_under(arrays: Arrays, prefix: str) -> dict[str, torch.Tensor]:
    """The same as a model's state."""
    return {k: torch.from_numpy(v.copy()) for k, v in under(arrays, prefix).items()}


def as_arrays(prefix: str, state: dict[str, torch.Tensor]) -> Arrays:
    """A model's state as arrays below a prefix."""
    return {prefix + k: v.numpy() for k, v in state.items()}
