"""Whether networks, pruners and unlearners can do what a grid asks of them, and what the networks cost.

Only the networks know; a plan must not load torch, nor run a user's code. So a child process builds each network and
asks pruners and unlearners (`check`); an answer is kept under a digest of its question and of the code that decides it.
A network that somebody else wrote is tried as well, on a few images of noise: all that its jobs will do with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lacuna.artifacts.cache import read_cache, write_cache
from lacuna.errors import Diverged, LacunaError, one_line
from lacuna.experiment.catalogue import Catalogue, in_child
from lacuna.experiment.code_digest import code_digest

Answer = dict[str, Any]

# seconds that one question may take before its network counts as one that never answers
PATIENCE = 600
# what makes one run of a method a short one that does all its work, by the name of its hyper-parameter: at most so much
_SHORT = {
    "epochs": 2,
    "rewind_epoch": 1,
    "batch_size": 8,
    "samples": 4,
    "noise_samples": 2,
    "noise_steps": 2,
    "rounds": 1,
    "lr": 1e-6,
    "alpha": 1.0,  # above n/n_f, which is 2 or 3 here, dampening has nothing to derive
}
# multiplications of one image from which on a network is tried on fewer images, and not with what a training has shown
_HEAVY = 1e9


@dataclass(frozen=True)
class Question:
    """Does this network work on images like these? With a method: can this pruner or unlearner work on the network?

    model, method: grid entries, `method` and options. meta: the dataset's `classes` and `shape` [channels, height,
    width]. axis: pruners, unlearners, or unprune, whose method holds the entries `unlearner` and `pruner`. sparsity:
    that a pruner shall reach, in (0, 1), as in a path.
    """

    model: dict[str, Any]
    meta: dict[str, Any]
    axis: str = ""
    method: dict[str, Any] = field(default_factory=dict)
    sparsity: str = ""


def answers(questions: Sequence[Question], catalogue: Catalogue, cache: str | Path) -> list[Answer]:
    """For each question `refused`, the sentence that says why not; else for a network alone `parameters` and
    `multiplications_per_pixel` of an image.

    Answers come from the folder `cache`; what is not there is asked of a child process, once (about 3 seconds). Where
    a network ends that process, its question is refused and another child goes on.
    """
    stored = Path(cache) / "feasibility.json"
    known = read_cache(stored, "answers by the digest of question and code") or {}
    keys = [_key(question, catalogue) for question in questions]
    new = {key: asdict(question) for key, question in zip(keys, questions, strict=True) if key not in known}
    if new:
        known |= dict(zip(new, _asked(list(new.values())), strict=True))
        # a read-only working directory only costs the next start a few seconds
        with contextlib.suppress(OSError):
            write_cache(stored, "answers by the digest of question and code", known)
    return [known[key] for key in keys]


def _asked(questions: list[dict[str, Any]]) -> list[Answer]:
    """Each question's answer by a child process; whichever ends a child is refused, and the next child goes on."""
    received: list[Answer] = []
    fatal: dict[str, Answer] = {}
    while len(received) < len(questions):
        question = questions[len(received)]
        if (name := _network(question)) in fatal:
            received.append(fatal[name])
            continue
        child = in_child("lacuna.experiment.feasibility", json.dumps(questions[len(received) :]))
        # only whole lines, of which the first says that the child could begin
        begun, *lines = [json.loads(line) for line in child.stdout.split("\n")[:-1]] or [None]
        if begun is None:
            raise LacunaError("the models of the grid cannot be built: " + child.stderr.strip().rpartition("\n")[2])
        received += lines
        if len(received) < len(questions):
            question = questions[len(received)]
            received.append({"refused": f"{_end(child.returncode)}; allowed: a network that Python outlives"})
            if not question["axis"]:
                fatal[_network(question)] = received[-1]
    return received


def _network(question: Mapping[str, Any]) -> str:
    return json.dumps([question["model"], question["meta"]])


def _end(code: int) -> str:
    """How a child ended."""
    if code == -signal.SIGALRM:
        return f"trying it took more than {PATIENCE} seconds"
    if code < 0:
        hint = ", as where memory runs out" if code == -signal.SIGKILL else ""
        return f"trying it ended the process by {signal.Signals(-code).name}{hint}"
    return f"trying it ended the process with status {code}"


def modules_of(axis: str, entry: dict[str, Any], catalogue: Catalogue) -> tuple[str, ...]:
    """The modules that define a grid entry (`method` and options): lacuna's, and the user's for an imported network."""
    if axis == "unprune":
        inner = (modules_of(f"{kind}s", entry[kind], catalogue) for kind in ("unlearner", "pruner"))
        return (
            "lacuna.procedures.unpruning",
            *itertools.chain.from_iterable(inner),
            *fine_tuning_of(entry, catalogue),
        )
    own = (entry["import"].partition(":")[0],) if axis == "models" and "import" in entry else ()
    return catalogue[axis][entry["method"]]["module"], *own


def fine_tuning_of(unpruning: Mapping[str, Any], catalogue: Catalogue) -> tuple[str, ...]:
    """The module that an un-pruning fine-tunes with, whatever its unlearner is; none where it does not."""
    return (catalogue["unlearners"]["ft"]["module"],) if unpruning.get("finetune_epochs") else ()


def _key(question: Question, catalogue: Catalogue) -> str:
    modules = modules_of("models", question.model, catalogue)
    if question.axis:
        modules += modules_of(question.axis, question.method, catalogue)
    return hashlib.sha256(f"{_code(modules)} {json.dumps(asdict(question), sort_keys=True)}".encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=1000)
def _code(modules: tuple[str, ...]) -> str:
    return code_digest(__file__, *modules)


def answer(questions: Sequence[Question]) -> list[Answer]:
    """The answers, by building the networks and trying those that are imported, in this process."""
    return list(_each_answer(questions))


def _each_answer(questions: Sequence[Question]) -> Iterator[Answer]:
    networks: dict[str, Any] = {}
    useless: dict[str, Answer] = {}
    scored: set[str] = set()
    for question in questions:
        name = _network(asdict(question))
        if name in useless:
            yield useless[name]
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a user's code; the job shows them
                if name not in networks:
                    networks[name] = _build(question)
                answer = _tried(question, networks[name], scored)
        except LacunaError as error:
            answer = {"refused": str(error)}
        except (Exception, SystemExit) as error:
            answer = {"refused": f"trying it fails ({one_line(error)}); allowed: a network that can do what a job does"}
        if "refused" in answer and not question.axis:
            useless[name] = answer
        yield answer


def _build(question: Question) -> Any:
    import torch

    from lacuna.models.files import new_model

    # a network of ours is built without its numbers, that of a user may need them
    device = torch.device("cpu" if "import" in question.model else "meta")
    with device:
        return new_model(question.model, question.meta, device)


def _tried(question: Question, network: Any, scored: set[str]) -> Answer:
    from lacuna.fields import build
    from lacuna.pruning import PRUNERS
    from lacuna.unlearning import UNLEARNERS

    options = {k: v for k, v in question.method.items() if k != "method"}
    real = not next(network.parameters()).is_meta
    if question.axis == "pruners":
        pruner = build(PRUNERS[question.method["method"]], options)
        pruner.check(network, question.sparsity)
        # which scores are lowest at another sparsity is no new question, but by whole filters it is
        entry = json.dumps([_network(asdict(question)), question.method])
        if real and (pruner.structured or entry not in scored):
            _prune(network, pruner, question)
            scored.add(entry)
    elif question.axis == "unlearners":
        build(UNLEARNERS[question.method["method"]], options).check(network)
        if real:
            _unlearn(network, question, options)
    elif question.axis == "unprune":
        if real:
            _unprune(network, question, options)
    else:
        answer = _judged(question, network)
        if real:
            _train(network, question)
        return answer
    return {}


def _judged(question: Question, network: Any) -> Answer:
    """Whether a network can be trained on a dataset, and what it costs."""
    import torch

    from lacuna.models.anatomy import classifier
    from lacuna.models.cost import macs, parameters
    from lacuna.models.init import check_initialisation
    from lacuna.models.modes import evaluating
    from lacuna.sparsity.mask import maskable

    shape, classes = question.meta["shape"], question.meta["classes"]
    shown = "×".join(map(str, shape))
    first = next(network.parameters())
    _check_types(network)
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
    _check_logits(logits, 2, classes, "for 2 images")
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


def _check_types(network: Any) -> None:
    """What a file of ours can hold, and SGD can train."""
    import torch

    for name, parameter in network.named_parameters():
        if parameter.dtype not in (torch.float32, torch.float64):
            raise LacunaError(f"its parameter '{name}' is {_type(parameter)}; allowed: float32 or float64")
    for name, value in network.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise LacunaError(f"its state holds '{name}', a {type(value).__name__}; allowed: tensors alone")
        if value.dtype == torch.bfloat16 or value.is_complex() or value.is_quantized or value.is_sparse:
            raise LacunaError(f"its buffer '{name}' is {_type(value)}; allowed: float, integer or bool, dense")


def _type(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _check_logits(logits: Any, images: int, classes: int, when: str) -> None:
    import torch

    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
    if shape != (images, classes):
        raise LacunaError(f"{when} it gives {shape}; allowed: logits of the shape ({images}, {classes})")
    if logits.dtype not in (torch.float32, torch.float64):
        raise LacunaError(f"{when} it gives {_type(logits)}; allowed: logits in float32 or float64")


# ---- what jobs do, once ----------------------------------------------------------------------------------------------


def _noise(question: Question, network: Any) -> Any:
    """Six images, of a heavy network four, two of them of the class to be forgotten."""
    import torch

    from lacuna.data.batches import UnlearningData

    generator = torch.Generator().manual_seed(0)
    images = 4 if _heavy(network, question) else 6
    x = torch.randn(images, *question.meta["shape"], generator=generator).to(next(network.parameters()).dtype)
    others = max(1, question.meta["classes"] - 1)
    y = torch.tensor([0, 0, *(1 + i % others for i in range(images - 2))])
    return UnlearningData.from_tensors(question.meta["classes"], forget=(x[:2], y[:2]), retain=(x[2:], y[2:]))


def _heavy(network: Any, question: Question) -> bool:
    from lacuna.models.cost import macs

    return macs(network, question.meta["shape"]) > _HEAVY


def _train(network: Any, question: Question) -> None:
    """A step in training mode, and the trained state in another process's network: what a training's users rely on."""
    import torch

    from lacuna.models.inference import copy_of

    try:
        network = copy_of(network)
    except Exception as error:
        raise LacunaError(f"it cannot be copied ({one_line(error)}); allowed: a network for copy.deepcopy") from None
    data = _noise(question, network)
    x = data.images.contiguous(memory_format=torch.channels_last)
    _take_steps(network, x, data.labels, question.meta["classes"])
    logits = _predicted(network, x)
    _check_answers(network, x, logits)
    _check_unbounded(network, x)
    other = _loaded_again(network, question)
    if not _difference(_predicted(other, x), logits) <= 1e-5:
        where = _outside(network, other)
        raise LacunaError(
            f"another network with its state_dict gives other logits{f', {where} differs' if where else ''}; allowed: "
            "all that the outputs depend on is a parameter or a buffer (register_buffer without persistent=False), or "
            "the same whenever the network is made"
        )
    _check_training_repeats(network, other, x)


def _take_steps(network: Any, x: Any, y: Any, classes: int) -> None:
    """Train on one batch, in place: several steps, so that what is kept outside the state has moved."""
    import torch
    from torch.nn.functional import cross_entropy

    for _ in range(3):
        network.train()
        network.zero_grad()
        try:
            logits = network(x.clone())
        except Exception as error:
            raise LacunaError(
                f"in training mode it fails ({one_line(error)}); allowed: a network that can be trained on batches of 2"
            ) from None
        _check_logits(logits, len(x), classes, f"in training mode, for {len(x)} images,")
        if not logits.requires_grad:
            raise LacunaError("its logits have no gradient; allowed: a network with parameters that are trained")
        cross_entropy(logits, y).backward()
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-2 * parameter.grad / parameter.grad.norm().clamp(min=1.0)
    network.zero_grad()


def _predicted(network: Any, x: Any) -> Any:
    """Logits in evaluation mode; a network may write into its input."""
    import torch

    from lacuna.models.modes import evaluating

    with torch.no_grad(), evaluating(network):
        return network(x.clone())


def _difference(answer: Any, logits: Any) -> float:
    """The largest difference of two answers, relative to the largest of `logits` where that is above 1."""
    return float((answer - logits[: len(answer)]).abs().max() / logits.abs().max().clamp(min=1.0))


def _check_answers(network: Any, x: Any, logits: Any) -> None:
    """Logits in evaluation mode are numbers, the same each time, and each image's own."""
    import torch

    if not logits.isfinite().all():
        raise LacunaError("for images of noise its logits are not finite; allowed: finite numbers")
    if not torch.equal(_predicted(network, x), logits):
        raise LacunaError(
            "in evaluation mode it gives other logits for the same images; allowed: random draws in training mode alone"
        )
    if not _difference(_predicted(network, x[:2]), logits) <= 1e-3:
        raise LacunaError(
            "in evaluation mode an image's logits depend on the other images of its batch; allowed: statistics of the "
            "batch in training mode alone (batch norm with track_running_stats)"
        )


def _loaded_again(network: Any, question: Question) -> Any:
    """Another network of the same entry with this one's state, by way of a file."""
    from lacuna.models.files import load_into, save_state
    from lacuna.models.inference import state_of

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_state(path, state_of(network))
        other = _build(question)
        try:
            load_into(other, path)
        except LacunaError as error:
            reason = str(error).partition("architecture (")[2].rpartition("); delete")[0]
            raise LacunaError(f"its state cannot be loaded again ({reason}); allowed: a state_dict that can") from None
    return other


def _check_training_repeats(network: Any, other: Any, x: Any) -> None:
    """Two networks of one state draw alike: a training that goes on from a checkpoint ends where it would have."""
    import torch

    from lacuna.randomness import seeded

    shown = []
    for model in (network, other):
        model.train()
        with torch.no_grad(), seeded(0):
            shown.append(model(x.clone()))
    if not _difference(shown[1], shown[0]) <= 1e-5:
        raise LacunaError(
            "in training mode another network with its state_dict gives other logits; allowed: random draws from the "
            "global streams of torch, NumPy or Python, and no memory outside the state_dict"
        )


def _check_unbounded(network: Any, x: Any) -> None:
    """Outputs in [0, 1] whatever goes into them are probabilities, of a softmax or of a sigmoid."""
    import torch

    from lacuna.models.anatomy import classifier
    from lacuna.models.inference import copy_of

    steep = copy_of(network)
    with torch.no_grad():
        for parameter in classifier(steep)[1].parameters():
            parameter.mul_(1e4)
    outputs = _predicted(steep, x)
    if bool(((outputs >= 0) & (outputs <= 1 + 1e-4)).all()):
        raise LacunaError(
            "its outputs lie in [0, 1] whatever its classifier gives; allowed: logits, so leave out the last softmax "
            "or sigmoid"
        )


def _outside(network: Any, other: Any) -> str:
    """The first tensor that two networks of one state keep outside of it and that differs, in words."""
    import torch

    saved = network.state_dict().keys()
    for (prefix, module), twin in zip(network.named_modules(), other.modules(), strict=False):
        for key, value in {**vars(module), **dict(module.named_buffers(recurse=False))}.items():
            name = f"{prefix}.{key}".lstrip(".")
            theirs = getattr(twin, key, None)
            if name in saved or key.startswith("_") or not hasattr(value, "shape"):
                continue
            if not hasattr(theirs, "shape") or not torch.equal(torch.as_tensor(value), torch.as_tensor(theirs)):
                return f"'{name}'"
    return ""


def _prune(network: Any, pruner: Any, question: Question) -> None:
    """One round of a pruner: scores, mask, a step under it, and the compacted network where it runs in one."""
    from lacuna.models.inference import copy_of, state_of
    from lacuna.training.recipe import Recipe
    from lacuna.training.starting_point import StartingPoint

    network = _as_trained(network) if pruner.structured else copy_of(network)
    state = state_of(network)
    recipe = Recipe(**{**_short(Recipe, {}), "epochs": 1, "rewind_epoch": 0, "crop": 0, "flip": False})
    short = dataclasses.replace(pruner, **_short(type(pruner), vars(pruner)))
    origin = StartingPoint(state, state, state)
    with _failing("a round of pruning"):
        short.prune_once(network, origin, question.sparsity, recipe, _noise(question, network), seed=0)


def _as_trained(network: Any) -> Any:
    """A copy in which no norm is at the identity, so that what a removed filter leaves behind shows."""
    import torch

    from lacuna.models.inference import copy_of

    network, generator = copy_of(network), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor += 0.1 + 0.2 * torch.rand(tensor.shape, generator=generator).to(tensor)
    return network


def _unprune(network: Any, question: Question, options: dict[str, Any]) -> None:
    """One round of growing, a short run of the method inside, and pruning back."""
    from lacuna.fields import build
    from lacuna.models.inference import state_of
    from lacuna.procedures.unpruning import unprune
    from lacuna.pruning import PRUNERS
    from lacuna.unlearning import UNLEARNERS

    pruned, inner = dict(options.pop("pruner")), dict(options.pop("unlearner"))
    pruner, method = build(PRUNERS[pruned.pop("method")], pruned), inner.pop("method")
    pruner = dataclasses.replace(pruner, **_short(type(pruner), vars(pruner)))
    network, data = _as_trained(network), _noise(question, network)
    with _failing("a round of un-pruning"):
        unprune(
            method,
            network,
            data,
            initial=state_of(network),
            hyperparameters=inner | _short(UNLEARNERS[method], inner),
            mask=pruner.find_mask(network, question.sparsity, data, seed=0),
            pruner=pruner,
            sparsity=question.sparsity,
            seed=0,
            **options,
        )


def _unlearn(network: Any, question: Question, options: dict[str, Any]) -> None:
    """A short run of a method."""
    from lacuna.models.inference import state_of
    from lacuna.sparsity.mask import Mask
    from lacuna.training.starting_point import StartingPoint
    from lacuna.unlearning import UNLEARNERS
    from lacuna.unlearning.base import LossUnlearner, run

    method = UNLEARNERS[question.method["method"]]
    steps = ("begin", "trainable", "movable", "backward", "after_step", "after_epoch", "finish", "prepare", "run")
    only_a_loss = issubclass(method, LossUnlearner) and all(
        getattr(method, step) is getattr(LossUnlearner, step) for step in steps
    )
    if only_a_loss and _heavy(network, question):
        return  # that is what a training has
    needed: dict[str, Any] = {} if method.oracle else {"mask": Mask.full(network)}
    if hasattr(method, "start"):  # an oracle that starts from a state of the original's training
        state = state_of(network)
        needed["origin"] = StartingPoint(state, state, state)
    with _failing("a short run"):
        run(method, network, _noise(question, network), seed=0, **needed, **options | _short(method, options))


def _short(of: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters that make a run of a dataclass short, in their place or below."""
    fields = {f.name: f.default for f in dataclasses.fields(of)}
    short = {name: min(values.get(name, fields[name]), most) for name, most in _SHORT.items() if name in fields}
    if values.get("labels", fields.get("labels")) == "summed":
        short |= {"variant": "exact", "labels": "sampled"}  # one backward pass instead of one for each class
    return short


@contextlib.contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except Diverged:
        pass  # it could begin, and noise in a network that has learnt nothing proves no more
    except (Exception, SystemExit) as error:
        if isinstance(error, LacunaError):
            raise
        raise LacunaError(
            f"{what} fails ({one_line(error)}); allowed: a method that can work on this network"
        ) from None


def _serve() -> None:
    """Questions from the standard input; a line to the standard output when it begins, and one for each answer."""
    # what a user's code prints is no answer, whichever way it prints
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = [Question(**question) for question in json.load(sys.stdin)]
    print("true", file=out, flush=True)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever it is doing
    signal.alarm(PATIENCE)
    for answer in _each_answer(asked):
        print(json.dumps(answer), file=out, flush=True)
        signal.alarm(PATIENCE)
    os._exit(0)  # not by way of what a user's module has left behind


if __name__ == "__main__":
    _serve()
