"""Figures: what they declare is what they take."""

import inspect

import pandas as pd
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


# ---- roc -------------------------------------------------------------------------------------------------------------


def curves(methods=("original", "retrain", "ga", "again"), seeds=(0,), states=(("dense", "0.00"), ("omp", "0.90"))):
    place = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "random"}
    return pd.DataFrame(
        [
            {**place, "pruner": pruner, "sparsity": sparsity, "seed": seed, "unlearner": method}
            | {
                "role": {"retrain": "oracle", "again": "twin"}.get(method, "method"),
                "attack": attack,
                "fpr": fpr,
                "tpr": min(1.0, fpr * (i + 1)),
            }
            for pruner, sparsity in states
            for seed in seeds
            for i, method in enumerate(methods)
            for attack in ("u_lira", "rmia")
            for fpr in (0.002, 0.01, 0.1, 1.0)
        ]
    )


def test_roc_has_a_panel_per_attack_and_state_and_a_curve_per_method_and_seed():
    figure = FIGURES["roc"](roc=curves(seeds=(0, 1)), oracles=["retrain"])
    assert len(figure.axes) == 4
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["dense", "omp, 90 %", "", ""]
    for ax in figure.axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlim() == (0.002, 1)
        drawn = [line for line in ax.lines if len(line.get_xdata()) == 4]
        assert len(drawn) == 2 * 4
        assert {line.get_label() for line in drawn} == {"original", "retrain (oracle)", "ga", "again (twin)"}
        of = {line.get_label(): list(line.get_ydata()) for line in drawn}
        assert of["ga"] == pytest.approx([0.006, 0.03, 0.3, 1.0])
    assert "2 seeds" in figure.get_suptitle()


def test_roc_puts_dense_first_whatever_the_order_of_cells():
    states = (("omp", "0.90"), ("dense", "0.00"))
    figure = FIGURES["roc"](roc=curves(states=states), oracles=["retrain"])
    assert [ax.get_title() for ax in figure.axes[:2]] == ["dense", "omp, 90 %"]
