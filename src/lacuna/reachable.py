"""Whether networks, pruners and unlearners can do what a grid asks of them, and what the networks cost.

Only the networks know; a plan must not load torch, nor run a user's code. So a child process builds each network and
asks pruners and unlearners (`check`); an answer is kept under a digest of its question and of the code that decides it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lacuna.artifacts import write_json
from lacuna.catalogue import Catalogue, in_child
from lacuna.codedigest import code_digest
from lacuna.errors import LacunaError

Answer = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """Does this network work on images like these? With a method: can this pruner or unlearner work on the network?

    model, method: grid entries, `method` and options. meta: the dataset's `classes` and `shape` [channels, height,
    width]. axis: pruners or unlearners. sparsity: that a pruner shall reach, in (0, 1), as in a path.
    """

    model: dict[str, Any]
    meta: dict[str, Any]
    axis: str = ""
    method: dict[str, Any] = field(default_factory=dict)
    sparsity: str = ""


def answers(questions: Sequence[Question], catalogue: Catalogue, cache: str | Path) -> list[Answer]:
    """For each question `refused`, the sentence that says why not; else for a network alone `parameters` and
    `multiplications_per_pixel` of an image.

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


def modules_of(axis: str, entry: dict[str, Any], catalogue: Catalogue) -> tuple[str, ...]:
    """The modules that define a grid entry (`method` and options): lacuna's, and the user's for an imported network."""
    own = (entry["import"].partition(":")[0],) if axis == "models" and "import" in entry else ()
    return catalogue[axis][entry["method"]]["module"], *own


def _key(question: Question, catalogue: Catalogue) -> str:
    modules = modules_of("models", question.model, catalogue)
    if question.axis:
        modules += modules_of(question.axis, question.method, catalogue)
    return hashlib.sha256(f"{_code(modules)} {json.dumps(asdict(question), sort_keys=True)}".encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=1000)
def _code(modules: tuple[str, ...]) -> str:
    return code_digest(__file__, *modules)


def answer(questions: Sequence[Question]) -> list[Answer]:
    """The answers, by building the networks."""
    found: dict[str, Any] = {}
    given: list[Answer] = []
    for question in questions:
        name = json.dumps([question.model, question.meta])
        try:
            if name not in found:
                found[name] = _build(question)
            given.append(_tried(question, found[name]))
        except LacunaError as error:
            given.append({"refused": str(error)})
    return given


def _build(question: Question) -> Any:
    import torch

    from lacuna.store import new_model

    # a network of ours is built without its numbers, that of a user may need them
    device = torch.device("cpu" if "import" in question.model else "meta")
    with device:
        return new_model(question.model, question.meta, device)


def _tried(question: Question, network: Any) -> Answer:
    from lacuna.fields import build
    from lacuna.pruning import PRUNERS
    from lacuna.unlearning import UNLEARNERS

    options = {k: v for k, v in question.method.items() if k != "method"}
    if question.axis == "pruners":
        pruner = build(PRUNERS[question.method["method"]], options)
        pruner.check(network, question.sparsity)
        if pruner.structured and not next(network.parameters()).is_meta:
            from lacuna.compaction import channels

            channels(network, question.meta["shape"])
    elif question.axis == "unlearners":
        build(UNLEARNERS[question.method["method"]], options).check(network)
    else:
        return _judged(question, network)
    return {}


def _judged(question: Question, network: Any) -> Answer:
    """Whether a network can be trained on a dataset, and what it costs."""
    import torch

    from lacuna.models.anatomy import classifier
    from lacuna.models.cost import macs, parameters
    from lacuna.models.init import check_initialisation
    from lacuna.models.modes import evaluating
    from lacuna.pruning.mask import maskable

    shape, classes = question.meta["shape"], question.meta["classes"]
    shown = "×".join(map(str, shape))
    first = next(network.parameters())
    try:
        with torch.no_grad(), evaluating(network):
            logits = network(torch.zeros(2, *shape, dtype=first.dtype, device=first.device))
        multiplications = macs(network, shape)
    except LacunaError as error:
        raise LacunaError(f"it cannot take {shown} images: {error}") from None
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise LacunaError(
            f"it cannot take {shown} images ({reason}); allowed: a network for images like these"
        ) from None
    made = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if made != (2, classes):
        raise LacunaError(f"for 2 images it gives {made}; allowed: logits of the shape (2, {classes})")
    head, layer = classifier(network)
    if layer.out_features != classes:
        raise LacunaError(
            f"its classifier would be '{head}', which has {layer.out_features} outputs; allowed: a Linear layer with "
            f"{classes} outputs, the last one of the network or in its attribute `classifier`"
        )
    maskable(network)
    if not first.is_meta:
        check_initialisation(network)
    pixels = math.prod(shape[1:])
    return {"parameters": parameters(network), "multiplications_per_pixel": round(multiplications / pixels)}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # what a user's code prints is no answer
        told = answer([Question(**question) for question in json.load(sys.stdin)])
    print(json.dumps(told))
