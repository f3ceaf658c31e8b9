"""What one CIFAR-10-sized cell costs to evaluate, and what the plain SVC would.

Made-up logits of 40,500 retained, 4,500 forgotten, 5,000 validation and 10,000 test samples in 10 classes: a network
that is surer of what it was trained on, a share of it so sure that its confidence is 1 in float32. All metrics on
predictions, with two oracles, as a cell of the pipeline has them. Prints JSON; seconds are of the CPU.

    python bench/evaluation.py                    about a minute, most of it the plain SVC on the confidence
    python bench/evaluation.py --plain all        on every feature and distribution: some ten minutes
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lacuna.evaluation import Cell, default_metrics, evaluate
from lacuna.evaluation.metrics import membership

SIZES = {"retain": 40_500, "forget": 4_500, "val": 5_000, "test": 10_000}
FEATURES = (
    membership.correctness,
    membership.confidence,
    membership.entropy,
    membership.modified_entropy,
    membership.probabilities,
)
# mean and spread of the largest logit's lead, and the share of wrong ones: retained, forgotten, never seen
DISTRIBUTIONS = {
    "typical": ((9, 2, 0.002), (7.5, 3, 0.03), (7, 3, 0.06)),
    "saturated": ((30, 8, 0.0), (27, 10, 0.03), (25, 12, 0.05)),
    "underfitted": ((3, 1.5, 0.1), (2.6, 1.5, 0.18), (2.5, 1.5, 0.2)),
    "no difference": ((5, 2, 0.1), (5, 2, 0.1), (5, 2, 0.1)),
    "sparse": ((6, 2, 0.01), (5, 2.5, 0.07), (5, 2.5, 0.08)),
}


def cell(distribution: str, seed: int, classes: int = 10) -> Cell:
    rng = np.random.default_rng(seed)
    seen, forgotten, unseen = DISTRIBUTIONS[distribution]
    of_part = {"retain": seen, "forget": forgotten, "val": unseen, "test": unseen}
    labels = np.random.default_rng(0)
    parts = {}
    for name, n in SIZES.items():
        lead, spread, wrong = of_part[name]
        y = labels.integers(0, classes, n)
        logits = rng.normal(size=(n, classes))
        shown = np.where(rng.random(n) < wrong, rng.integers(0, classes, n), y)
        logits[np.arange(n), shown] += np.maximum(rng.normal(lead, spread, n), 0)
        parts[name] = (logits.astype(np.float32), y)
    random_init = rng.normal(scale=0.1, size=(SIZES["forget"], classes)).astype(np.float32)
    return Cell.of(**parts, seconds=10.0, extra={"random_init": {"logits": random_init}, "job": {}})


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, round(time.process_time() - start, 2)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--plain", choices=["one", "all"], default="one", help="what to fit the plain SVC on")
    chosen = arguments.parse_args()
    cells, made = timed(lambda: [cell("typical", seed) for seed in range(3)])
    own, oracles = cells[0], {"retrain": cells[1], "retrain_exact": cells[2]}
    values, seconds = timed(lambda: evaluate(own, oracles))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(values)} values in {seconds} s of CPU", file=sys.stderr)
    attacks = []
    for distribution in DISTRIBUTIONS if chosen.plain == "all" else ["typical"]:
        judged = cell(distribution, 0)
        for feature in FEATURES if chosen.plain == "all" else [membership.confidence]:
            fast, seconds_fast = timed(lambda f=feature, j=judged: membership.efficacy(j, f, draws=1))
            plain, seconds_plain = timed(lambda f=feature, j=judged: membership.efficacy(j, f, plain=True, draws=1))
            found = {
                "distribution": distribution,
                "feature": feature.__name__,
                "efficacy": round(fast, 4),
                "efficacy_plain": round(plain, 4),
                "seconds": seconds_fast,
                "seconds_plain": seconds_plain,
            }
            attacks.append(found)
            print(found, file=sys.stderr, flush=True)
    report = {
        "sizes": SIZES,
        "metrics": len(default_metrics()),
        "values": len(values),
        "make_logits_s": made,
        "evaluate_cpu_s": seconds,
        "peak_memory_mb": round(peak),
        "largest_difference_points": round(max(abs(a["efficacy"] - a["efficacy_plain"]) for a in attacks), 4),
        "attacks": attacks,
    }
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
