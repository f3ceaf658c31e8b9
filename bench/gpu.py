"""What a GPU does with lacuna: right or not, how fast, and one seed of a published table; one command, nine minutes.

Stages, each in a process of its own with a share of the time, so that a crash or a hang ends that stage alone:

  facts         device, driver, torch; bandwidth of a copy, rate of matrix products
  correctness   every model, pruner, unlearner against the CPU in float64; masks, resume, images on the host, compaction
  steps         images per second of a training step: eager, captured in a CUDA graph, compiled; fp32, TF32, bf16
  data          batches alone; gradients of single samples against a loop; prediction
  packing       1, 2, 4, 8 processes on one GPU, with and without MPS
  fast          recipe `fast`, resnet18, all images: seconds and test accuracy
  table         what time is left: config/experiments/jia2023_table3_fast.yaml through snakemake, one seed more

Each row says stage, name, setting, value, unit, note, the seconds of its stage at which it came (`at`), and the time,
commit, device, driver and torch it was made by.

    python bench/gpu.py --out FOLDER [--data IMAGES.npz] [--minutes 9]      what bench/gpu.sh runs
    python bench/gpu.py --out FOLDER --rehearse                             every stage at toy size on the CPU
    python bench/gpu.py --merge FOLDER                                      adds the rows to docs/results/gpu/*.csv
    python bench/gpu.py --page                                              docs/results/gpu.md from these rows
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import dataclasses
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

COLUMNS = ("time", "commit", "device", "driver", "torch", "stage", "name", "setting", "value", "unit", "at", "note")
# the share of the time that each stage may take; the last one has what is left
SHARES = {
    "facts": 0.03,
    "correctness": 0.15,
    "steps": 0.14,
    "data": 0.08,
    "packing": 0.1,
    "fast": 0.1,
    "table": 1.0,
}
SHARDS = 8
REHEARSAL = {"facts": 30, "correctness": 150, "steps": 40, "data": 60, "packing": 40, "fast": 30, "table": 150}
COMMITTED = ROOT / "docs" / "results" / "gpu"


@dataclass
class Stage:
    """What a stage is told: where it runs, at which size, until when; `rows` go out one by one."""

    device: str
    toy: bool
    deadline: float
    images: Path | None
    out: Path
    # a stage of many small checks divides them among processes; counted, so that each takes its own
    shard: int | None = None
    checks: int = 0

    begun: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def row(self, name: str, setting: str = "", value: Any = "", unit: str = "", note: str = "") -> None:
        at = round(time.monotonic() - self.begun, 1)
        for place, word in ((f"{ROOT}/", ""), (sys.executable, "python"), (tempfile.gettempdir(), "")):
            note = note.replace(place, word)  # the machine's own folders tell nobody anything
        line = {"name": name, "setting": setting, "value": value, "unit": unit, "at": at, "note": note}
        print("ROW " + json.dumps(line), flush=True)

    def tried(self, name: str, setting: str, work: Callable[[], None]) -> None:
        """Run a check, if it is one of this shard; what fails is a row by its name and ends nothing."""
        self.checks += 1
        if self.shard is not None and self.checks % SHARDS != self.shard:
            return
        if self.left() < 5:
            self.row(name, setting, note="no time left")
            return
        try:
            work()
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            self.row(name, setting, "failed", note=f"{type(error).__name__}: {text}")


# ---- facts ----------------------------------------------------------------------------------------------------------


def facts(stage: Stage) -> None:
    import torch

    cuda = stage.device == "cuda"
    stage.row(
        "torch", value=torch.__version__, note=f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    )
    stage.row("python", value=platform.python_version(), note=f"{platform.system()} {platform.machine()}")
    stage.row("cores", value=os.cpu_count() or 0)
    import importlib.metadata

    for name in ("snakemake", "torch-pruning", "safetensors", "scikit-learn", "pandas", "matplotlib", "optuna"):
        try:
            stage.row("package", name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            stage.row("package", name, "missing")
    if cuda:
        p = torch.cuda.get_device_properties(0)
        stage.row("memory", value=round(p.total_memory / 2**30, 1), unit="GiB", note=f"{p.multi_processor_count} SMs")
    n = 1 << (22 if stage.toy else 30)
    source, target = torch.randn(n // 4, device=stage.device), torch.empty(n // 4, device=stage.device)
    seconds = timed(lambda: target.copy_(source), stage.device)
    stage.row("copy", "read and written", round(2 * n / seconds / 1e9, 1), "GB/s")
    side = 256 if stage.toy else 8192
    for setting, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("fp32, TF32 off", torch.float32, False),
        ("fp32, TF32 on", torch.float32, True),
    ):
        allow_tf32(tf32)
        a, b = (torch.randn(side, side, device=stage.device, dtype=dtype) for _ in range(2))
        seconds = timed(lambda a=a, b=b: a @ b, stage.device)
        stage.row("matrix product", setting, round(2 * side**3 / seconds / 1e12, 2), "TFLOP/s")


def allow_tf32(yes: bool) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = yes
    torch.backends.cudnn.allow_tf32 = yes


def timed(work: Callable[[], Any], device: str, seconds: float = 0.5) -> float:
    """Seconds of one call: the median of five groups, by device events on a GPU, after a warm-up."""
    import torch

    def group(times: int) -> float:
        if device != "cuda":
            start = time.perf_counter()
            for _ in range(times):
                work()
            return (time.perf_counter() - start) / times
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / times

    work()
    one = group(2)
    times = max(1, int(seconds / 5 / max(one, 1e-6)))
    return statistics.median(group(times) for _ in range(5))


# ---- correctness ----------------------------------------------------------------------------------------------------

# distance from the CPU's model after a few steps, relative to how far that one moved: of float64 in float64, of all
# others in fp32 (a layer that is drawn anew draws other numbers in another precision)
TOLERANCES = {"float64": 1e-6, "fp32": 2e-2, "TF32": 0.1, "bf16": 0.1}
# msg draws weights anew whose score is over a threshold: rounding puts some of them on its other side
REDRAWN = {"msg": 2.0}


@contextlib.contextmanager
def drawn_alike() -> Iterator[None]:
    """Draw on the CPU what a batch draws on the device, so that both follow one random stream."""
    import torch

    generator, randint, rand = torch.Generator, torch.randint, torch.rand

    def moved(draw: Callable[..., Any]) -> Callable[..., Any]:
        def on_cpu(*args: Any, **options: Any) -> Any:
            if isinstance(options.get("generator"), generator) and "device" in options:
                device = options.pop("device")
                return draw(*args, **options).to(device)
            return draw(*args, **options)

        return on_cpu

    class OnCpu(generator):  # type: ignore[misc, valid-type]
        def __new__(cls, device: Any = "cpu") -> Any:
            return super().__new__(cls, "cpu")

    torch.Generator = OnCpu  # type: ignore[misc]
    torch.randint, torch.rand = moved(randint), moved(rand)
    try:
        yield
    finally:
        torch.Generator, torch.randint, torch.rand = generator, randint, rand  # type: ignore[misc]


def tiny(device: str, serve: str = "device", size: int = 8, seed: int = 0) -> Any:
    """64 retained and 24 forgotten images of 3 classes, 20 to validate, 20 to test."""
    import numpy as np

    from lacuna.data.batches import Augment, UnlearningData

    rng = np.random.default_rng(seed)
    y = np.arange(128) % 3
    patterns = rng.integers(0, 160, (3, 3, size, size))
    x = (patterns[y] + rng.integers(0, 96, (128, 3, size, size))).astype(np.uint8)
    order = rng.permutation(128)
    parts = dict(zip(("retain", "forget", "val", "test"), np.split(order, [64, 88, 108]), strict=True))
    meta = {"classes": 3, "mean": [0.4] * 3, "std": [0.3] * 3}
    return UnlearningData.from_arrays({"x": x, "y": y}, meta, parts, device, serve, augment=Augment(1, True))  # type: ignore[arg-type]


def small_network(name: str, **options: Any) -> Any:
    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.init import reinitialise

    network = build(MODELS[name], options).build(3, 3)
    reinitialise(network, 1)
    return network


# the smallest of each architecture that takes an image of `size`
SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "resnet8": ({"width": 4}, 8),
    "resnet20": ({"width": 4}, 8),
    "resnet18": ({"width": 4}, 8),
    "resnet50": ({"width": 4}, 16),
    "vgg16_bn": ({}, 32),
    "vit": ({"patch": 2, "width": 24, "depth": 2, "heads": 3}, 8),
    "swin_t": ({"patch": 2, "width": 32, "depths": (1, 1), "window": 2}, 16),
}
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.01, "rewind_epoch": 1, "schedule": "constant", "milestones": ()}


def options_of(method: type, **more: Any) -> dict[str, Any]:
    known = {f.name for f in dataclasses.fields(method)}
    return {k: v for k, v in (QUICK | more).items() if k in known}


def distance(a: Any, b: Any, start: Any = None) -> float:
    """‖a − b‖ / ‖b − start‖ over parameters and statistics of two models; counters must agree. start: or zero."""
    import torch

    def parts(model: Any) -> list[Any]:
        return [v.detach().cpu() for v in model.state_dict().values()]

    far = moved = 0.0
    for x, y, origin in zip(parts(a), parts(b), parts(b if start is None else start), strict=True):
        if not x.is_floating_point():
            if not torch.equal(x, y):
                return float("inf")
            continue
        far += float((x.double() - y.double()).square().sum())
        base = y.double() if start is None else y.double() - origin.double()
        moved += float(base.square().sum())
    return (far / moved) ** 0.5 if moved else (0.0 if far == 0 else float("inf"))


def correctness(stage: Stage) -> None:
    import torch

    from lacuna.models import MODELS
    from lacuna.pruning import PRUNERS
    from lacuna.pruning.criteria.magnitude import magnitude
    from lacuna.sparsity.mask import Mask
    from lacuna.unlearning import UNLEARNERS, unlearn

    if stage.device == "cuda" and stage.shard is None:
        in_shards(stage, "correctness")
        return
    torch.set_num_threads(1)
    allow_tf32(False)
    cpu, there = tiny("cpu"), tiny(stage.device)

    def judged(name: str, setting: str, found: float, tolerance: float, note: str = "") -> None:
        verdict = "ok" if found <= tolerance else f"over {tolerance:g}"
        stage.row(name, setting, found, "relative distance", f"{verdict} ({note})" if note else verdict)

    for name in MODELS:
        if name == "import":
            continue

        def of_model(name: str = name) -> None:
            options, size = SMALL[name]
            network = small_network(name, **options).double()
            data = {device: tiny(device, size=size) for device in ("cpu", stage.device)}
            gradients = {}
            for device, source in data.items():
                model = copy.deepcopy(network).to(device)
                x, y = next(source.plain_batches("retain", 16, torch.float64))
                torch.nn.functional.cross_entropy(model(x), y).backward()
                gradients[device] = torch.cat(
                    [p.grad.cpu().flatten() for p in model.parameters() if p.grad is not None]
                )
            a, b = gradients[stage.device], gradients["cpu"]
            judged(f"model {name}", "float64 gradient", float((a - b).norm() / b.norm()), 1e-9)

        stage.tried(f"model {name}", "float64 gradient", of_model)
    network = small_network("resnet8", width=4)
    mask = Mask.from_scores(magnitude(network), "0.50")
    for name in PRUNERS:

        def of_pruner(name: str = name) -> None:
            from lacuna.fields import build

            pruner = build(PRUNERS[name], {})
            with drawn_alike():
                masks = [
                    pruner.find_mask(copy.deepcopy(network).double().to(source.device), "0.50", source, seed=3)
                    for source in (cpu, there)
                ]
            a, b = (m.digest() for m in masks)
            stage.row(f"pruner {name}", "float64 mask", int(a == b), "equal", "ok" if a == b else "another mask")

        stage.tried(f"pruner {name}", "float64 mask", of_pruner)

    def trained(source: Any, dtype: Any) -> Any:
        return copy.deepcopy(network).to(source.device, dtype)

    for name, method in UNLEARNERS.items():
        references: dict[Any, Any] = {}

        def of_method(setting: str, name: str = name, method: type = method, references: Any = references) -> None:
            of_setting = {"bf16": {"precision": "bf16"}, "fp32": {"precision": "fp32_strict"}}
            more: dict[str, Any] = of_setting.get(setting, {})
            if not set(more) <= {f.name for f in dataclasses.fields(method)}:
                if setting == "bf16":
                    return
                more = {}
            allow_tf32(setting == "TF32")
            dtype = torch.float64 if setting == "float64" else torch.float32
            held = {} if name == "retrain_exact" else {"mask": mask}
            chosen = options_of(method, **more)
            if dtype not in references:
                references[dtype] = unlearn(name, trained(cpu, dtype), cpu, **held, **options_of(method)).model
            with drawn_alike():
                found = unlearn(name, trained(there, dtype), there, **held, **chosen).model
            coarse = setting in ("TF32", "bf16")
            tolerance = REDRAWN.get(name, TOLERANCES[setting]) if coarse else TOLERANCES[setting]
            start = trained(cpu, dtype)
            if not name.startswith("retrain"):  # which begins elsewhere
                mask.apply(start)
            judged(f"unlearner {name}", setting, distance(found, references[dtype], start), tolerance)

        def in_a_graph(name: str = name, method: type = method) -> None:
            """Steps as a CUDA graph against eager ones, or the reason why they are eager."""
            if "execution" not in {f.name for f in dataclasses.fields(method)}:
                return
            held = {} if name == "retrain_exact" else {"mask": mask}
            done = [
                unlearn(name, trained(there, torch.float64), there, **held, **options_of(method, execution=e))
                for e in ("captured", "eager")
            ]
            how = f"float64, {done[0].fit.execution}"
            judged(f"unlearner {name}", how, distance(done[0].model, done[1].model), 1e-6, done[0].fit.why)

        def of_all(f: Callable[[str], None] = of_method, g: Callable[[], None] = in_a_graph, name: str = name) -> None:
            for setting, work in [*((s, lambda s=s: f(s)) for s in TOLERANCES), ("captured", g)]:
                try:
                    work()
                except Exception as error:
                    text = " ".join(str(error).split())[:300]
                    stage.row(f"unlearner {name}", setting, "failed", note=f"{type(error).__name__}: {text}")

        stage.tried(f"unlearner {name}", "", of_all)
    allow_tf32(False)
    for check in (
        resumed,
        from_host,
        compacted,
        rows_of_samples,
        slow_path,
        captured_alike,
        captured_refuses,
        compiled_alike,
        shadows_alike,
    ):
        stage.tried(check.__name__.replace("_", " "), "", lambda check=check: check(stage, network, judged))
    for name, method in UNLEARNERS.items():
        if "execution" in {f.name for f in dataclasses.fields(method)}:
            stage.tried(f"waits {name}", "", lambda name=name, method=method: waits(stage, network, name, method, mask))
    stage.tried("waits of training", "", lambda: waits_of_training(stage, network))


def in_shards(stage: Stage, name: str) -> None:
    """A stage's checks in processes side by side, whose rows are passed on."""
    import threading

    command = [sys.executable, __file__, "--stage", name, "--device", stage.device, "--out", str(stage.out)]
    command += ["--seconds", f"{stage.left() - 1:.0f}"] + (["--data", str(stage.images)] if stage.images else [])
    jobs = [
        subprocess.Popen([*command, "--shard", str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(SHARDS)
    ]

    def passed(job: subprocess.Popen[str], i: int) -> None:
        out, errors = job.communicate()
        sys.stdout.write("".join(line for line in out.splitlines(True) if line.startswith("ROW ")))
        sys.stdout.flush()
        if job.returncode:
            stage.row("shard", str(i), "failed", note=f"ended with {job.returncode}: {' '.join(errors.split())[-300:]}")

    threads = [threading.Thread(target=passed, args=(job, i)) for i, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resumed(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """A run that was stopped after its first epoch and goes on from its checkpoint, against one in one piece."""
    import torch

    from lacuna.training.checkpoints import Checkpoint
    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    data = tiny(stage.device)
    recipe = Recipe(epochs=3, lr=0.05, batch_size=16, schedule="constant", crop=1, flip=True)
    whole, parts = (copy.deepcopy(network).double().to(stage.device) for _ in range(2))
    fit(whole, recipe, data, seed=5)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder) / "checkpoint.safetensors", 0.0)

        def stop(line: str) -> None:
            if "epoch 2/" in line:
                raise KeyboardInterrupt

        start = copy.deepcopy(parts)
        try:
            fit(parts, recipe, data, seed=5, checkpoint=checkpoint, log=stop)
        except KeyboardInterrupt:
            parts = start
        fit(parts, recipe, data, seed=5, checkpoint=checkpoint)
    torch.cuda.synchronize() if stage.device == "cuda" else None
    judged("resumed", "float64", distance(parts, whole), 1e-9)


def from_host(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Images in host memory against images on the device."""
    from lacuna.unlearning import unlearn

    made = [
        unlearn(
            "ft", copy.deepcopy(network).double().to(stage.device), tiny(stage.device, serve), epochs=2, batch_size=16
        )
        for serve in ("host", "device")
    ]
    judged("images from the host", "float64", distance(made[0].model, made[1].model), 1e-9)


def compacted(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """A network without its removed filters against the masked one."""
    import torch

    from lacuna.fields import build
    from lacuna.pruning import PRUNERS
    from lacuna.unlearning import unlearn

    data = tiny(stage.device)
    model = copy.deepcopy(network).double().to(stage.device)
    mask = build(PRUNERS["filter_l2"], {}).find_mask(model, "0.50", data, seed=0)
    mask.apply(model)
    a, b = (unlearn("ft", model, data, mask=mask, compact=c, epochs=2, batch_size=16).model for c in (True, False))
    # by the answers: weights that read a removed channel decay in the one and are not there in the other
    x, _ = next(data.plain_batches("test", 20, torch.float64))
    with torch.no_grad():
        small, whole = a(x), b(x)
    judged("compacted", "float64", float((small - whole).norm() / whole.norm()), 1e-9)


def rows_of_samples(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Gradients of single samples against a loop."""
    import torch
    from torch.nn.functional import cross_entropy

    from lacuna.gradients.whole import trained, unmasked
    from lacuna.unlearning.methods.iu import Span

    data = tiny(stage.device)
    model = copy.deepcopy(network).double().to(stage.device).eval()
    index = data.index("retain")
    span = Span(model, data, unmasked(trained(model), None))
    found = torch.cat([torch.stack([t.flatten() for t in [row]]) for row in span.rows(index)])
    x, y = next(data.plain_batches("retain", len(index), torch.float64))
    rows = []
    for i in range(len(index)):
        loss = cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        rows.append(
            span.flat(
                dict(
                    zip(
                        dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters())), strict=True
                    )
                )
            )
        )
    looped = torch.stack(rows)
    judged("gradients of single samples", "float64", float((found - looped).norm() / looped.norm()), 1e-9)


def slow_path(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Single-sample gradients of an attention network, which go by vmap."""
    from lacuna.unlearning import unlearn

    options, size = SMALL["swin_t"]
    swin = small_network("swin_t", **options).double()
    with drawn_alike():
        made = [
            unlearn("ssd", copy.deepcopy(swin).to(d), tiny(d, size=size), alpha=1.0).model
            for d in (stage.device, "cpu")
        ]
    judged("slow path", "swin_t, ssd, float64", distance(*made), 1e-6)


def captured_alike(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """50 steps in a CUDA graph against 50 eager ones: the losses, in single precision, and the weights in double."""
    import torch

    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    if stage.device != "cuda":
        stage.row("captured", "50 steps", note="needs CUDA")
        return
    data = tiny(stage.device)
    options: dict[str, Any] = {"epochs": 50, "lr": 0.01, "batch_size": 64, "schedule": "cosine", "crop": 1}
    for precision, dtype, tolerance in (("fp32_strict", torch.float32, 1e-5), ("fp32", torch.float64, 1e-9)):
        losses = {}
        for execution in ("captured", "eager"):
            model = copy.deepcopy(network).to(stage.device, dtype)
            recipe = Recipe(precision=precision, execution=execution, **options)  # type: ignore[arg-type]
            run = fit(model, recipe, data, seed=3)
            losses[execution] = torch.tensor([row["loss"] for row in run.history], dtype=torch.float64)
            if execution == "captured" and run.execution != "captured":
                raise RuntimeError(f"steps are {run.execution}: {run.why}")
        apart = float(((losses["captured"] - losses["eager"]).abs() / losses["eager"].abs()).max())
        judged("captured", f"losses of 50 steps, {dtype}".replace("torch.", ""), apart, tolerance)


def compiled_alike(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """The forward pass by torch.compile against the eager one."""
    import torch

    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    if stage.device != "cuda":
        stage.row("compiled", "8 steps", note="needs CUDA")
        return
    models = []
    for execution in ("compiled", "eager"):
        models.append(copy.deepcopy(network).to(stage.device, torch.float64))
        recipe = Recipe(epochs=2, lr=0.01, batch_size=16, schedule="constant", crop=1, execution=execution)  # type: ignore[arg-type]
        run = fit(models[-1], recipe, tiny(stage.device), seed=3)
        if execution == "compiled" and run.execution != "compiled":
            raise RuntimeError(f"steps are {run.execution} ({run.why})")
    judged("compiled", "float64, 8 steps", distance(*models, network), 1e-6)


def captured_refuses(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Networks that no graph can hold run eager, to the same weights; one with dropout is captured."""
    import numpy as np
    from torch import nn

    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    class Waits(nn.Module):
        def __init__(self, inner: nn.Module):
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            return self.inner(x) * (1.0 if float(x.sum().detach()) < 1e30 else 2.0)

    class Draws(Waits):
        def forward(self, x: Any) -> Any:
            return self.inner(x) * float(np.random.default_rng(np.random.randint(2**31)).normal(1, 0.1))  # noqa: NPY002

    class Counts(Waits):
        step = 0

        def forward(self, x: Any) -> Any:
            self.step += self.training
            return self.inner(x) * (1 + 0.1 * (self.step % 3))

    class Drops(Waits):
        def forward(self, x: Any) -> Any:
            return nn.functional.dropout(self.inner(x), 0.3, self.training)

    data = tiny(stage.device)
    options: dict[str, Any] = {"epochs": 4, "lr": 0.01, "batch_size": 16, "schedule": "constant", "crop": 1}
    for kind, expected in ((Waits, "eager"), (Draws, "eager"), (Counts, "eager"), (Drops, "captured")):
        models = []
        for execution in ("captured", "eager"):
            model = kind(copy.deepcopy(network)).double().to(stage.device)
            run = fit(model, Recipe(execution=execution, **options), data, seed=4)  # type: ignore[arg-type]
            models.append(model)
            if execution == "captured":
                how = f"{kind.__name__}: {run.execution}"
                note = run.why
                if stage.device == "cuda" and run.execution != expected:
                    raise RuntimeError(f"{kind.__name__}: steps are {run.execution} ({run.why}), not {expected}")
        judged("captured", how, distance(*models), 1e-9, note)


def shadows_alike(stage: Stage, network: Any, judged: Callable[..., None]) -> None:
    """Shadow models of the population attacks, trained on the device and on the CPU."""
    import torch

    from lacuna.procedures.shadows import answers, trained
    from lacuna.training.recipe import Recipe

    recipe = Recipe(epochs=2, lr=0.01, batch_size=16, schedule="constant", crop=1, rewind_epoch=1)
    models, told = [], []
    for device in (stage.device, "cpu"):
        models.append(copy.deepcopy(network).double().to(device))
        with drawn_alike():
            trained(models[-1], recipe, tiny(device), seed=6)
        told.append(torch.from_numpy(answers(models[-1], tiny(device), "shadow")["phi/forget"]))
    judged("shadow", "float64", distance(*models), 1e-6)
    judged("shadow", "its answers", float((told[0] - told[1]).norm() / told[1].norm()), 1e-5)


def counted_waits(stage: Stage, work: Callable[[], Any]) -> tuple[int, str]:
    """How often the host waits for the device while `work` runs, and at which lines of ours."""
    import traceback
    import warnings

    import torch

    places: list[str] = []

    def heard(message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
        if "synchroniz" in str(message):
            ours = [f for f in traceback.extract_stack() if "/lacuna/" in f.filename]
            places.append(f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else f"{filename}:{lineno}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = heard
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return len(places), ", ".join(f"{place} × {places.count(place)}" for place in dict.fromkeys(places))


def waits(stage: Stage, network: Any, name: str, method: type, mask: Any) -> None:
    """Host waits of a method, between an epoch more and an epoch less: what one epoch costs."""
    from lacuna.unlearning import unlearn

    if stage.device != "cuda":
        return
    held = {} if name == "retrain_exact" else {"mask": mask}
    found: list[tuple[int, str]] = []
    data = tiny(stage.device)
    data = dataclasses.replace(data, parts={k: v for k, v in data.parts.items() if k != "val"})
    for epochs in (2, 2, 3):  # the first one warms up
        options = options_of(method, execution="eager") | {"epochs": epochs}
        model = copy.deepcopy(network).to(stage.device)
        found.append(counted_waits(stage, lambda m=model, o=options: unlearn(name, m, data, **held, **o)))
    _, (fewer, _), (more, where) = found
    stage.row(f"waits {name}", "of an epoch more", more - fewer, "waits", where[:400])


def waits_of_training(stage: Stage, network: Any) -> None:
    """Host waits of an epoch of training: one, the look at its loss at the end."""
    from lacuna.training.loop import fit
    from lacuna.training.recipe import Recipe

    if stage.device != "cuda":
        stage.row("waits of training", "an epoch more", note="needs CUDA")
        return
    data = tiny(stage.device)
    data = dataclasses.replace(data, parts={k: v for k, v in data.parts.items() if k != "val"})
    for execution in ("eager", "captured"):
        found: list[tuple[int, str]] = []
        for epochs in (5, 5, 6):  # the first one warms up
            recipe = Recipe(epochs=epochs, lr=0.05, batch_size=16, schedule="constant", crop=1, execution=execution)  # type: ignore[arg-type]
            model = copy.deepcopy(network).to(stage.device)
            found.append(counted_waits(stage, lambda m=model, r=recipe: fit(m, r, data, seed=0)))
        _, (fewer, _), (more, where) = found
        stage.row("waits of training", f"an epoch of 4 steps more, {execution}", more - fewer, "waits", where[:400])


# ---- steps ----------------------------------------------------------------------------------------------------------


def steps(stage: Stage) -> None:
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.cost import macs
    from lacuna.models.init import reinitialise

    cuda = stage.device == "cuda"
    torch.backends.cudnn.benchmark = True
    side = 1024 if stage.toy else 8192
    a = torch.randn(side, side, device=stage.device, dtype=torch.bfloat16)
    ceiling = 2 * side**3 / timed(lambda: a @ a, stage.device, 0.2)
    names = {"resnet18": {}, "resnet20": {}, "vgg16_bn": {}, "vit": {}} if not stage.toy else {"resnet8": {"width": 4}}
    batches = (256, 1024) if not stage.toy else (32,)
    modes = ("eager", "captured") if cuda else ("eager",)
    # in the order of what they tell, for the time may not do for all
    every = [
        (name, batch, precision, mode)
        for batch in batches
        for name in names
        for precision in ("bf16", "TF32", "fp32")
        for mode in modes
        if precision != "fp32" or batch == batches[0]
    ]
    every += [(next(iter(names)), batches[0], "bf16", "compiled")] if cuda else []
    models: dict[str, Any] = {}
    for i, (name, batch, precision, mode) in enumerate(every):
        if i == min(6, len(every) - 1):
            stage.tried("loop", "", lambda: whole_loop(stage))
        if name not in models:
            models[name] = build(MODELS[name], names[name]).build(10, 3)
            reinitialise(models[name], 0)
            models[name] = models[name].to(stage.device).train()

        def of_step(name: str = name, batch: int = batch, precision: str = precision, mode: str = mode) -> None:
            allow_tf32(precision == "TF32")
            model = copy.deepcopy(models[name])
            step = step_of(model, batch, precision == "bf16", mode, stage.device)
            seconds = timed(step, stage.device, 0.05 if stage.toy else 0.3)
            share = batch * 6 * macs(model, (3, 32, 32)) / seconds / ceiling
            stage.row(
                f"step {name}",
                f"batch {batch}, {precision}, {mode}",
                round(batch / seconds),
                "images/s",
                f"{100 * share:.1f} % of the measured bf16 product",
            )

        stage.tried(f"step {name}", f"batch {batch}, {precision}, {mode}", of_step)


def step_of(model: Any, batch: int, half: bool, mode: str, device: str) -> Callable[[], Any]:
    """A training step on fixed images: forward, loss, backward, SGD as lacuna writes it."""
    import torch
    from torch.nn.functional import cross_entropy

    from lacuna.training.sgd import Sgd

    x = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), device=device)
    optimizer = Sgd(list(model.parameters()), 0.9, 5e-4)
    forward = torch.compile(model) if mode == "compiled" else model

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step(0.01)

    if mode != "captured":
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def whole_loop(stage: Stage) -> None:
    """`fit` itself on images in memory, augmented: images per second, and what the profiler sees."""
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.init import reinitialise
    from lacuna.training.loop import fit
    from lacuna.training.recipes import RECIPES

    cuda, n = stage.device == "cuda", 256 if stage.toy else 20_000
    name, options = ("resnet8", {"width": 4}) if stage.toy else ("resnet18", {})
    data = random_images(n, stage.device)
    executions = ("captured", "eager") if cuda else ("eager",)
    for precision, execution in [(p, e) for p in ("bf16", "fp32") for e in executions]:
        model = build(MODELS[name], options).build(10, 3)
        reinitialise(model, 0)
        model = model.to(stage.device)
        asked = {"epochs": 2, "batch_size": 256, "precision": precision, "rewind_epoch": 0, "execution": execution}
        run = fit(model, build(RECIPES["sgd"], asked), data, seed=0)
        # the second epoch: in the first, kernels are chosen and the graph is made
        seconds = run.history[1]["seconds"] - run.history[0]["seconds"]
        told = f"augmented; {run.execution} {run.why}".strip()
        stage.row(f"loop {name}", f"batch 256, {precision}, {execution}", round(n / seconds), "images/s", told)
    if not cuda:
        return
    from torch.profiler import ProfilerActivity, profile

    short = random_images(256 * 10, stage.device)
    asked = {"epochs": 1, "batch_size": 256, "precision": "bf16", "rewind_epoch": 0, "execution": "eager"}
    recipe = build(RECIPES["sgd"], asked)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        start = time.perf_counter()
        fit(model, recipe, short, seed=0)
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    events = seen.key_averages()
    kernels = sum(e.self_device_time_total for e in events) / 1e6
    waits = sum(e.count for e in events if "Synchronize" in e.key)
    launches = sum(e.count for e in events if "LaunchKernel" in e.key)
    stage.row(
        f"profile {name}",
        "10 eager steps, bf16",
        round(kernels / wall, 3),
        "share of time in kernels",
        f"{launches / 10:.0f} launches and {waits / 10:.1f} waits a step",
    )
    for event in sorted(events, key=lambda e: -e.self_device_time_total)[:8]:
        stage.row(
            f"profile {name}",
            event.key[:80],
            round(event.self_device_time_total / 1e3, 2),
            "ms of 10 steps",
            f"{event.count} times",
        )


def random_images(n: int, device: str, size: int = 32) -> Any:
    import numpy as np

    from lacuna.data.batches import Augment, UnlearningData

    rng = np.random.default_rng(0)
    arrays = {"x": rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8), "y": rng.integers(0, 10, n)}
    meta = {"classes": 10, "mean": [0.5] * 3, "std": [0.25] * 3}
    return UnlearningData.from_arrays(arrays, meta, {"retain": np.arange(n)}, device, augment=Augment(4, True))


# ---- data -----------------------------------------------------------------------------------------------------------


def data(stage: Stage) -> None:
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.inference import logits

    n = 512 if stage.toy else 50_000
    source = random_images(n, stage.device)

    def batches(images: Any) -> None:
        for _ in images.train_batches("retain", 256, 0, 0, torch.float32):
            pass
        if stage.device == "cuda":
            torch.cuda.synchronize()

    for serve in ("device", "host"):

        def of_path(serve: str = serve) -> None:
            from lacuna.data.batches import HostImages

            images = (
                source
                if serve == "device"
                else dataclasses.replace(source, images=HostImages(source.images.cpu(), source.device))
            )
            batches(images)
            start = time.perf_counter()
            batches(images)
            stage.row(
                "batches", f"images on the {serve}, crop and flip", round(n / (time.perf_counter() - start)), "images/s"
            )

        stage.tried("batches", serve, of_path)

    def of_prediction() -> None:
        model = build(MODELS["resnet8" if stage.toy else "resnet18"], {}).build(10, 3).to(stage.device)
        logits(model, source, "retain")
        start = time.perf_counter()
        logits(model, source, "retain")
        stage.row(
            "prediction", "resnet8" if stage.toy else "resnet18", round(n / (time.perf_counter() - start)), "images/s"
        )

    stage.tried("prediction", "", of_prediction)

    def of_samples() -> None:
        command = [sys.executable, str(ROOT / "bench" / "second_order.py"), "--device", stage.device]
        command += (
            ["--samples", "8", "--repeat", "1"]
            if stage.toy
            else ["--samples", "256", "--of-loops", "16", "--repeat", "2"]
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(5.0, stage.left()), check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
        report = json.loads(done.stdout)
        for what, times in report["times_as_fast"].items():
            stage.row("gradients of single samples", what, times, "times as fast")
        for what, difference in report["largest_difference"].items():
            stage.row("gradients of single samples", what, difference, "largest relative difference")

    stage.tried("gradients of single samples", "", of_samples)

    def of_cell() -> None:
        command = [sys.executable, str(ROOT / "bench" / "evaluation.py")]
        if stage.toy:
            return
        start = time.perf_counter()
        try:
            subprocess.run(command, capture_output=True, timeout=max(5.0, stage.left()), check=True)
        except subprocess.TimeoutExpired as error:
            stage.row("evaluation", "one cell", f"over {error.timeout:.0f}", "s", "no time left")
            return
        stage.row(
            "evaluation",
            "one cell of CIFAR-10's size, CPU, with the plain SVC",
            round(time.perf_counter() - start, 1),
            "s",
        )

    stage.tried("evaluation", "", of_cell)


# ---- packing --------------------------------------------------------------------------------------------------------


def packing(stage: Stage) -> None:
    networks = ("resnet20", "resnet18") if not stage.toy else ("resnet8",)
    counts = (1, 2, 4, 8) if not stage.toy else (1, 2)
    seconds = 1.0 if stage.toy else 2.0
    for name in networks:
        for served in (False, True) if stage.device == "cuda" else (False,):
            if stage.left() < 15:
                stage.row(f"packing {name}", "MPS" if served else "", note="no time left")
                continue
            with tempfile.TemporaryDirectory() as folder, mps(served, folder) as environment:
                if environment is None:
                    stage.row("packing", "MPS", "failed", note="nvidia-cuda-mps-control did not start")
                    continue
                for count, rates in together(name, counts, seconds, stage, environment):
                    setting = f"{count} processes" + (", MPS" if served else "")
                    ended = f"{len(rates)} of {count} ended well"
                    stage.row(f"packing {name}", setting, round(sum(rates)), "images/s together", ended)


class mps:
    """The multi-process service of our own for as long as the block lasts; None where it does not start."""

    def __init__(self, served: bool, folder: str):
        self.served = served
        self.environment = dict(os.environ)
        if served:
            self.environment |= {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}

    def __enter__(self) -> dict[str, str] | None:
        if not self.served:
            return self.environment
        try:
            done = subprocess.run(["nvidia-cuda-mps-control", "-d"], env=self.environment, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return None if done.returncode else self.environment

    def __exit__(self, *error: object) -> None:
        if self.served and shutil.which("nvidia-cuda-mps-control"):
            subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", env=self.environment, timeout=30, check=False)


def together(
    name: str, counts: tuple[int, ...], seconds: float, stage: Stage, environment: dict[str, str]
) -> Iterator[tuple[int, list[float]]]:
    """Images per second of each of so many processes that train at the same time; those not in a round wait."""
    command = [sys.executable, __file__, "--worker", name, "--device", stage.device, "--seconds", str(seconds)]
    jobs = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(max(counts))
    ]
    try:
        ready = [job for job in jobs if said(job).startswith("ready")]
        for count in counts:
            if stage.left() < seconds + 3:
                return
            round_of = ready[:count]
            for job in round_of:
                assert job.stdin is not None
                job.stdin.write("go\n")
                job.stdin.flush()
            yield count, [float(told) for job in round_of if (told := said(job))]
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def said(job: subprocess.Popen[str]) -> str:
    """The next line of a worker; empty once it is gone."""
    assert job.stdout is not None
    return job.stdout.readline().strip()


def worker(name: str, device: str, seconds: float) -> None:
    """Train for so many seconds at each line that comes in; prints images per second."""
    import torch

    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.init import reinitialise
    from lacuna.training.loop import fit
    from lacuna.training.recipes import RECIPES

    torch.set_num_threads(1)
    model = build(MODELS[name], {"width": 4} if name == "resnet8" else {}).build(10, 3)
    reinitialise(model, 0)
    model = model.to(device)
    n = 256 if name == "resnet8" else 2560
    images = random_images(n, device)
    recipe = build(RECIPES["sgd"], {"epochs": 1, "batch_size": 256, "precision": "auto", "rewind_epoch": 0})
    fit(model, recipe, images, seed=0)
    print("ready", flush=True)
    for _ in sys.stdin:
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            fit(model, recipe, images, seed=done)
            if device == "cuda":
                torch.cuda.synchronize()
            done += n
        print(done / (time.perf_counter() - start), flush=True)


# ---- fast -----------------------------------------------------------------------------------------------------------


def fast(stage: Stage) -> None:
    import numpy as np

    from lacuna.data.batches import Augment, UnlearningData
    from lacuna.fields import build
    from lacuna.models import MODELS
    from lacuna.models.inference import accuracy
    from lacuna.models.init import reinitialise
    from lacuna.training.loop import fit
    from lacuna.training.recipes import RECIPES

    if stage.images is None and not stage.toy:
        stage.row("fast", note="no images: --data IMAGES.npz")
        return
    if stage.toy:
        source, epochs, model, name = tiny(stage.device), 2, small_network("resnet8", width=4), "resnet8"
    else:
        assert stage.images is not None
        stored = np.load(stage.images)
        x = np.concatenate([stored["x_train"], stored["x_test"]])
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.shape[-1] == 3 else x
        y = np.concatenate([stored["y_train"], stored["y_test"]]).astype(np.int64)
        n = len(stored["x_train"])
        order = np.random.default_rng(0).permutation(n)
        parts = {"retain": order[n // 10 :], "held_out": order[: n // 10], "test": np.arange(n, len(x))}
        pixels = x[order[n // 10 :]].astype(np.float32) / 255
        meta = {"classes": 10, "mean": pixels.mean((0, 2, 3)).tolist(), "std": pixels.std((0, 2, 3)).tolist()}
        source = UnlearningData.from_arrays({"x": x, "y": y}, meta, parts, stage.device, augment=Augment(4, True))
        epochs, name = 24, "resnet18"
        model = build(MODELS[name], {}).build(10, 3)
    reinitialise(model, 0)
    model = model.to(stage.device)
    recipe = build(RECIPES["fast"], {"epochs": epochs} | ({"batch_size": 16} if stage.toy else {}))
    run = fit(model, recipe, source, seed=0)
    images = len(source.parts["retain"]) * epochs
    stage.row(f"fast {name}", f"{epochs} epochs of {len(source.parts['retain'])} images", round(run.seconds, 2), "s")
    stage.row(f"fast {name}", "loop", round(images / run.seconds), "images/s", f"{run.execution} {run.why}".strip())
    stage.row(f"fast {name}", "test accuracy", round(accuracy(model, source, "test"), 2), "%")
    stage.row(f"fast {name}", "accuracy on the training images", round(accuracy(model, source, "retain"), 2), "%")
    course = ", ".join(f"{row['loss']:.3f}" for row in run.history)
    stage.row(f"fast {name}", "loss", round(run.history[-1]["loss"], 4), note=f"by epoch: {course}")
    stage.row(f"fast {name}", "182 epochs, extrapolated", round(run.seconds / epochs * 182 / 60, 2), "min")
    stage.tried("plain PyTorch", "", lambda: plain_pytorch(stage, source, recipe))


def plain_pytorch(stage: Stage, source: Any, recipe: Any) -> None:
    """The same training without a line of lacuna's: torchvision's resnet18, torch.optim, crops by quarter batch.

    What these images allow: a test accuracy far from this one would be lacuna's fault.
    """
    import torch
    import torchvision
    from torch import nn

    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=source.classes)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    network = network.to(stage.device, memory_format=torch.channels_last)
    x, y = source.images, source.labels
    train, test = source.parts["retain"], source.parts["test"]
    mean, std = (torch.tensor(v, device=x.device).reshape(1, -1, 1, 1) for v in (source.mean, source.std))
    per_epoch = -(-len(train) // recipe.batch_size)
    steps, size = recipe.epochs * per_epoch, x.shape[-1]
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=5e-4)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 0.5) / steps / 0.2, (1 - (s + 0.5) / steps) / 0.8)
    )
    start = time.perf_counter()
    for _ in range(recipe.epochs):
        for some in train[torch.randperm(len(train), device=x.device)].tensor_split(per_epoch):
            padded = nn.functional.pad(x[some], (4,) * 4)
            moved = [
                part[:, :, i : i + size, j : j + size]
                for part, (i, j) in zip(padded.tensor_split(4), torch.randint(9, (4, 2)).tolist(), strict=True)
            ]
            images = torch.cat(moved)
            images = torch.where(torch.rand(len(some), 1, 1, 1, device=x.device) < 0.5, images.flip(3), images)
            images = ((images.float() / 255 - mean) / std).to(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with torch.autocast(stage.device, torch.bfloat16):
                loss = nn.functional.cross_entropy(network(images), y[some])
            loss.backward()
            optimizer.step()
            rate.step()
    network.eval()

    def accuracy(index: Any) -> float:
        with torch.no_grad():
            right = [(network((x[b].float() / 255 - mean) / std).argmax(1) == y[b]).float() for b in index.split(1000)]
        return round(100 * float(torch.cat(right).mean()), 2)

    setting = "torchvision's resnet18, the same recipe"
    stage.row("plain PyTorch", setting, round(time.perf_counter() - start, 2), "s")
    stage.row("plain PyTorch", "test accuracy", accuracy(test), "%")
    stage.row("plain PyTorch", "accuracy on the training images", accuracy(train), "%")


# ---- table ----------------------------------------------------------------------------------------------------------


def table(stage: Stage) -> None:
    """One seed more of the published table through snakemake; the metrics of its finished cells come back."""
    try:
        import snakemake  # noqa: F401
        import yaml
    except ImportError:
        stage.row("table", note="snakemake is missing: --wheels FOLDER")
        return
    if stage.images is None and not stage.toy:
        stage.row("table", note="no images: --data IMAGES.npz")
        return
    folder = Path(tempfile.mkdtemp(prefix="table-"))
    shutil.copytree(
        ROOT, folder / "lacuna", ignore=shutil.ignore_patterns(".git", ".venv", ".gpu", "results", ".snakemake")
    )
    seed = next_seed()
    project = folder / "lacuna"
    if stage.images is not None:
        (project / "data").mkdir(exist_ok=True)
        shutil.copy(stage.images, project / "data" / "cifar10_full.npz")
    name = "jia2023_table3_fast"
    text = (project / f"config/experiments/{name}.yaml").read_text(encoding="utf-8")
    chosen = yaml.safe_load(text.replace("seeds: [0]", f"seeds: [{seed}]"))
    if stage.toy:
        chosen = yaml.safe_load((project / "config/config.yaml").read_text(encoding="utf-8"))
        chosen["grid"] |= {"sparsities": ["dense"], "scenarios": {"class": {"forget_class": 3}}}
        chosen["grid"]["unlearners"] = {k: {} for k in ("original", "retrain")} | {
            "ft": {"epochs": 1, "batch_size": 64}
        }
        chosen["grid"]["recipes"]["short"]["epochs"] = 3
        chosen |= {"name": name, "device": "cpu", "metrics": ["UA", "RA", "TA", "MIA", "avg_gap"]}
    # what fits in any case first, so that a run whose time ends has a table; then all of it
    first = copy.deepcopy(chosen) | {"name": f"{name}_first"}
    scenario = next(iter(chosen["grid"]["scenarios"]))
    first["grid"]["scenarios"] = {scenario: chosen["grid"]["scenarios"][scenario]}
    for later in ("retrain_b", "retrain_exact", "retrain_exact_b", "scrub"):
        first["grid"]["unlearners"].pop(later, None)
    start, ended = time.perf_counter(), []
    (folder / "mps").mkdir()
    with open(folder / "log", "w", encoding="utf-8") as log, mps(stage.device == "cuda", str(folder / "mps")) as shared:
        for part in (first, chosen) if not stage.toy else (chosen,):
            file = project / f"config/experiments/now_{part['name']}.yaml"
            file.write_text(yaml.safe_dump(part, sort_keys=False), encoding="utf-8")
            # jobs share the GPU
            command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--keep-going"]
            command += ["--cores", "2" if stage.toy else "12", "--resources", "gpu=8", "--configfile", str(file)]
            job = subprocess.Popen(
                command, cwd=project, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=shared
            )
            try:
                job.wait(timeout=max(10.0, stage.left() - 10))
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGTERM)
                job.wait(timeout=30)
            ended.append(f"{part['name']}: rc {job.returncode} after {time.perf_counter() - start:.0f} s")
            if job.returncode:
                break
    cells = []
    for path in sorted(project.glob("results/cells/**/metrics/*.json")):
        read = json.loads(path.read_text(encoding="utf-8"))
        cells.append({"cell": read.get("cell"), "metrics": read.get("metrics")})
        for metric, value in (read.get("metrics") or {}).items():
            if metric.split("/")[0] in ("UA", "RA", "TA", "MIA", "avg_gap", "time_s"):
                stage.row("table", "/".join(map(str, (read.get("cell") or {}).values())), value, metric)
    models = len(list(project.glob("results/**/model.safetensors")))
    said_last = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    tail = [line for line in said_last if "log" not in line]
    stage.row(
        "table",
        f"seed {seed}",
        len(cells) or "failed",
        "cells",
        f"{models} models; {'; '.join(ended)}; {' | '.join(tail)[:300]}",
    )
    for table in project.glob("results/tables/*/*.csv"):
        kept = stage.out / "tables" / table.parent.name
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(table, kept / table.name)
    for job_file in sorted(project.glob("results/**/job.json")):
        told = json.loads(job_file.read_text(encoding="utf-8"))
        place = "/".join(map(str, (told.get("cell") or {}).values()))
        stage.row("table job", place, round(told.get("seconds") or 0, 2), "s", str(told.get("execution") or ""))
    shutil.copy(folder / "log", stage.out / "table.log")
    (stage.out / "cells.json").write_text(json.dumps({"seed": seed, "cells": cells}), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)


def next_seed() -> int:
    """The first seed that no committed row is of."""
    path = COMMITTED / "table.csv"
    if not path.exists():
        return 0
    with open(path, encoding="utf-8", newline="") as file:
        done = {
            row["setting"].removeprefix("seed ")
            for row in csv.DictReader(file)
            if row["setting"].startswith("seed ") and row["value"] != "failed"
        }
    return next(i for i in range(1000) if str(i) not in done)


# ---- the run --------------------------------------------------------------------------------------------------------

STAGES: dict[str, Callable[[Stage], None]] = {
    "facts": facts,
    "correctness": correctness,
    "steps": steps,
    "data": data,
    "packing": packing,
    "fast": fast,
    "table": table,
}


def origin(device: str) -> dict[str, str]:
    """What every row says of where it was made; `commit` is empty outside a repository."""

    def told(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if not done.returncode else ""

    import importlib.metadata

    name, driver = platform.processor() or platform.machine(), ""
    if device == "cuda":
        name, _, driver = told("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").partition(", ")
    return {
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": os.environ.get("LACUNA_COMMIT") or told("git", "rev-parse", "HEAD"),
        "device": name,
        "driver": driver,
        "torch": importlib.metadata.version("torch"),
    }


def run(out: Path, minutes: float, names: list[str], toy: bool, device: str, images: Path | None) -> int:
    """All stages in their order, each in a process of its own; rows are written as they come."""
    out.mkdir(parents=True, exist_ok=True)
    about, end = origin(device), time.monotonic() + 60 * minutes
    told: list[dict[str, Any]] = []
    bad = 0
    for name in names:
        left = end - time.monotonic()
        seconds = REHEARSAL[name] if toy else min(left, 60 * minutes * SHARES[name])
        if seconds < 8:
            told.append({"stage": name, "note": "no time left"})
            continue
        command = [
            sys.executable,
            __file__,
            "--stage",
            name,
            "--device",
            device,
            "--seconds",
            f"{seconds:.0f}",
            "--out",
            str(out),
        ]
        command += ["--rehearse"] * toy + (["--data", str(images)] if images else [])
        start = time.monotonic()
        with open(out / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            job = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
            timer = start + seconds + 5

            def add(row: dict[str, Any], writer: Any = writer, name: str = name) -> None:
                row = about | {"stage": name} | row
                writer.writerow(row)
                told.append(row)

            for row, failed in rows_of(job, timer):
                add(row)
                file.flush()
                bad += failed
        print(f"{name}: {time.monotonic() - start:.0f} s, {sum(r.get('stage') == name for r in told)} rows", flush=True)
        (out / "run.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    failed = [
        r
        for r in told
        if r.get("value") == "failed" or str(r.get("note", "")).startswith(("over ", "another", "ended"))
    ]
    for row in failed:
        print("  ".join(str(row.get(k, "")) for k in ("stage", "name", "setting", "value", "note")))
    print(f"{len(told)} rows, {len(failed)} to look at, in {out}")
    return len(failed)


def rows_of(job: subprocess.Popen[str], until: float) -> Iterator[tuple[dict[str, Any], bool]]:
    """The rows that a stage prints, until it ends or its time is up; a bad end is a row too."""
    import threading

    timer = threading.Timer(max(1.0, until - time.monotonic()), lambda: os.killpg(job.pid, signal.SIGKILL))
    timer.start()
    errors: list[str] = []
    assert job.stdout is not None and job.stderr is not None
    reader = threading.Thread(target=lambda: errors.extend(job.stderr or ()), daemon=True)
    reader.start()
    for line in job.stdout:
        if line.startswith("ROW "):
            yield json.loads(line[4:]), False
    job.wait()
    timer.cancel()
    reader.join(5)
    if job.returncode == -signal.SIGKILL:
        yield {"name": "stage", "note": "its time was up"}, False
    elif job.returncode:
        yield (
            {
                "name": "stage",
                "value": "failed",
                "note": f"ended with {job.returncode}: {' '.join(''.join(errors[-3:]).split())[:300]}",
            },
            True,
        )


def merge(folder: Path) -> None:
    """Add the rows of a run to the committed ones; what is there stays."""
    COMMITTED.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            new = list(csv.DictReader(file))
        target = COMMITTED / path.name
        there: list[dict[str, str]] = []
        if target.exists():
            with open(target, encoding="utf-8", newline="") as file:
                there = list(csv.DictReader(file))
        # a check that had no time tells nothing
        new = [{column: row.get(column) or "" for column in COLUMNS} for row in new]
        added = [row for row in new if row not in there and row["note"] != "no time left"]
        with open(target, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(there + added)
        print(f"{target.relative_to(ROOT)}: {len(added)} rows added, {len(there)} were there")


def page() -> None:
    """docs/results/gpu.md: the newest rows of each device and stage, those of many like checks as one line."""
    lines = [
        "# On a GPU",
        "",
        "Made by `python bench/gpu.py --page` from `docs/results/gpu/*.csv`, to which each run of `bench/gpu.sh` adds",
        "its rows: the newest of each stage are here.",
        "",
    ]
    if (remarks := COMMITTED / "remarks.md").exists():
        lines += [remarks.read_text(encoding="utf-8").rstrip(), ""]
    for name in STAGES:
        path = COMMITTED / f"{name}.csv"
        if not path.exists():
            continue
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        newest = {
            device: max(r["time"] for r in rows if r["device"] == device) for device in {r["device"] for r in rows}
        }
        for device, when in sorted(newest.items()):
            chosen = [r for r in rows if r["device"] == device and r["time"] == when]
            lines += [
                f"## {name}: {device}",
                "",
                f"{when}, torch {chosen[0]['torch']}, driver {chosen[0]['driver']}, "
                f"commit `{chosen[0]['commit'][:12]}`.",
                "",
            ]
            lines += ["| | setting | value | unit | note |", "|---|---|---|---|---|"]
            lines += [
                "| " + " | ".join(r[c].replace("|", "/") for c in ("name", "setting", "value", "unit", "note")) + " |"
                for r in summed(chosen)
            ]
            lines.append("")
    (ROOT / "docs" / "results" / "gpu.md").write_text("\n".join(lines), encoding="utf-8")


def summed(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of checks that are in order as one row for each kind and setting: how many, and the largest distance."""
    alike: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    rest = []
    for row in rows:
        if row["unit"] in ("relative distance", "equal", "waits") and not row["note"].startswith(("over ", "another")):
            alike.setdefault((row["name"].partition(" ")[0], row["setting"], row["unit"]), []).append(row)
        else:
            rest.append(row)
    told = []
    for (kind, setting, unit), group in alike.items():
        values = [float(row["value"]) for row in group]
        if len(group) == 1:
            told += group
            continue
        words = {"relative distance": "largest relative distance", "equal": "equal", "waits": "most waits"}
        value = f"{min(values) if unit == 'equal' else max(values):.2g}"
        of = f"{len(group)} in order" if unit != "waits" else f"{len(group)} methods"
        told.append({"name": kind, "setting": setting, "value": value, "unit": words[unit], "note": of})
    return told + rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_rows"))
    parser.add_argument("--data", type=Path, help="x_train, y_train, x_test, y_test in an npz; CIFAR-10 or alike")
    parser.add_argument("--wheels", help="read by bench/gpu.sh")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--rehearse", action="store_true", help="toy size on the CPU; ends with 1 if a row failed")
    parser.add_argument("--merge", type=Path)
    parser.add_argument("--page", action="store_true")
    for hidden in ("--stage", "--worker", "--device"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--shard", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        worker(chosen.worker, chosen.device, chosen.seconds)
    elif chosen.stage:
        deadline = time.monotonic() + chosen.seconds
        STAGES[chosen.stage](Stage(chosen.device, chosen.rehearse, deadline, chosen.data, chosen.out, chosen.shard))
    elif chosen.merge:
        merge(chosen.merge)
    elif chosen.page:
        page()
    else:
        import torch

        device = "cpu" if chosen.rehearse or not torch.cuda.is_available() else "cuda"
        if device == "cpu" and not chosen.rehearse:
            sys.exit("gpu.py: no CUDA device; allowed: --rehearse, or a machine with one")
        unknown = [name for name in chosen.stages.split(",") if name not in STAGES]
        if unknown:
            sys.exit(f"gpu.py: --stages: '{unknown[0]}' is not known; allowed: {', '.join(STAGES)}")
        failed = run(chosen.out, chosen.minutes, chosen.stages.split(","), chosen.rehearse, device, chosen.data)
        sys.exit(1 if chosen.rehearse and failed else 0)


if __name__ == "__main__":
    main()
