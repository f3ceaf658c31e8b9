"""Shadow models: many small originals, each of which unlearns its share of D_f, for the attacks of a whole population.

Models come in pairs that divide the training pool: 2k is trained on a random half, 2k + 1 on the rest. So every sample
is in exactly half of the models, and a model can be held out together with the one that has what it lacks. Each model
is pruned as its state says and then forgets the part of the cell's own D_f that lies in its half. One pool serves
every metric:

* A sample of D_f is unlearned by the models that had it and was never seen by the others, which unlearned the rest of
  their D_f; U-LiRA (Hayes et al., 2024) and RMIA (Zarifzadeh et al., ICML 2024) tell the two apart. So one unlearning
  per model attacks all of D_f; Hayes et al. draw many forget sets for each model and so need many unlearnings.
* The oracles of the grid run on the same halves without D_f. KLOM (Georgiev et al., 2024) and the ε-score
  (Triantafillou et al., 2024) compare, sample by sample, the N/2 models that unlearned it with the N/2 oracles of the
  same halves: both sets vary in the same data and the same randomness, and differ only in how the sample left. As
  published, all models of a set share D_f and training set; that would take 2N trainings on all of the data more.

The originals are trained once per seed and state, packed in one file a job, and serve every scenario and unlearner. Of
the unlearned models only the answers are kept: the margin φ of every sample, in float32, all that the metrics read.

This module trains, prunes and asks them one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lacuna.artifacts.files import Arrays, read_tensors, write_tensors
from lacuna.artifacts.layout import shadow_beside
from lacuna.artifacts.writing import remove
from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.inference import State, logits, state_of
from lacuna.models.init import reinitialise
from lacuna.predictions import margin
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask
from lacuna.training.divergence import diverged
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint
from lacuna.training.state import TrainingResult

if TYPE_CHECKING:  # shadow originals are trained without any
    from lacuna.pruning.base import Pruner


def make_resumably(
    models: Iterable[int], make: Callable[[int], Arrays], output: str | Path, fingerprint: str
) -> dict[int, Arrays]:
    """`make(model)` for each model; a job that is stopped keeps what is done beside its output and goes on from there.

    fingerprint: names all that decides the result; arrays kept by any other run are made anew.
    The caller writes the output and then calls `remove_parts`.
    """
    results = {}
    for model in models:
        part = shadow_beside(output, model)
        arrays = _kept(part, fingerprint)
        if arrays is None:
            arrays = make(model)
            write_tensors(part, "shadow part", arrays, fingerprint=fingerprint)
        results[model] = arrays
    return results


def remove_parts(models: Iterable[int], output: str | Path) -> None:
    """Remove what `make_resumably` kept."""
    for model in models:
        remove(shadow_beside(output, model))


def _kept(path: Path, fingerprint: str) -> Arrays | None:
    try:
        arrays, about = read_tensors(path, "shadow part")
    except LacunaError:
        return None  # nothing usable only costs time
    return arrays if about.get("fingerprint") == fingerprint else None


def initialise(model: nn.Module, seed: int) -> None:
    """θ_0 of a shadow original, in place; seed: of its training."""
    reinitialise(model, derive(seed, "init"))


def trained(model: nn.Module, recipe: Recipe, data: UnlearningData, seed: int, **rest: Any) -> TrainingResult:
    """Train a dense shadow original on `retain`, in place; the run's snapshot is the state at the rewind epoch.

    rest: checkpoint, log and name of `fit`.
    """
    initialise(model, seed)
    return fit(model, recipe, data, seed=seed, snapshot_epoch=recipe.rewind_epoch, **rest)


def pruned(
    model: nn.Module,
    dense: Sequence[State],
    pruner: Pruner,
    sparsity: str,
    recipe: Recipe,
    data: UnlearningData,
    seeds: tuple[int, int],
    **rest: Any,
) -> tuple[Mask, TrainingResult]:
    """Prune and train a dense shadow original on `retain`, in place, through all rounds of the pruner.

    dense: its states at the end and at the rewind epoch; seeds: of its training, which names θ_0, and of its pruning.
    """
    final, rewind = dense
    initialise(model, seeds[0])
    return pruner.prune(
        model, StartingPoint(final, rewind, state_of(model)), sparsity, recipe, data, seed=seeds[1], **rest
    )


def restricted(data: UnlearningData, half: np.ndarray, where: str) -> UnlearningData:
    """The data of a shadow model: retain and forget cut down to its half, everything else as it is.

    Raises LacunaError naming `where` if nothing is left to retain or, where there is a forget set, to forget.
    """
    own = torch.from_numpy(half).to(data.device)
    parts = dict(data.parts)
    for part in ("retain", "forget"):
        if part in parts:
            parts[part] = parts[part][torch.isin(parts[part], own)]
            if not len(parts[part]):
                raise LacunaError(
                    f"{where}: none of the {len(data.parts[part])} samples of '{part}' is in its half; "
                    "allowed: a larger forget set"
                )
    return dataclasses.replace(data, parts=parts)


def answers(model: nn.Module, data: UnlearningData, where: str) -> Arrays:
    """`phi/<part>` float32 [n] and `correct/<part>` bool [n] on every part of the data.

    Raises LacunaError naming `where`, part and sample if a logit is not finite.
    """
    arrays: Arrays = {}
    for part, index in data.parts.items():
        y = data.labels[index].cpu().numpy()
        x = logits(model, data, part).numpy()
        try:
            arrays[f"phi/{part}"] = margin(x, y).astype(np.float32)
        except LacunaError as error:
            raise diverged(where, f"'{part}': {error}") from None
        arrays[f"correct/{part}"] = x.argmax(1) == y
    return arrays


def pool_arrays(
    models: Mapping[int, Arrays], halves: Mapping[int, np.ndarray], parts: Mapping[str, np.ndarray], dataset: str
) -> Arrays:
    """What a job's file holds: the answers of its models stacked, and what `Pool.from_jobs` needs to know of them.

    models: `answers` by model; halves: int arrays by model; parts: the split's index arrays; dataset: its SHA-256.
    """
    arrays: Arrays = {"models": np.array(list(models), dtype=np.int64), "dataset": np.array(dataset)}
    for key in next(iter(models.values())):  # answers and seconds
        arrays[key] = np.stack([answer[key] for answer in models.values()])
    for part, index in parts.items():
        arrays[f"index/{part}"] = index
        if part in ("retain", "forget"):
            arrays[f"member/{part}"] = np.stack([np.isin(index, halves[model]) for model in models])
    return arrays
