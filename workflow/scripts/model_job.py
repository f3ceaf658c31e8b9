"""What the model-making scripts share: the device, the data, and the files that each of them writes."""

import os
import platform
import resource
from pathlib import Path
from typing import Any

from job import commit

import numpy
import torch

from lacuna import __version__
from lacuna.artifacts import atomic, read_json, read_npz, read_tensors, write_json, write_npz
from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.training import Checkpoint, Fit, Recipe, logits


def use_device(name: str, threads: int) -> torch.device:
    """The torch device that the config names, with the job's threads; results on the CPU depend on their number."""
    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        raise LacunaError("device: 'cuda' is not available in this job; allowed: cpu or auto, or a node with a GPU")
    cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def load_data(
    snakemake: Any, device: torch.device, recipe: Recipe, dense: bool = False
) -> tuple[UnlearningData, dict[str, Any]]:
    """The job's images and split on the device, and the dataset's facts; dense: train on all, forget nothing."""
    arrays, _ = read_tensors(snakemake.input.images, "images")
    meta = read_json(snakemake.input.meta)
    parts = read_npz(snakemake.input.split, "split")
    if dense:
        parts = {"retain": parts["train"], "val": parts["val"]}
    return UnlearningData.from_arrays(arrays, meta, parts, device=device, augment=recipe.augment), meta


def checkpoint_of(snakemake: Any) -> Checkpoint:
    """Where a long run keeps its state: beside its output, but no output, so that Snakemake leaves it alone."""
    return Checkpoint(Path(snakemake.output.model).parent / ".checkpoint.safetensors")


def write_history(path: str, history: list[dict[str, float]]) -> None:
    """One CSV row per epoch."""
    columns = ["epoch", "lr", "loss", "val_accuracy", "seconds"]
    with atomic(path) as temporary:
        rows = [",".join(repr(row[c]) for c in columns) for row in history]
        temporary.write_text("\n".join([",".join(columns), *rows]) + "\n", encoding="utf-8")


def write_predictions(path: str, model: torch.nn.Module, data: UnlearningData) -> None:
    """Logits, labels and dataset indices of every part of the split."""
    arrays = {}
    for part, index in data.parts.items():
        arrays[f"logits/{part}"] = logits(model, data, part).numpy()
        arrays[f"labels/{part}"] = data.labels[index].cpu().numpy()
        arrays[f"index/{part}"] = index.cpu().numpy()
    write_npz(path, "predictions", arrays)


def write_job(snakemake: Any, path: str, fit: Fit, device: torch.device, seed: int, **more: Any) -> None:
    """What happened: cost of the method alone, hyper-parameters, seed, device, versions, commit."""
    gpu = device.type == "cuda"
    facts = {
        "cell": dict(snakemake.wildcards.items()),
        "seconds": fit.seconds,
        "steps": fit.steps,
        "samples": fit.samples,
        "facts": fit.facts,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if gpu else None,
        "device": torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine(),
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
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
    write_json(path, facts | more)
