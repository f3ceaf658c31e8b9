"""Results trees of experiments that nobody ran: every file that a report reads, of any size, in a moment."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lacuna.artifacts.coordinates import State
from lacuna.artifacts.files import use_results, write_json, write_npz
from lacuna.artifacts.layout import cell_at
from lacuna.artifacts.provenance import FACTS
from lacuna.evaluation import METRICS
from lacuna.randomness import numpy_generator
from lacuna.reporting.tables.files import write_table
from lacuna.reporting.tables.making import made
from lacuna.reporting.tables.record import told_of

ORACLES, TWINS = ("retrain", "retrain_exact"), {"retrain_b": "retrain"}
METHODS = ("original", "ft", "ga", "rl", "l1_sparse")
COSTS = ("time_s", "samples", "forwards", "backwards", "peak_memory_mb")
SAMPLES = {"retain": 60, "forget": 20, "val": 20, "test": 40}
CLASSES = 10
# each after those that it reads
TABLES = ("cells", "layers", "provenance", "summary", "ranks", "disagreement", "sparsity", "missing")
LAYERS = ("stem.weight", "block.0.conv1.weight", "block.0.conv2.weight", "block.1.conv1.weight")


def experiment_of(
    name: str,
    scenarios: Sequence[str],
    sparsities: Sequence[str],
    methods: Sequence[str],
    seeds: int,
    datasets: Sequence[str] = ("digits",),
    unprune: bool = False,
) -> dict[str, Any]:
    """The content of experiment.json; dense is among the states."""
    metrics = [m for m in METRICS if METRICS[m].about.get("default", True) and m != "energy_j"]
    unlearners = {label: {"method": label.partition("-")[0]} for label in (*methods, *ORACLES)}
    unlearners |= {twin: {"method": of} for twin, of in TWINS.items()}
    grown = itertools.product((10.0, 30.0), (1, 3)) if unprune else ()
    entries = {
        f"unprune.ft.p{p:g}.r{r}": {"unlearner": "ft", "p": p, "rounds": r, "method": "unprune"} for p, r in grown
    }
    return {
        "name": name,
        "seeds": list(range(seeds)),
        "states": ["dense", *(str(State("omp", s)) for s in sparsities)],
        "metrics": metrics,
        "grid": {
            "datasets": {d: {"method": "digits"} for d in datasets},
            "models": {"resnet8": {"method": "resnet8", "width": 16}},
            "recipes": {"short": {"method": "sgd", "epochs": 30, "lr": 0.1}},
            "scenarios": {s: {"method": "class", "forget_class": i} for i, s in enumerate(scenarios)},
            "pruners": {"omp": {"method": "omp"}},
            "unlearners": unlearners,
            "unprune": entries,
        },
        "judging": {
            "oracles": list(ORACLES),
            "twins": dict(TWINS),
            "better": {m: METRICS[m].about["better"] for m in metrics},
            "costs": list(COSTS),
        },
    }


def fabricate(
    results: Path, experiment: Mapping[str, Any], missing: Sequence[str] = (), roc: bool = False, files: bool = True
) -> list[Path]:
    """Write the tree of an experiment and give the files of its tables.

    missing: labels of unlearners whose cells are left out. files: whether cells have files of their own.
    """
    use_results(results)
    judging, grid = experiment["judging"], experiment["grid"]
    labels = [*grid["unlearners"], *grid.get("unprune", {})]
    axes = (grid["datasets"], experiment["seeds"], grid["scenarios"], experiment["states"], labels)
    found, left, populations = [], [], []
    for dataset, seed, scenario, state, label in itertools.product(*axes):
        wildcards = {"dataset": dataset, "model": "resnet8", "recipe": "short", "seed": seed, "scenario": scenario}
        at = State.parse(state)
        if label.startswith("unprune") and at.dense:
            continue
        if label in missing:
            log = f"results/logs/cells/{dataset}/resnet8/short/seed{seed}/{scenario}/{state}/{label}.log"
            steps = [(f"results/cells/{label}.npz", log)]
            left.append({**wildcards, "state": state, "unlearner": label, "steps": steps})
            continue
        row = {**wildcards, **at._asdict(), "unlearner": label}
        rng = numpy_generator(*map(str, row.values()))
        if files:
            _files(results, row, rng)
        found.append(_evaluated(row, experiment, rng))
        if roc and label in ("ft", *judging["oracles"], *judging["twins"]):
            fpr = np.geomspace(1e-3, 1, 60)
            curve = {"fpr": fpr.tolist(), "tpr": np.minimum(fpr ** rng.uniform(0.4, 1), 1).tolist()}
            populations.append({"cell": row, "metrics": {}, "attacks": {"u_lira": curve, "rmia": curve}})
    known = {**told_of(experiment), "metrics": found, "population": populations, "missing": left, "results": results}
    known["log"] = lambda line: None
    folder = results / "tables" / experiment["name"]
    paths = [folder / f"{name}.csv" for name in (*TABLES, *(("roc",) if roc else ()))]
    for path in paths:
        table = made(path.stem, known)
        # under its name it is told to those that read it; that of the missing cells is taken
        known |= {path.stem: table} if path.stem != "missing" else {}
        write_table(path, table)
    write_json(folder / "experiment.json", {**experiment, "tables": {path.stem: "0" * 16 for path in paths}})
    return [*paths, folder / "experiment.json"]


def _files(results: Path, row: Mapping[str, Any], rng: np.random.Generator) -> None:
    """A cell's job.json, history.csv, predictions.npz and log."""
    place = cell_at(row)
    arrays = {}
    for part, n in SAMPLES.items():
        labels = rng.integers(0, CLASSES, n)
        logits = rng.normal(size=(n, CLASSES)).astype(np.float32)
        logits[np.arange(n), labels] += 0.5 if part == "forget" else 4
        arrays |= {f"logits/{part}": logits, f"labels/{part}": labels, f"index/{part}": np.arange(n)}
    write_npz(results / place / "predictions.npz", "predictions", arrays)
    epochs = range(1, 11)
    lines = ["epoch,lr,loss,val_accuracy,seconds"]
    lines += [f"{e},0.1,{2 / e},{90 + e / 2},{0.2 * e}" for e in epochs]
    (results / place / "history.csv").write_text("\n".join(lines) + "\n")
    options = {
        "unlearner": {"method": row["unlearner"], "lr": 0.1, "epochs": 10},
        "recipe": {"method": "sgd", "lr": 0.1},
    }
    job = {"cell": {}, "seconds": 1.5, "inputs": {}, "parameters": options, "versions": {"torch": "2.12"}}
    write_json(results / place / "job.json", job | {"steps": 190, "facts": {"unchanged": 0.0}, "device": "AMD EPYC"})
    log = results / "logs" / f"{place}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"{row['unlearner']}: epoch 10/10\n{row['unlearner']}: 190 steps, done\n")


def _evaluated(row: Mapping[str, Any], experiment: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """What `evaluate` would have written."""
    label, judging = row["unlearner"], experiment["judging"]
    oracle = label in judging["oracles"] or label in judging["twins"]
    off = (
        0.0
        if oracle
        else (12.0 if label == "original" else 3.0 + 2 * (len(label) % 4)) * (1 - 0.3 * float(row["sparsity"]))
    )
    values: dict[str, float] = {}
    for name in experiment["metrics"]:
        about = METRICS[name].about
        percent = about["unit"] in ("%", "points")
        for metric in [f"{name}/{o}" for o in judging["oracles"]] if about["oracle"] else [name]:
            noise = abs(rng.normal()) * (1.0 if percent else 0.05)
            if metric.startswith(("mask_", "completeness", "ToW")):
                values[metric] = float(np.clip((100 if percent else 1) - noise, 0, 100))
            elif about["oracle"]:
                values[metric] = 0.0 if label == metric.partition("/")[2] else off * (1 if percent else 0.05) + noise
            elif name in judging["costs"]:
                values[metric] = 0.0 if label == "original" else float(rng.integers(100, 9000))
            else:
                values[metric] = (90 if percent else 0.9) - off * (1 if percent else 0.01) + noise
    origin = dict.fromkeys(FACTS) | {
        "commit": "abc123",
        "device": "AMD EPYC",
        "seconds": 1.5,
        "torch": "2.12",
        "lacuna": "0.2",
    }
    origin |= {
        "random_stream": 7,
        "threads": 1,
        "python": "3.12",
        "numpy": "2.3",
        "arithmetic": "fp32",
        "execution": "eager",
    }
    layers = {"sparsity": {layer: float(row["sparsity"]) * (0.9 + 0.03 * i) for i, layer in enumerate(LAYERS)}}
    return {
        "cell": dict(row),
        "metrics": values,
        "layers": layers,
        "origin": origin,
        "evaluated_at_commit": "abc123",
        "job": f"results/{cell_at(row)}/job.json",
        "notes": {},
        "unchanged": label == "original",
    }
