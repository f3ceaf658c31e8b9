"""How every job's log begins and ends. Imports no torch.

No file of a result depends on a word of it, so that it is no part of a job's code digest: `code_digest` passes over it,
and over the statements that call it.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lacuna.artifacts.files import read_npz
from lacuna.artifacts.machine import processor

# how long a line may be
_WIDTH = 300
# parts of the predictions whose accuracy is told, as metrics call it; of the forget set its complement
_PARTS = {"forget": "UA", "retain": "RA", "test": "TA"}
# metrics that the line of a cell begins with; those with an oracle stand for each
_FIRST = ("UA", "RA", "TA", "MIA", "avg_gap")
_EMPTY: tuple[Any, ...] = ([], {}, ())
_began: dict[str, float] = {}


def begin(snakemake: Any, log: Callable[[str], None]) -> None:
    """Log the job and its cell, the values of its config, and its device; a job without standard streams gets some."""
    _open_streams()
    with contextlib.suppress(Exception):  # whatever is wrong is the job's to find
        _began[str(snakemake.log[0])] = time.monotonic()
        place = " ".join([snakemake.rule, *(f"{k}={v}" for k, v in snakemake.wildcards.items())])
        log(f"{place}, {time.strftime('%Y-%m-%d %H:%M:%S %Z')}")
        for name, value in snakemake.params.items():
            if name != "code" and value is not None and value not in _EMPTY:
                log(f"{name}: {_short(_words(value))}")
        log(f"device: {_device(snakemake)}")


def _open_streams() -> None:
    """Let closed standard streams lead nowhere: a progress bar asks for one, and a file in its place would be printed
    into."""
    with contextlib.suppress(OSError):
        while (place := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(place, True)
        os.close(place)
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the job's end


def end(snakemake: Any, log: Callable[[str], None]) -> None:
    """Log in one line how long the job took, and its result."""
    with contextlib.suppress(Exception):  # the files of the job are whole
        seconds = time.monotonic() - _began[str(snakemake.log[0])]
        told = list(_result(snakemake))
        log(f"done in {seconds:.1f} s" + (f": {_short('; '.join(told))}" if told else ""))


def _device(snakemake: Any) -> str:
    threads = f"{snakemake.threads} thread{'s' if snakemake.threads > 1 else ''}"
    torch = sys.modules.get("torch")  # of a job that asks for a GPU its script has loaded it
    if torch is not None and snakemake.resources.get("gpu") and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {threads}"
    return f"{processor()[0]}, {threads}"


def _words(value: Any) -> str:
    """A param as words: "method ga, epochs 2, lr 0.001", without lists that are empty."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(each)}" for key, each in value.items() if each not in _EMPTY)
    if isinstance(value, list | tuple):
        return " ".join(map(_words, value))
    return str(value)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _result(snakemake: Any) -> Iterator[str]:
    made = dict(snakemake.output.items())
    if "job" in made and Path(made["job"]).name == "job.json":
        facts = json.loads(Path(made["job"]).read_text(encoding="utf-8"))
        steps = facts.get("steps")
        yield f"{facts['seconds']:.1f} s of the method, {f'{steps} steps' if steps else 'no steps'}"
        yield from _accuracies(made)
        return
    if snakemake.rule.endswith("evaluate"):
        yield _metrics(json.loads(Path(made["metrics"]).read_text(encoding="utf-8"))["metrics"])
        return
    # other jobs log their result themselves
    lines = Path(snakemake.log[0]).read_text(encoding="utf-8", errors="replace").splitlines()
    device = next((number for number, line in enumerate(lines) if line.startswith("device: ")), len(lines))
    yield from [line for line in lines[device + 1 :] if line.strip() and not line.startswith("warning: ")][-1:]


def _metrics(values: Mapping[str, float | None]) -> str:
    """The metrics with a value, those first that most tables have: a line may be cut behind them."""
    place = {name: position for position, name in enumerate(_FIRST)}
    told = sorted(values.items(), key=lambda item: place.get(item[0].partition("/")[0], len(_FIRST)))
    return ", ".join(f"{name} {value:.4g}" for name, value in told if value is not None)


def _accuracies(made: Mapping[str, str]) -> Iterator[str]:
    if "predictions" in made:
        arrays, told = read_npz(made["predictions"], "predictions"), []
        for part, name in _PARTS.items():
            if f"logits/{part}" in arrays:
                right = 100 * float((arrays[f"logits/{part}"].argmax(1) == arrays[f"labels/{part}"]).mean())
                told.append(f"{name} {100 - right if name == 'UA' else right:.2f}")
        yield ", ".join(told)
    elif "history" in made:
        rows = list(csv.DictReader(Path(made["history"]).read_text(encoding="utf-8").splitlines()))
        if rows and rows[-1].get("val_accuracy", "nan") not in ("", "nan", "None"):
            yield f"validation accuracy {float(rows[-1]['val_accuracy']):.2f}"
