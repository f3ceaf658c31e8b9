"""What unlearning costs."""

from __future__ import annotations

from lacuna.evaluation.cell import Absent, Cell
from lacuna.registry import register

_COST = {"low": 0.0, "high": None, "better": "lower", "oracle": False, "source": "definition"}
_OF_JOB = _COST | {"needs": ("job",)}


@register("time_s", **_COST, unit="s")
def seconds(cell: Cell) -> float | Absent:
    """Wall-clock seconds of the method alone: no import, no file, no validation pass."""
    return Absent("the seconds are not known") if cell.seconds is None else cell.seconds


@register("speedup", unit="×", low=0.0, high=None, better="higher", oracle=True, source="definition")
def speedup(cell: Cell, oracle: Cell) -> float | Absent:
    """The oracle's seconds divided by the method's; none for a method that does nothing (`original`)."""
    if cell.seconds is None or oracle.seconds is None:
        return Absent("the seconds are not known")
    # a method that reads no sample takes the time that the clock takes, on a busy machine more than that
    if cell.seconds < 1e-3 or cell.extra.get("job", {}).get("samples") == 0:
        return Absent("the method takes no time")
    return oracle.seconds / cell.seconds


def _of_job(cell: Cell, key: str) -> float | Absent:
    value = cell.extra["job"].get(key)
    return Absent(cell.extra["job"].get(f"{key}_absent", f"the job does not say '{key}'")) if value is None else value


@register("samples", **_OF_JOB, unit="samples")
def samples(cell: Cell) -> float | Absent:
    """Samples that the method's steps read; for a method without steps those that it put through the network."""
    return _of_job(cell, "samples")


@register("forwards", **_OF_JOB, unit="passes")
def forwards(cell: Cell) -> float | Absent:
    """Batches put through the network, or through a copy of it such as a teacher, by the method alone."""
    return _of_job(cell, "forwards")


@register("backwards", **_OF_JOB, unit="passes")
def backwards(cell: Cell) -> float | Absent:
    """Backward passes through the network: 2 for one forward pass that two losses are derived from apart."""
    return _of_job(cell, "backwards")


@register("peak_memory_mb", **_OF_JOB, unit="MiB")
def peak_memory(cell: Cell) -> float | Absent:
    """Peak memory of the job: on the GPU if it ran on one, else of its process, libraries included."""
    on_gpu = cell.extra["job"].get("peak_gpu_memory_mb")
    return _of_job(cell, "peak_memory_mb") if on_gpu is None else on_gpu


@register("energy_j", **_OF_JOB, unit="J")
def energy(cell: Cell) -> float | Absent:
    """Joules that the GPU drew while the method ran, validation passes and other jobs on it included."""
    return _of_job(cell, "energy_j")


def _of_network(cell: Cell, key: str) -> float | Absent:
    value = cell.extra["job"].get("network", {}).get(key)
    return Absent(f"the job does not say the network's '{key}'") if value is None else value


@register("parameters", **_OF_JOB, unit="1")
def parameters(cell: Cell) -> float | Absent:
    """Parameters of the network that ran, masked ones too; those of filters that were taken out (`compact`) are not."""
    return _of_network(cell, "parameters")


@register("macs", **_OF_JOB, unit="1")
def macs(cell: Cell) -> float | Absent:
    """Multiply-accumulates of convolutions and linear layers for one image, in the network that ran."""
    return _of_network(cell, "macs")


@register("inference_ms", **_OF_JOB, unit="ms")
def inference(cell: Cell) -> float | Absent:
    """Milliseconds per image in evaluation mode, of a batch of at most 100 on the device and threads of the job."""
    return _of_network(cell, "inference_ms")
