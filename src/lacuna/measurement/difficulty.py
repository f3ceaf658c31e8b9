"""How hard a training sample is: its loss, and what a model says of it that was not trained on it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.models.inference import logits
from lacuna.models.init import reinitialise
from lacuna.randomness import derive, numpy_generator
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.state import TrainingResult


def folds_of(train: np.ndarray, folds: int, seed: int, dataset: str) -> np.ndarray:
    """The fold of each sample, int [n] in 0..folds-1, drawn by seed: sizes differ by one at most."""
    fold = np.arange(len(train)) % folds
    return numpy_generator(seed, "held out", dataset, folds).permutation(fold)


def loss_of(model: nn.Module, data: UnlearningData, part: str) -> np.ndarray:
    """−log p_y of every sample of a part, float64 [n], in its order; evaluation mode, images as stored."""
    log_p = logits(model, data, part).double().log_softmax(1)
    labels = data.labels[data.index(part)].cpu()
    return -log_p[torch.arange(len(labels)), labels].numpy()


def held_out(
    model: nn.Module, recipe: Recipe, data: UnlearningData, out: Tensor, seed: int, **rest: Any
) -> tuple[np.ndarray, TrainingResult]:
    """Train the model from nothing on `retain` without `out`, in place; 1 − p_y of each sample of `out`, float64.

    out: int64 [n], indices of `retain` on its device. rest: checkpoint, log and name of `fit`.
    """
    index = data.index("retain")
    parts = dict(data.parts) | {"retain": index[~torch.isin(index, out)], "out": out}
    own = dataclasses.replace(data, parts=parts)
    reinitialise(model, derive(seed, "init"))
    run = fit(model, recipe, own, seed=seed, **rest)
    return -np.expm1(-loss_of(model, own, "out")), run
