"""What the model-making scripts share: the device, the data, and the files that each of them writes."""

from __future__ import annotations

import os
import platform
import resource
from typing import TYPE_CHECKING, Any

from lacuna_workflow.job import commit, inputs_of

import numpy
import torch

from lacuna import __version__
from lacuna.artifacts.files import content_digest, read_npz, read_tensors, write_json
from lacuna.artifacts.layout import checkpoint_beside
from lacuna.artifacts.machine import keep_freed_memory, processor, switches
from lacuna.artifacts.meta import read_meta
from lacuna.artifacts.writing import atomic
from lacuna.data.backdoor import backdoor_of
from lacuna.data.batches import Augment, UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.modes import arithmetic_told
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.recipe import Recipe
from lacuna.training.state import TrainingResult

if TYPE_CHECKING:
    from lacuna.artifacts.contents import Job, Meta


def use_device(name: str, threads: int) -> torch.device:
    """The torch device that the config names, with the job's threads; results on the CPU depend on their number.

    The process keeps the memory that it frees.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    if name == "cuda" and not torch.cuda.is_available():
        raise LacunaError("device: 'cuda' is not available in this job; allowed: cpu or auto, or a node with a GPU")
    cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def load_data(
    snakemake: Any,
    device: torch.device,
    recipe: Recipe | None,
    dense: bool = False,
    split: str | None = None,
    visible: tuple[str, ...] | None = None,
) -> tuple[UnlearningData, Meta]:
    """The job's images and split on the device, and the dataset's facts; dense: train on all, forget nothing.

    recipe: how images are augmented; None: no step is taken.
    split: the file, of a job that has several. visible: the parts that the job may see; None: all.

    Where the dataset has a backdoor, the images are as the seed poisoned them, with the triggered ones behind them.
    """
    arrays, _ = read_tensors(snakemake.input.images, "images", mapped=True)
    meta = read_meta(snakemake.input.meta)
    parts = read_npz(split or snakemake.input.split, "split")
    stamps = None
    if (backdoor := backdoor_of(meta)) is not None:
        stamps = backdoor.stamps(arrays["y"], meta["train"], parts.pop("poisoned"), meta["shape"])
    if dense:
        parts = {"retain": parts["train"], "val": parts["val"]}
    if visible is not None:
        parts = {name: parts[name] for name in visible}
    serve, content = snakemake.config["images"], meta["sha256"]
    augment = recipe.augment if recipe else Augment()
    rest = {"device": device, "serve": serve, "content": content, "stamps": stamps, "augment": augment}
    return UnlearningData.from_arrays(arrays, meta, parts, **rest), meta


def checkpoint_of(snakemake: Any) -> Checkpoint:
    """Where a long run keeps its state: beside its output, but no output, so that Snakemake leaves it alone."""
    return Checkpoint(checkpoint_beside(snakemake.output.model))


def write_history(path: str, history: list[dict[str, float]]) -> None:
    """One CSV row per epoch."""
    columns = ["epoch", "lr", "loss", "val_accuracy", "seconds"]
    with atomic(path) as temporary:
        rows = [",".join(repr(row[c]) for c in columns) for row in history]
        temporary.write_text("\n".join([",".join(columns), *rows]) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What bytes may depend on beside code and data: the CPU, the instructions that torch uses, switches."""
    model, vectors = processor()
    return {
        "architecture": platform.machine(),
        "cpu": model,
        "vectors": vectors,
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "switches": switches(os.environ),
        "torch_flags": {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "mkldnn_enabled": torch.backends.mkldnn.enabled,
        },
    }


# of a job that trains many models there is no one answer
OF_MANY = {"arithmetic": None, "execution": None, "execution_note": ""}


def write_job(snakemake: Any, path: str, fit: TrainingResult, device: torch.device, seed: int, **more: Any) -> None:
    """What happened: cost of the method alone, hyper-parameters, seed, device, versions, commit.

    Written last: it names the content of the job's other files, by which each of them is known.
    """
    gpu = device.type == "cuda"
    facts: Job = {
        "cell": dict(snakemake.wildcards.items()),
        "seconds": fit.seconds,
        "steps": fit.steps,
        "samples": fit.samples,
        "forwards": fit.forwards,
        "backwards": fit.backwards,
        "facts": fit.facts,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if gpu else None,
        "device": torch.cuda.get_device_name() if gpu else processor()[0],
        "machine": machine(),
        "arithmetic": arithmetic_told(fit.precision, device),
        "execution": fit.execution,
        "execution_note": fit.why,
        "threads": snakemake.threads,
        "random_stream": seed,
        "parameters": dict(snakemake.params.items()),
        "versions": {
            "lacuna": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": numpy.__version__,
        },
        "commit": commit(),
        "inputs": inputs_of(snakemake),
        "outputs": {name: content_digest(file) for name, file in snakemake.output.items() if file != path},
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
    write_json(path, {**facts, **more})
