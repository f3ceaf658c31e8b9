"""What the scripts share: log and errors, the device, and the files that model-making jobs have in common."""

import contextlib
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lacuna import __version__
from lacuna.artifacts import read_json, read_npz, read_tensors, write_json, write_npz
from lacuna.errors import LacunaError


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[Callable[[str], None]]:
    """Gives `say(line)`, which writes to the job's log; a LacunaError ends the job with one sentence, no traceback."""
    name = " ".join([snakemake.rule, *(f"{k}={v}" for k, v in snakemake.wildcards.items())])
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", buffering=1) as log:
        try:
            yield lambda line: print(line, file=log)
        except LacunaError as error:
            sentence = f"lacuna: {name}: {error}"
            print(sentence, file=log)
            sys.exit(f"{sentence} (log: {path})")


def use_device(name: str, threads: int) -> Any:
    """The torch device that the config names, with the job's threads; results on the CPU depend on their number."""
    import torch

    torch.set_num_threads(threads)
    if name == "cuda" and not torch.cuda.is_available():
        raise LacunaError("device: 'cuda' is not available in this job; allowed: cpu or auto, or a node with a GPU")
    cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if cuda else "cpu")


def load_data(snakemake: Any, device: Any, recipe: Any, dense: bool = False) -> tuple[Any, dict[str, Any]]:
    """The job's images and split on the device, and the dataset's facts; dense: train on all, forget nothing."""
    from lacuna.data.batches import UnlearningData

    arrays, _ = read_tensors(snakemake.input.images, "images", verify=False)
    meta = read_json(snakemake.input.meta)
    parts = read_npz(snakemake.input.split, "split")
    if dense:
        parts = {"retain": parts["train"], "val": parts["val"]}
    return UnlearningData.from_arrays(arrays, meta, parts, device=device, augment=recipe.augment), meta


def checkpoint_of(snakemake: Any) -> Any:
    """Where a long run keeps its state: beside its output, but no output, so that Snakemake leaves it alone."""
    from lacuna.training import Checkpoint

    return Checkpoint(Path(snakemake.output.model).parent / ".checkpoint.safetensors")


def write_history(path: str, history: list[dict[str, float]]) -> None:
    """One CSV row per epoch."""
    from lacuna.artifacts import atomic

    columns = ["epoch", "lr", "loss", "val_accuracy", "seconds"]
    with atomic(path) as temporary:
        rows = [",".join(repr(row[c]) for c in columns) for row in history]
        temporary.write_text("\n".join([",".join(columns), *rows]) + "\n", encoding="utf-8")


def write_predictions(path: str, model: Any, data: Any) -> None:
    """Logits, labels and dataset indices of every part of the split."""
    from lacuna.training import logits

    arrays = {}
    for part, index in data.parts.items():
        arrays[f"logits/{part}"] = logits(model, data, part).numpy()
        arrays[f"labels/{part}"] = data.labels[index].cpu().numpy()
        arrays[f"index/{part}"] = index.cpu().numpy()
    write_npz(path, "predictions", arrays)


def write_job(snakemake: Any, path: str, fit: Any, device: Any, seed: int, **more: Any) -> None:
    """What happened: cost of the method alone, hyper-parameters, seed, device, versions, commit."""
    import numpy
    import torch

    gpu = device.type == "cuda"
    write_json(
        path,
        {
            "cell": dict(snakemake.wildcards.items()),
            "seconds": fit.seconds,
            "steps": fit.steps,
            "samples": fit.samples,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20 if gpu else None,
            "device": torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine(),
            "threads": snakemake.threads,
            "random_stream": seed,
            "parameters": {k: v for k, v in snakemake.params.items()},
            "versions": {
                "lacuna": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": numpy.__version__,
            },
            "commit": commit(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
        }
        | more,
    )


def commit() -> str:
    """The git commit of the workflow, with -dirty if files were changed; unknown outside a repository."""
    told = subprocess.run(
        ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def without_method(entry: dict[str, Any]) -> dict[str, Any]:
    """The options of a grid entry."""
    return {k: v for k, v in entry.items() if k != "method"}
