"""Time of the gradients of single samples: a Python loop against lacuna.gradients.per_sample, in one run.

resnet20, random images of CIFAR's size, evaluation mode; milliseconds a sample: of this thread's CPU time on a CPU
(one thread), of the clock on a GPU. The methods take turns, so that a busy neighbour slows all alike; a speed-up is the
median over the turns. Prints JSON.

  plain      the gradient of whole batches: what no per-sample method should beat
  loop       batches of one, a backward pass each: `iu` one gradient, `ff` one for each class, squared and weighted;
             once with the network as lacuna builds it (channels last), once in PyTorch's default layout
  module     the same from per_sample: rows for iu, squares for ff with labels summed and sampled
  by_sample  the rows by torch.func alone, without layers derived by hand

    python bench/second_order.py [--samples 64] [--repeat 5] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax

from lacuna.data.batches import UnlearningData
from lacuna.fields import build
from lacuna.gradients import per_sample
from lacuna.gradients.whole import mean_gradient, trained, unmasked
from lacuna.models import MODELS
from lacuna.models.init import reinitialise
from lacuna.unlearning.methods.ff import FisherForgetting
from lacuna.unlearning.methods.iu import Span


def milliseconds(method: Callable[[], Any], samples: int, device: torch.device) -> float:
    """Time per sample."""
    clock = time.perf_counter if device.type == "cuda" else time.thread_time
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    method()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (clock() - start) / samples


def main() -> None:
    torch.set_num_threads(1)
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", type=int, default=64)
    arguments.add_argument("--of-loops", type=int, help="samples that the loops go over; default: all")
    arguments.add_argument("--repeat", type=int, default=5)
    arguments.add_argument("--device", default="cpu")
    chosen = arguments.parse_args()
    device, n = torch.device(chosen.device), chosen.samples
    looped = min(chosen.of_loops or n, n)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8).to(device)
    labels = torch.randint(10, (n,), generator=generator).to(device)
    data = UnlearningData(images, labels, {"retain": torch.arange(n, device=device)}, 10, (0.5,) * 3, (0.25,) * 3)
    model = build(MODELS["resnet20"], {}).build(10, 3)
    reinitialise(model, 0)
    model.to(device).eval()
    parameters = trained(model)
    default = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    index = data.index("retain")
    x, y = next(data.plain_batches("retain", n, torch.float32))

    def loop_rows(network: nn.Module, x: Tensor) -> Tensor:
        rows, weights = [], list(network.parameters())
        for i in range(looped):
            loss = cross_entropy(network(x[i : i + 1]), y[i : i + 1])
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)]))
        return torch.stack(rows)

    def loop_squares(network: nn.Module, x: Tensor) -> list[Tensor]:
        weights = list(network.parameters())
        total = [torch.zeros_like(p) for p in weights]
        for i in range(looped):
            log_p = log_softmax(network(x[i : i + 1]), 1)[0]
            for column in log_p.unbind():
                gradients = torch.autograd.grad(column, weights, retain_graph=True)
                for so_far, gradient in zip(total, gradients, strict=True):
                    so_far.add_(column.detach().exp() * gradient.square())
        return [squares / looped for squares in total]

    def rows_by_sample() -> None:
        for some, given in zip(x.split(16), y.split(16), strict=True):
            losses = lambda logits, given=given: [cross_entropy(logits, given, reduction="none")]  # noqa: E731
            per_sample._by_sample(model, parameters, some, losses, lambda *_: None)

    span = Span(model, data, unmasked(parameters, None))
    methods: dict[str, Callable[[], Any]] = {
        "plain": lambda: mean_gradient(model, data, "retain", 32),
        "iu_loop": lambda: loop_rows(model, x),
        "iu_loop_default_layout": lambda: loop_rows(default, x.contiguous()),
        "iu_module": lambda: span.rows(index),
        "iu_by_sample": rows_by_sample,
        "ff_loop": lambda: loop_squares(model, x),
        "ff_loop_default_layout": lambda: loop_squares(default, x.contiguous()),
        "ff_module_summed": lambda: FisherForgetting().fisher(model, data, 0),
        "ff_module_sampled": lambda: FisherForgetting(labels="sampled").fisher(model, data, 0),
    }
    found: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(-1, chosen.repeat):  # the first one warms up
        for name, method in methods.items():
            taken = milliseconds(method, looped if "loop" in name else n, device)
            if turn >= 0:
                found[name].append(round(taken, 3))
        print(f"turn {turn + 1} of {chosen.repeat}", file=sys.stderr, flush=True)

    def times_as_fast(fast: str, slow: str) -> float:
        return round(statistics.median(s / f for s, f in zip(found[slow], found[fast], strict=True)), 2)

    # equal to what the loop gives, in single precision and not in TF32
    torch.backends.cudnn.allow_tf32 = False
    rows = torch.stack([torch.cat([t.flatten() for t in span.unflat(row).values()]) for row in span.rows(index)])
    expected = loop_rows(model, x)
    some = dataclasses.replace(data, parts={"retain": index[:looped]})
    squares = torch.cat([f.flatten() for f in FisherForgetting().fisher(model, some, 0).values()])
    sums = torch.cat([f.flatten() for f in loop_squares(model, x)])
    fast = {"iu": ("iu_module", "iu_by_sample", "plain"), "ff": ("ff_module_summed", "ff_module_sampled")}
    speedups = {
        f"{name} against {loop}": times_as_fast(name, loop)
        for kind, names in fast.items()
        for name in names
        for loop in (f"{kind}_loop", f"{kind}_loop_default_layout")
    }
    report = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu, one thread",
        "torch": torch.__version__,
        "samples": n,
        "milliseconds_per_sample": found,
        "times_as_fast": speedups,
        "largest_difference": {
            "iu": float((rows[:looped] - expected).abs().max() / expected.abs().max()),
            "ff": float((squares - sums).abs().max() / sums.abs().max()),
        },
    }
    json.dump(report, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
