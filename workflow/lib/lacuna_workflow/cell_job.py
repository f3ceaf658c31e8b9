"""The files of a cell: an unlearned model or an oracle, its predictions, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lacuna_workflow.model_job import write_history, write_job

import numpy
import torch

from lacuna.artifacts.files import sha256_of_arrays, write_npz
from lacuna.data.batches import UnlearningData
from lacuna.models.cost import inference_ms, macs, parameters
from lacuna.models.files import save_state
from lacuna.models.inference import logits, state_of
from lacuna.models.modes import arithmetic
from lacuna.randomness import derive
from lacuna.sparsity.files import save_mask
from lacuna.sparsity.mask import Mask
from lacuna.training.divergence import diverged
from lacuna.unlearning.base import Unlearned

if TYPE_CHECKING:
    from lacuna.artifacts.contents import Meta


def stream_of(wildcards: Any, state: str, unlearner: str) -> int:
    """The seed of an unlearner's run; a cell that un-prunes around the unlearner has the same, another mask apart."""
    w = wildcards
    return derive(int(w.seed), "unlearn", w.dataset, w.model, w.recipe, w.scenario, state, unlearner)


def write_predictions(path: str, model: torch.nn.Module, data: UnlearningData, meta: Meta, name: str) -> None:
    """Logits, labels and dataset indices of every part of the split, and the digests of dataset and split.

    Raises LacunaError for a logit that is not finite: the model called `name` diverged, whatever its loss was.
    """
    parts = {part: index.cpu().numpy() for part, index in data.parts.items()}
    arrays = {
        "origin/dataset": numpy.array(meta["sha256"]),
        "origin/split": numpy.array(sha256_of_arrays(parts)),
    }
    for part, index in data.parts.items():
        answers = logits(model, data, part)
        if lost := int((~torch.isfinite(answers)).any(1).sum()):
            raise diverged(name, f"the logits of {lost} of {len(answers)} samples of '{part}' are not finite")
        arrays[f"logits/{part}"] = answers.numpy()
        arrays[f"labels/{part}"] = data.labels[index].cpu().numpy()
        arrays[f"index/{part}"] = index.cpu().numpy()
    write_npz(path, "predictions", arrays)


def network_facts(network: torch.nn.Module, data: UnlearningData) -> dict[str, float]:
    """What the network costs to keep and to run; timed on 100 images."""
    x, _ = next(data.plain_batches("retain", 100, next(network.parameters()).dtype))
    return {
        "parameters": parameters(network),
        "macs": macs(network, data.images.shape[1:]),
        "inference_ms": inference_ms(network, x),
    }


def write_cell(
    snakemake: Any,
    outcome: Unlearned,
    data: UnlearningData,
    meta: Meta,
    device: torch.device,
    seed: int,
    **more: Any,
) -> None:
    """The files of an unlearned model or an oracle."""
    files = snakemake.output
    network = network_facts(outcome.fit.network or outcome.model, data)
    # .../{scenario}/{state}/{unlearner}/predictions.npz
    scenario, state, unlearner = Path(files.predictions).parts[-4:-1]
    with arithmetic(outcome.fit.precision, device):
        write_predictions(files.predictions, outcome.model, data, meta, f"{unlearner} on {state}, {scenario}")
    save_mask(files.mask, outcome.mask or Mask.full(outcome.model))
    write_history(files.history, outcome.fit.history)
    save_state(files.model, state_of(outcome.model))
    write_job(snakemake, files.job, outcome.fit, device, seed, network=network, **more)
