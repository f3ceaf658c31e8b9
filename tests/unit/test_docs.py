"""The generated pages say what the sources say."""

import dataclasses
from dataclasses import dataclass

import pytest

from lacuna import docs
from lacuna.evaluation import METRICS
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.fields import Positive
from lacuna.pruning import PRUNERS
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.base import LossUnlearner


@pytest.mark.parametrize("page", ["methods", "metrics"])
def test_page_is_current(page):
    """docs/ has what the sources give now (if not: make docs)."""
    assert (docs.PAGES / f"{page}.md").read_text(encoding="utf-8") == getattr(docs, f"{page}_page")()


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


def test_pruners_page_is_current():
    """docs/pruners.md is what the dataclasses give now (if not: make docs)."""
    assert (docs.PAGES / "pruners.md").read_text(encoding="utf-8") == docs.pruners_page()


def test_every_field_of_every_pruner_is_explained():
    """Each pruner says what it removes, where that comes from and what each field of its own means."""
    for name, cls in PRUNERS.items():
        parts = docs.parts_of(cls, needed=("Source",))
        assert parts["formula"] and parts["notes"]["Source"], name
        assert set(docs.own_fields(cls)) <= set(parts["fields"]), name


def test_every_field_of_every_method_is_explained():
    """Each method says its formula, cost, source and what each field of its own means."""
    for name, cls in UNLEARNERS.items():
        parts = docs.parts_of(cls)
        assert parts["formula"] and parts["notes"]["Source"] and parts["notes"]["Cost"], name
        assert set(docs.own_fields(cls)) <= set(parts["fields"]), name
        assert set(parts["fields"]) <= {f.name for f in dataclasses.fields(cls)}, name


def test_a_method_without_explanation_is_refused():
    """A docstring that leaves out a field, the cost or the source does not pass."""

    @dataclass(frozen=True, kw_only=True)
    class Silent(LossUnlearner):
        """Silent: SGD on nothing."""

        strength: Positive = 1.0

    with pytest.raises(ValueError, match="strength, Cost, Source"):
        docs.parts_of(Silent)


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

    fields = docs.parts_of(Two)["fields"]
    assert fields["left"] == "one side, ≥ 0." and fields["right"] == "the other side, and more of it."
