"""What taking removed filters out saves: filter_l2 on a ResNet of 32×32 images, masked against compacted, one thread.

CPU seconds (not wall-clock) of the inference of 1,000 images in evaluation mode, and of one epoch of fine-tuning on
them; parameters and multiply-accumulates of one image. Random images and weights: none of it depends on their values.
Prints JSON.

    python bench/compaction.py > compaction.json                       resnet20, a minute
    python bench/compaction.py --model resnet18 --images 200 > ...     200 images, given per 1,000
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import torch

from lacuna.data.batches import UnlearningData
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.cost import macs, parameters
from lacuna.models.inference import logits
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.sparsity.compaction import Compaction
from lacuna.unlearning import unlearn

SHAPE = (3, 32, 32)
SPARSITIES = ("0.50", "0.70", "0.90")
BATCH = 100


def cpu_seconds(what: Callable[[], Any], repeat: int) -> float:
    """The least of several runs, after one to warm up: what else the machine does can only add."""
    what()
    taken = []
    for _ in range(repeat):
        start = time.process_time()
        what()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="resnet20", choices=["resnet8", "resnet20", "resnet18"])
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--repeat", type=int, default=2)
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(chosen.images, *SHAPE, generator=generator)
    y = torch.randint(10, (chosen.images,), generator=generator)
    data = UnlearningData.from_tensors(classes=10, retain=(x, y), forget=(x[:BATCH], y[:BATCH]))
    model = build(MODELS[chosen.model], {}).build(10, SHAPE[0])
    reinitialise(model, 0)
    scale = 1000 / chosen.images

    def measured(network: torch.nn.Module, mask: Any, compact: bool) -> dict[str, float]:
        options: dict[str, Any] = {"mask": mask, "compact": compact, "epochs": 1, "batch_size": BATCH}
        inference = cpu_seconds(lambda: logits(network, data, "retain", BATCH), chosen.repeat)
        # the method's own share, without making the small network, as `time_s` has it
        epoch = cpu_seconds(lambda: unlearn("ft", model, data, **options), chosen.repeat)
        extra = cpu_seconds(lambda: Compaction.of(model, mask, SHAPE), 1) if compact else 0.0
        return {
            "parameters": parameters(network),
            "macs": macs(network, SHAPE),
            "inference_s_per_1000": round(scale * inference, 4),
            "ft_epoch_s_per_1000": round(scale * (epoch - extra), 4),
            "compacting_s": round(extra, 4),
        }

    rows = []
    for sparsity in SPARSITIES:
        mask = build(PRUNERS["filter_l2"], {}).find_mask(model, sparsity, data, seed=0)
        mask.apply(model)
        masked = measured(model, mask, False)
        small = measured(Compaction.of(model, mask, SHAPE).network, mask, True)
        ratio = {k: round(masked[k] / small[k], 2) for k in masked if k != "compacting_s"}
        rows.append({"sparsity": sparsity, "masked": masked, "compacted": small, "masked_over_compacted": ratio})
        reinitialise(model, 0)
    about = {"model": chosen.model, "images": chosen.images, "threads": 1, "torch": torch.__version__}
    print(json.dumps(about | {"machine": platform.machine(), "results": rows}, indent=1))


if __name__ == "__main__":
    main()
