"""SynFlow on resnet18, 32×32: seconds for one mask, peak memory, and what is left of each layer. Prints JSON.

    python bench/synflow.py [--sparsity 0.95] [--threads 2] [--device cpu]

wall_seconds is what a user waits; cpu_seconds, of all threads together, is what counts on a machine with other work.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time

import numpy as np
import torch

from lacuna.data.batches import UnlearningData
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sparsity", default="0.95")
    arguments.add_argument("--rounds", type=int, default=100)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--device", default="cpu")
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    # SynFlow reads their shape alone
    images = {"x": np.zeros((1, 3, 32, 32), np.uint8), "y": np.zeros(1, np.int64)}
    meta = {"classes": 10, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    data = UnlearningData.from_arrays(images, meta, {"retain": np.arange(1)}, device=device)
    model = build(MODELS["resnet18"], {}).build(10, 3).to(device)
    reinitialise(model, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    mask = build(PRUNERS["synflow"], {"rounds": chosen.rounds}).find_mask(model, chosen.sparsity, data, seed=0)
    for layer in mask.collapsed():
        print(f"warning: layer collapse, no weight of '{layer}' is left at {chosen.sparsity}", file=sys.stderr)
    found = {
        "sparsity": mask.sparsity,
        "rounds": chosen.rounds,
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "memory_before_mb": round(before),
        "threads": chosen.threads,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "collapsed": mask.collapsed(),
        "sparsity_per_layer": {name: round(s, 6) for name, s in mask.sparsity_per_layer().items()},
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
