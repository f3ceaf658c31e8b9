"""What a GPU does with lacuna: right or not, how fast, and one seed of a published table; one command, nine minutes.

Stages, each in a process of its own with a share of the time, so that a crash or a hang ends that stage alone:

  facts         device, driver, torch; bandwidth of a copy, rate of matrix products
  correctness   every model, pruner, unlearner against the CPU in float64; masks, resume, images on the host, compaction
  steps         images per second of a training step: eager, captured in a CUDA graph, compiled; fp32, TF32, bf16
  data          batches alone; gradients of single samples against a loop; prediction
  packing       1, 2, 4, 8 processes on one GPU, with and without MPS
  cells         small cells unforked, forked and in a worker (needs snakemake); four at once, with and without MPS
  fast          recipe `fast`, resnet18, all images: seconds and test accuracy
  table         what time is left: config/experiments/jia2023_table3_fast.yaml through snakemake, one seed more

Each row says stage, name, setting, value, unit, note, the seconds of its stage at which it came (`at`), and the time,
commit, device, driver and torch it was made by.

    python -m bench.gpu --out FOLDER [--data IMAGES.npz] [--minutes 9]      what bench/gpu.sh runs
    python -m bench.gpu --out FOLDER --rehearse                             every stage at toy size on the CPU
    python -m bench.gpu --merge FOLDER                                      adds the rows to docs/results/gpu/*.csv
    python -m bench.gpu --page                                              docs/results/gpu.md from these rows
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.gpu.cells import cells
from bench.gpu.correctness import correctness
from bench.gpu.data import data
from bench.gpu.facts import facts
from bench.gpu.fast import fast
from bench.gpu.packing import packing, worker
from bench.gpu.places import ROOT
from bench.gpu.rows import merge, page
from bench.gpu.run import run
from bench.gpu.stage import Stage
from bench.gpu.steps import steps
from bench.gpu.table import table

STAGES: dict[str, Callable[[Stage], None]] = {
    "facts": facts,
    "correctness": correctness,
    "steps": steps,
    "data": data,
    "packing": packing,
    "cells": cells,
    "fast": fast,
    "table": table,
}


def main() -> None:
    # the stages' own processes find this package and lacuna, wherever they are started
    found = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"], sys.path[:0] = os.pathsep.join(found), [str(ROOT / "src")]
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
            sys.exit("bench.gpu: no CUDA device; allowed: --rehearse, or a machine with one")
        unknown = [name for name in chosen.stages.split(",") if name not in STAGES]
        if unknown:
            sys.exit(f"bench.gpu: --stages: '{unknown[0]}' is not known; allowed: {', '.join(STAGES)}")
        failed = run(chosen.out, chosen.minutes, chosen.stages.split(","), chosen.rehearse, device, chosen.data)
        sys.exit(1 if chosen.rehearse and failed else 0)


if __name__ == "__main__":
    main()
