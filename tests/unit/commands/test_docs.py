"""The generated pages say what the sources say."""

import dataclasses
from dataclasses import dataclass

import pytest

from lacuna.commands import docs, docstrings
from lacuna.evaluation import METRICS
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.fields import Positive
from lacuna.pruning import PRUNERS
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.base import LossUnlearner

GENERATED = docs.pages()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.relative_to(docs.ROOT).as_posix())
def test_page_is_current(path):
    """It has what the sources give now (if not: make docs)."""
    assert path.read_text(encoding="utf-8") == GENERATED[path]


def test_every_metric_has_its_row():
    """With name, meaning, unit, range, direction and source; and what it needs, if it is no default."""
    page = docs.metrics_page()
    for name, metric in (dict(METRICS) | dict(POPULATION_METRICS)).items():
        assert f"\n| `{name}`" in page
        assert docs.metric_row(name, metric).replace("\\|", "").count("|") == 7
    assert "Needs `random_init`. | 1 | 0 to 1 | as the oracle | Chundawat" in docs.metric_row("ZRF", METRICS["ZRF"])
    assert "Needs `relearn`. On request. |" in docs.metric_row("AIN", METRICS["AIN"])


def test_a_metric_without_facts_is_refused():
    def silent(cell):
        return 0.0

    silent.about = {"unit": "1", "low": 0.0, "oracle": False}
    with pytest.raises(ValueError, match="'silent' does not say high, better, source"):
        docs.metric_row("silent", silent)


def test_every_field_of_every_pruner_is_explained():
    """Each pruner says what it removes, where that comes from and what each field of its own means."""
    for name, cls in PRUNERS.items():
        parts = docstrings.parts_of(cls, needed=("Source",))
        assert parts["formula"] and parts["notes"]["Source"], name
        assert set(docstrings.own_fields(cls)) <= set(parts["fields"]), name


def test_every_field_of_every_method_is_explained():
    """Each method says its formula, cost, source and what each field of its own means."""
    for name, cls in UNLEARNERS.items():
        parts = docstrings.parts_of(cls)
        assert parts["formula"] and parts["notes"]["Source"] and parts["notes"]["Cost"], name
        assert set(docstrings.own_fields(cls)) <= set(parts["fields"]), name
        assert set(parts["fields"]) <= {f.name for f in dataclasses.fields(cls)}, name


METHODS = {name: cls for name, cls in UNLEARNERS.items() if not (cls.oracle or cls.keeps)}


@pytest.mark.parametrize("name", METHODS)
def test_published_values_are_the_defaults_or_named_as_others(name):
    """Of every value that a docstring calls published, the dataclass has it by default, or "Here" gives the default."""
    cls = METHODS[name]
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    for field, (value, differs) in docstrings.published_values(cls).items():
        options = [v.replace("−", "-") for v in value.replace(" to ", " or ").split(" or ")]
        if options[0] in ("true", "false"):
            assert (str(defaults[field]).lower() == options[0]) != differs, field
        elif isinstance(defaults[field], str):
            assert (defaults[field] in options) != differs, field
        else:
            numbers = [float(v) for v in options]
            assert (min(numbers) <= defaults[field] <= max(numbers)) != differs, field


def test_the_page_counts_on_it():
    """What the head of docs/methods.md claims holds for each of its lines."""
    page = docs.methods_page()
    assert "Defaults are the published values (of a range, one in it)" in page
    assert page.count("\nPublished values") == len(METHODS)


@pytest.mark.parametrize(
    ("note", "error"),
    [
        ("Published values: strength 1, epochs 10.", None),
        (
            "Published values (CIFAR-10): strength 0.5 to 2, lr 0.1 or 0.2, precision fp32 (elsewhere bf16). More 3.",
            None,
        ),
        ("Published values: strength 2. Here strength 1: no reason.", None),
        ("Published values: none for unlearning. lr as elsewhere.", None),
        ("Published values: strength 2.", "Odd.strength: the default is 1.0, published is 2, and .* nothing of a"),
        ("Published values: strength 0.1 to 0.9.", "Odd.strength: the default is 1.0"),
        ("Published values: precision bf16.", "Odd.precision: the default is fp32, published is bf16"),
        ("Published values: strength 1. Here strength 1: no reason.", "'Here strength 1'"),
        ("Published values: strength 2. Here strength 3: no reason.", "'Here strength 3'"),
        ("Published values: lr 0.1. Here strength 1: no reason.", "'Here' names strength, of which no published"),
        ("Published values: batch 64.", "names batch, which is no field"),
        ("Published values: 10 epochs.", "names 10, which is no field"),
        ("Published values: α 1.", "names α, which is no field"),
        ("Published values", "does not list fields"),
        ("", "does not list fields"),
    ],
)
def test_a_published_value_that_is_not_the_default_is_refused(note, error):
    lines = [
        "Odd: SGD on nothing.",
        "",
        "strength: how strong.",
        *([note] if note else []),
        "Cost: 1.",
        "Source: none.",
    ]
    fields = [("strength", Positive, 1.0)]
    odd = dataclasses.make_dataclass(
        "Odd", fields, bases=(LossUnlearner,), namespace={"__doc__": "\n".join(lines)}, frozen=True, kw_only=True
    )
    if error is None:
        docstrings.published_values(odd)
    else:
        with pytest.raises(ValueError, match=error):
            docstrings.published_values(odd)


def test_a_method_without_explanation_is_refused():
    """A docstring that leaves out a field, the cost or the source does not pass."""

    @dataclass(frozen=True, kw_only=True)
    class Silent(LossUnlearner):
        """Silent: SGD on nothing."""

        strength: Positive = 1.0

    with pytest.raises(ValueError, match="strength, Cost, Source"):
        docstrings.parts_of(Silent)


def test_two_fields_on_one_line():
    """ "a: meaning. b: meaning." explains both, and a continued line belongs to the last."""

    @dataclass(frozen=True, kw_only=True)
    class Two(LossUnlearner):
        """Two: SGD on two.

        left: one side, ≥ 0. right: the other side,
        and more of it.
        Cost: none.
        Source: definition.
        """

        left: Positive = 1.0
        right: Positive = 1.0

    fields = docstrings.parts_of(Two)["fields"]
    assert fields["left"] == "one side, ≥ 0." and fields["right"] == "the other side, and more of it."
