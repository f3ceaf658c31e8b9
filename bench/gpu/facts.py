"""Device, driver, torch; bandwidth of a copy, rate of matrix products."""

from __future__ import annotations

import os
import platform

from bench.gpu.stage import Stage, allow_tf32, timed


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
