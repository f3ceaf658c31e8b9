"""Types of JSON files, for type checkers alone: imported at run time, one more field would make jobs run again."""

from typing import Any, NotRequired, TypedDict


class Meta(TypedDict):
    """The content of meta.json; its readers rely on the fields that `meta.META` asks for.

    classes: their number; train, test: numbers of images; shape: of an image, [channels, height, width]; mean, std: per
    channel, of training images in [0, 1]; sha256: of images and labels. fine: the number of finer classes;
    class_names: in the order of the labels. entry: of the grid, with its `backdoor`. content: a digest of the user's
    files. parameters: the job's.
    """

    classes: int
    train: int
    test: int
    shape: list[int]
    mean: list[float]
    std: list[float]
    sha256: str
    fine: NotRequired[int]
    class_names: NotRequired[list[str]]
    entry: NotRequired[dict[str, Any]]
    backdoor: NotRequired[dict[str, Any] | None]
    content: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]


class Job(TypedDict):
    """The content of job.json; its readers rely on the fields that `jobs.JOB` asks for.

    cell: the wildcards of the job. seconds, steps, samples, forwards, backwards: of the method alone. facts: what the
    method says of its run. peak_memory_mb, peak_gpu_memory_mb: of the job's process, in MiB. machine: what bytes may
    depend on beside code and data. arithmetic, execution, execution_note: how the network was computed. random_stream:
    the seed of the job's generators; random_streams: of each model, where there are several. parameters: what the job
    was asked for. versions, commit: of the code. inputs, outputs: files, with a digest of their content. slurm_job: its
    number there. network: parameters, MACs and milliseconds per image. energy_j: joules of the GPU; energy_j_absent:
    why they are not known.
    """

    cell: dict[str, Any]
    seconds: float
    inputs: dict[str, str]
    parameters: dict[str, Any]
    versions: dict[str, str]
    steps: NotRequired[int]
    samples: NotRequired[int]
    forwards: NotRequired[int]
    backwards: NotRequired[int]
    threads: NotRequired[int]
    facts: NotRequired[dict[str, Any]]
    outputs: NotRequired[dict[str, str]]
    commit: NotRequired[str]
    network: NotRequired[dict[str, float]]
    peak_memory_mb: NotRequired[float]
    peak_gpu_memory_mb: NotRequired[float | None]
    device: NotRequired[str]
    machine: NotRequired[dict[str, Any]]
    arithmetic: NotRequired[str]
    execution: NotRequired[str]
    execution_note: NotRequired[str]
    random_stream: NotRequired[int]
    slurm_job: NotRequired[str | None]
    energy_j: NotRequired[float | None]
    energy_j_absent: NotRequired[str]
    sparsity_per_layer: NotRequired[dict[str, float]]
    seconds_per_model: NotRequired[dict[int, float]]
    random_streams: NotRequired[dict[int, int] | list[int]]
