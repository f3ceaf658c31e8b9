"""Figures: what they declare is what they take."""

import inspect

import pytest

from lacuna.catalogue import describe
from lacuna.reporting import FIGURES


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_takes_the_tables_that_it_declares(name):
    """The workflow hands over each declared table by its name, then the oracles; nothing else."""
    figure = FIGURES[name]
    assert list(inspect.signature(figure).parameters) == [*figure.about["reads"], "oracles"]
    assert isinstance(figure.about["reads"], tuple), "('summary',), not ('summary')"


def test_the_plan_knows_what_each_figure_reads():
    """The catalogue, which plans the inputs of the rule, has the declaration of every figure."""
    facts = describe()["figures"]
    assert {name: tuple(f["reads"]) for name, f in facts.items()} == {n: f.about["reads"] for n, f in FIGURES.items()}
