"""The batch that criteria look at."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import network, same

from lacuna.pruning.criteria.base import balanced
from unit.pruning.criteria.scores import SOURCE, score


def test_taylor_mixes_a_sorted_dataset():
    """Stored class by class, no batch of the pass is of one class: another order gives other batches."""
    order = torch.argsort(SOURCE.labels[SOURCE.parts["retain"]])
    sorted_ = replace(SOURCE, parts=dict(SOURCE.parts) | {"retain": SOURCE.parts["retain"][order]})
    model = network()
    one, other = (score("taylor", model, sorted_, seed=seed, batch_size=20) for seed in (0, 1))
    assert not same(one, other)


@given(per_class=st.integers(1, 30), seed=st.integers(0, 99))
def test_balanced_batch_has_as_many_of_every_class(per_class, seed):
    chosen = balanced(SOURCE, per_class, seed)
    assert len(chosen.unique()) == len(chosen)
    retained = SOURCE.parts["retain"]
    assert bool(torch.isin(chosen, retained).all())
    for label in range(SOURCE.classes):
        there = int((SOURCE.labels[retained] == label).sum())
        assert int((SOURCE.labels[chosen] == label).sum()) == min(per_class, there)
    assert torch.equal(chosen, balanced(SOURCE, per_class, seed))


def test_a_class_that_is_not_retained_is_left_out():
    """The exact oracle of a forgotten class never sees it."""
    without = SOURCE.parts["retain"][SOURCE.labels[SOURCE.parts["retain"]] != 1]
    chosen = balanced(replace(SOURCE, parts={"retain": without}), 5, seed=0)
    assert SOURCE.labels[chosen].bincount(minlength=3).tolist() == [5, 0, 5]


@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_another_seed_is_another_batch(name):
    model = network()
    assert not same(score(name, model, seed=0, samples_per_class=3), score(name, model, seed=1, samples_per_class=3))
