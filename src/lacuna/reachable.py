"""Whether pruners can do what a grid asks of them.

Only the networks know, and a plan must not load torch. So a child process builds each network without its numbers and
asks the pruner (`Pruner.check`); an answer is kept under a digest of its question and of the code that decides it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lacuna.artifacts import write_json
from lacuna.catalogue import Catalogue, in_child
from lacuna.codedigest import code_digest
from lacuna.errors import LacunaError


@dataclass(frozen=True)
class Question:
    """Can this pruner bring this network to this sparsity?

    model, pruner: grid entries, `method` and options. meta: the dataset's `classes` and `shape` [channels, height,
    width]. sparsity: in (0, 1), as in a path.
    """

    model: dict[str, Any]
    pruner: dict[str, Any]
    meta: dict[str, Any]
    sparsity: str


def refusals(questions: Sequence[Question], catalogue: Catalogue, cache: str | Path) -> list[str | None]:
    """For each question None, or the sentence that says why not.

    Answers come from the folder `cache`; what is not there is asked of a child process, once (about 3 seconds).
    """
    stored = Path(cache) / "reachable.json"
    try:
        known = json.loads(stored.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    keys = [_key(question, catalogue) for question in questions]
    new = {key: asdict(question) for key, question in zip(keys, questions, strict=True) if key not in known}
    if new:
        child = in_child("lacuna.reachable", json.dumps(list(new.values())))
        if child.returncode:
            raise LacunaError("the models of the grid cannot be built: " + child.stderr.strip().rpartition("\n")[2])
        known |= dict(zip(new, json.loads(child.stdout), strict=True))
        # a read-only working directory only costs the next start a few seconds
        with contextlib.suppress(OSError):
            write_json(stored, known)
    return [known[key] for key in keys]


def _key(question: Question, catalogue: Catalogue) -> str:
    code = code_digest(
        __file__,
        catalogue["models"][question.model["method"]]["module"],
        catalogue["pruners"][question.pruner["method"]]["module"],
    )
    return hashlib.sha256(f"{code} {json.dumps(asdict(question), sort_keys=True)}".encode()).hexdigest()[:32]


def answer(questions: Sequence[Question]) -> list[str | None]:
    """The answers, by building the networks on a device that holds no numbers."""
    import torch

    from lacuna.fields import build
    from lacuna.pruning import PRUNERS
    from lacuna.store import new_model

    nothing = torch.device("meta")
    answers: list[str | None] = []
    built: dict[str, Any] = {}
    for question in questions:
        name = json.dumps([question.model, question.meta])
        options = {k: v for k, v in question.pruner.items() if k != "method"}
        try:
            if name not in built:
                with nothing:
                    built[name] = new_model(question.model, question.meta, nothing)
            build(PRUNERS[question.pruner["method"]], options).check(built[name], question.sparsity)
            answers.append(None)
        except LacunaError as error:
            answers.append(str(error))
    return answers


if __name__ == "__main__":
    print(json.dumps(answer([Question(**question) for question in json.load(sys.stdin)])))
