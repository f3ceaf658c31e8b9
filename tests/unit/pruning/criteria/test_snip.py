"""SNIP: the sensitivity to a gate."""

import pytest
from tiny import network

from lacuna.pruning.criteria.base import balanced
from unit.pruning.criteria.scores import SOURCE, loss_on, moved, score, some_entries, worn


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_snip_is_the_sensitivity_to_a_gate(mode):
    """|∂ℓ(c ⊙ θ)/∂c| at c = 1, by central differences."""
    model = worn(network()).double().train(mode == "train")
    chosen = balanced(SOURCE, 4, seed=9)
    scores = score("snip", model, seed=9, samples_per_class=4, batchnorm=mode)
    for name, entry in some_entries(model):
        up, down = (loss_on(moved(model, name, entry, 1 + e), chosen).item() for e in (1e-5, -1e-5))
        assert float(scores[name].flatten()[entry]) == pytest.approx(abs(up - down) / 2e-5, rel=1e-5, abs=1e-10)
