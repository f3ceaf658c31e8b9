"""lacuna new: the file of a new entry, and its test, which fails until both are filled."""

from __future__ import annotations

import argparse
import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from lacuna.artifacts.writing import atomic
from lacuna.commands.base import Command, one_of
from lacuna.errors import LacunaError
from lacuna.registry import register


@dataclass(frozen=True)
class Scaffold:
    """Where the file and the test of a kind go, and the axes whose names are taken; use: a line for a config."""

    file: str
    test: str
    axes: tuple[str, ...]
    use: str
    template: str
    test_template: str


@register("new", group="keep")
class New(Command):
    """Write the file of a new unlearner, pruner, metric or figure, and its test.

    Both say TODO where something is to be filled in. The test states the property that the formula has, worked out by
    hand; it fails until both files are filled. Nothing else has to be edited: the config, the documentation and the
    tests of all entries find the new file. docs/extending.md shows filled ones.

    Example: lacuna new unlearner neggrad
    lacuna new metric margin
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("kind", type=one_of(KINDS, "kind"), metavar="KIND", help=", ".join(KINDS))
        parser.add_argument("name", metavar="NAME", help="as a config will have it: small letters, digits and _")

    def run(self, options: argparse.Namespace) -> int:
        from lacuna.commands.launch import ROOT

        files = scaffold(options.kind, options.name, ROOT)
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path) as temporary:
                temporary.write_text(files[path], encoding="utf-8")
        source, test = (path.relative_to(ROOT).as_posix() for path in files)
        print(f"written: {source}\n         {test}\n\nnext:")
        print(f"  1. fill in what says TODO in {source}")
        print(f"  2. work out the value in {test} by hand")
        print(f"  3. run: python -m pytest {test}")
        print("  4. run: python -m lacuna.commands.docs     (adds it to the generated pages)")
        print(f"  5. use it: {KINDS[options.kind].use.format(name=options.name)}")
        return 0


def scaffold(kind: str, name: str, root: Path) -> dict[Path, str]:
    """The two files of a new entry by path, the source first.

    Raises LacunaError for a name that is taken or is none, for files that are there, and where no sources are.
    """
    from lacuna.experiment.catalogue import registries

    what = KINDS[kind]
    # capitals too for a metric, as UA
    letters = "A-Za-z" if kind == "metric" else "a-z"
    if not re.fullmatch(rf"[{letters}][{letters}0-9_]{{0,39}}", name) or keyword.iskeyword(name):
        raise LacunaError(
            f"new: '{name}' is not allowed; allowed: {'' if kind == 'metric' else 'small '}letters, digits and _, "
            "beginning with a letter, at most 40 long, no word of Python"
        )
    for axis in what.axes:
        if name in registries()[axis]:
            module = registries()[axis].module(name)
            raise LacunaError(f"new: the {kind} '{name}' exists, in {module}; allowed: another name")
    if not (root / "tests").is_dir():
        raise LacunaError(f"new: {root} holds no sources with tests; allowed: a clone of lacuna, installed from there")
    files = {
        root / path.format(name=name.lower()): text.replace("NAME", name).replace("CLASS", _class_name(name))
        for path, text in ((what.file, what.template), (what.test, what.test_template))
    }
    for path in files:
        if path.exists():
            raise LacunaError(f"new: {path.relative_to(root).as_posix()} is there already; allowed: another name")
    return files


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_UNLEARNER = '''\
"""TODO: a line about NAME."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lacuna.data.batches import Batch
from lacuna.fields import NonNegative
from lacuna.unlearning.base import LossUnlearner, register


@register("NAME")
@dataclass(frozen=True, kw_only=True)
class CLASS(LossUnlearner):
    """TODO title: SGD on TODO, the formula with ℓ(D_r) and ℓ(D_f).

    TODO: what else a user has to know; or no such paragraph.
    weight: TODO, what it weighs, ≥ 0.
    Published values (TODO, data and network): none.
    Cost: 2 forwards, 2 backwards a step.
    Source: TODO.
    """

    weight: NonNegative = 1.0

    def loss(self, model: nn.Module, retain: Batch, forget: Batch) -> Tensor:
        raise NotImplementedError("TODO: the loss of one step, a scalar; retain.x, retain.y, forget.x, forget.y")
'''

_UNLEARNER_TEST = '''\
"""NAME: its loss is the formula, and a run keeps what every method promises."""

import numpy as np
import pytest
import torch
from torch import nn

from lacuna import Mask, UnlearningData, unlearn
from lacuna.data.batches import Batch
from lacuna.unlearning import UNLEARNERS


def formula(retain: np.ndarray, forget: np.ndarray, weight: float) -> float:
    """The loss of one step, by hand.

    retain, forget: log-probabilities of the labels, float64 [n].
    """
    raise NotImplementedError("TODO: the formula in NumPy, such as -retain.mean() + weight * forget.mean()")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def batch(n: int, forgotten: bool) -> Batch:
    generator = torch.Generator().manual_seed(n)
    images, labels = torch.rand(n, 1, 4, 4, generator=generator), torch.arange(n) % 3
    return Batch(images, labels, torch.arange(n), torch.full((n,), forgotten), 3, generator)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_loss_is_the_formula(weight: float) -> None:
    model, retain, forget = network(), batch(5, False), batch(4, True)
    parts = []
    for part in (retain, forget):
        log_p = model(part.x).double().log_softmax(1).gather(1, part.y[:, None])[:, 0]
        parts.append(log_p.detach().numpy())
    loss = UNLEARNERS["NAME"](weight=weight).loss(model, retain, forget)
    assert float(loss.detach()) == pytest.approx(formula(*parts, weight), rel=1e-5)


def test_a_run_changes_the_model_under_its_mask() -> None:
    model = network()
    mask = Mask.from_scores({"0.weight": model[0].weight.abs()}, "0.50")
    retain, forget = batch(12, False), batch(6, True)
    data = UnlearningData.from_tensors(retain=(retain.x, retain.y), forget=(forget.x, forget.y))
    result = unlearn("NAME", model, data, mask=mask, epochs=2, batch_size=4, lr=0.01, seed=1)
    assert not torch.equal(result.model[-1].weight, model[-1].weight)
    assert int((result.model[0].weight == 0).sum()) == 18


def test_its_docstring_is_written() -> None:
    assert "TODO" not in (UNLEARNERS["NAME"].__doc__ or "")
'''

_PRUNER = '''\
"""TODO: a line about NAME."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lacuna.pruning.base import TrainedPruner
from lacuna.pruning.criteria.base import Scores
from lacuna.registry import register
from lacuna.sparsity.mask import prunable


def scores(model: nn.Module, *, include_linear: bool = False) -> Scores:
    """TODO: the formula of a weight's score; the lowest scores go. Parameters may name `data` and `seed` too."""
    weights = prunable(model, include_linear)
    raise NotImplementedError(f"TODO: a tensor of its shape for each of {', '.join(weights)}")


@register("NAME")
@dataclass(frozen=True, kw_only=True)
class CLASS(TrainedPruner):
    """TODO title: keep the (1−s) largest TODO, θ ← m⊙θ_k, train on.

    Source: TODO.
    """

    criterion = scores
'''

_PRUNER_TEST = '''\
"""NAME: its scores are the formula, and its mask keeps the largest."""

import numpy as np
import pytest
import torch
from torch import nn

from lacuna import prune
from lacuna.data.batches import UnlearningData
from lacuna.pruning import PRUNERS


def formula(weights: np.ndarray) -> np.ndarray:
    """The score of each weight of a layer, by hand; the lowest go."""
    raise NotImplementedError("TODO: the formula in NumPy, such as np.abs(weights)")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.Flatten(), nn.Linear(2, 3))


def data() -> UnlearningData:
    images, labels = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(12) % 3
    return UnlearningData.from_tensors(retain=(images, labels))


def test_the_scores_are_the_formula() -> None:
    model = network()
    found = PRUNERS["NAME"]().scores(model, data(), seed=0)
    for layer in ("0.weight", "2.weight"):
        expected = formula(model.state_dict()[layer].double().numpy())
        np.testing.assert_allclose(found[layer].double().numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sparsity", ["0.25", "0.75"])
def test_the_mask_keeps_the_largest_scores(sparsity: str) -> None:
    model = network()
    found = PRUNERS["NAME"]().scores(model, data(), seed=0)
    _, mask = prune(model, sparsity, pruner="NAME", data=data())
    kept = torch.cat([found[layer][mask[layer]] for layer in mask])
    removed = torch.cat([found[layer][~mask[layer]] for layer in mask])
    assert mask.sparsity == float(sparsity)
    assert removed.max() <= kept.min()


def test_its_docstring_is_written() -> None:
    assert "TODO" not in (PRUNERS["NAME"].__doc__ or "")
'''

_METRIC = '''\
"""TODO: a line about NAME."""

from __future__ import annotations

from lacuna.evaluation.cell import Cell
from lacuna.registry import register


# TODO: unit; the lowest and highest value, or None; better: lower, higher, oracle or none; whether it compares with an
# oracle, which the function then takes as a second Cell; source
@register("NAME", unit="1", low=0.0, high=1.0, better="oracle", oracle=False, source="TODO")
def NAME(cell: Cell) -> float:
    """TODO: the formula in words."""
    raise NotImplementedError("TODO: from cell['forget'].probabilities, .labels, .log_odds, ... of a part")
'''

_METRIC_TEST = '''\
"""NAME: its value is the one worked out by hand."""

import numpy as np
import pytest

from lacuna import Cell, evaluate
from lacuna.evaluation import METRICS

# logits of three samples and two classes, and the labels
LOGITS, LABELS = np.log([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]]), np.array([0, 0, 1])
EXPECTED: float | None = None  # TODO: the value of NAME of these, worked out by hand


def value(logits: np.ndarray, labels: np.ndarray) -> float:
    part = (logits, labels)
    cell = Cell.of(retain=part, forget=part, val=part, test=part)
    return next(iter(evaluate(cell, cell, metrics=["NAME"]).values()))


def test_the_value_is_the_one_by_hand() -> None:
    assert EXPECTED is not None, "TODO: work out EXPECTED"
    assert value(LOGITS, LABELS) == pytest.approx(EXPECTED)


def test_it_depends_on_no_order_and_stays_in_its_range() -> None:
    rng = np.random.default_rng(0)
    about = METRICS["NAME"].about
    for _ in range(20):
        logits, labels = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
        found, order = value(logits, labels), rng.permutation(9)
        assert value(logits[order], labels[order]) == pytest.approx(found)
        assert about["low"] is None or found >= about["low"]
        assert about["high"] is None or found <= about["high"]


def test_its_texts_are_written() -> None:
    assert "TODO" not in f"{METRICS['NAME'].__doc__} {METRICS['NAME'].about['source']}"
'''

_FIGURE = '''\
"""TODO: a line about NAME."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from lacuna.registry import register
from lacuna.reporting import style
from lacuna.reporting.palette import Palette


# TODO: the tables that it reads, which it takes by name, and the metrics without which it is not drawn
@register("NAME", reads=("summary",), metrics=("UA",))
def NAME(summary: pd.DataFrame, palette: Palette) -> Figure:
    """TODO: what it shows, one panel per place; palette.look(label) is how a method or oracle is drawn."""
    parts = style.panels(summary[summary["metric"] == "UA"], palette.forgotten)
    figure, axes = style.grid_of_axes(1, len(parts), 3.6, 2.4)
    for ax, (title, _part) in zip(axes[0], parts, strict=True):
        style.entitle(ax, title)
        raise NotImplementedError("TODO: draw the part, and label both axes")
    return style.finish(figure, f"TODO — {style.subtitle(summary, style.setting_of(summary))}", axes)
'''

_FIGURE_TEST = '''\
"""NAME: it shows what its table has, with a title and labels."""

import pandas as pd

from lacuna.reporting import FIGURES
from lacuna.reporting.columns import GROUP
from lacuna.reporting.palette import Palette


def summary() -> pd.DataFrame:
    """One place, dense and at two sparsities, two methods and their oracle; values that no tick has."""
    rows = []
    for i, (pruner, sparsity) in enumerate([("dense", "0.00"), ("omp", "0.50"), ("omp", "0.90")]):
        for j, method in enumerate(["ft", "ga", "retrain"]):
            place = dict(zip(GROUP, ("digits", "resnet8", "short", "class", pruner, sparsity, method), strict=True))
            role = "oracle" if method == "retrain" else "method"
            rows.append(place | {"role": role, "metric": "UA", "mean": 11.25 * i + 3.5 * j + 1.125, "n": 1})
    return pd.DataFrame(rows)


def test_it_shows_the_methods_and_names_its_axes() -> None:
    figure = FIGURES["NAME"](summary=summary(), palette=Palette(("ft", "ga"), ("retrain",)))
    figure.draw_without_rendering()
    axes = [ax for ax in figure.axes if ax.has_data()]
    assert axes
    assert all(ax.get_ylabel() for ax in axes[:1])
    texts = {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}
    assert any("ft" in text for text in texts) and any("ga" in text for text in texts)
    assert not any("TODO" in text for text in texts)


def test_its_docstring_is_written() -> None:
    assert "TODO" not in (FIGURES["NAME"].__doc__ or "")
'''

KINDS = {
    "unlearner": Scaffold(
        "src/lacuna/unlearning/methods/{name}.py",
        "tests/unit/unlearning/methods/test_{name}.py",
        ("unlearners",),
        "unlearners: {{{name}: {{}}}}",
        _UNLEARNER,
        _UNLEARNER_TEST,
    ),
    "pruner": Scaffold(
        "src/lacuna/pruning/{name}.py",
        "tests/unit/pruning/test_{name}.py",
        ("pruners",),
        "pruners: {{{name}: {{}}}}",
        _PRUNER,
        _PRUNER_TEST,
    ),
    "metric": Scaffold(
        "src/lacuna/evaluation/metrics/{name}.py",
        "tests/unit/evaluation/metrics/test_{name}.py",
        ("metrics", "population"),
        "metrics: [UA, {name}]",
        _METRIC,
        _METRIC_TEST,
    ),
    "figure": Scaffold(
        "src/lacuna/reporting/figures/{name}.py",
        "tests/unit/reporting/figures/test_{name}.py",
        ("figures",),
        "figures: [{name}]",
        _FIGURE,
        _FIGURE_TEST,
    ),
}
