"""Every model, pruner and unlearner against the CPU in float64."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

from bench.gpu.captured import captured_alike, captured_refuses, compiled_alike
from bench.gpu.checks import compacted, from_host, resumed, rows_of_samples, shadows_alike, slow_path
from bench.gpu.networks import REDRAWN, SMALL, TOLERANCES, distance, drawn_alike, options_of, small_network, tiny
from bench.gpu.stage import Stage, allow_tf32, in_shards
from bench.gpu.waits import waits, waits_of_training


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
