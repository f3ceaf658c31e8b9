"""Hard forget sets: who scores whom, and who is chosen."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import data, network

from lacuna.data.forget import forget_split
from lacuna.data.scenarios.base import DatasetFacts
from lacuna.data.scenarios.by_score import Hardest, Memorised
from lacuna.data.splits import split
from lacuna.measurement.difficulty import folds_of, held_out, loss_of
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe

Y = np.concatenate([np.arange(60) % 3, np.arange(12) % 3])
BASE = split(Y, 60, 0, "d")
NAMES = {"model": "m", "recipe": "r"}
BRIEF = Recipe(epochs=2, lr=0.1, batch_size=16, schedule="constant", crop=0, flip=False)


def chosen(scenario, scores):
    return forget_split(BASE, DatasetFacts(Y, 3, scores=scores), scenario, 0, "d", "hard")["forget"]


def scored(values):
    """Scores of the training part; of everything else nobody knows one."""
    scores = np.full(len(Y), np.nan)
    scores[BASE["train"]] = values
    return scores


# ---- who is chosen ---------------------------------------------------------------------------------------------------

N = len(BASE["train"])
COARSE = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=N, max_size=N).map(np.array)


@given(values=COARSE, fraction=st.sampled_from([0.1, 0.3, 0.5]), highest=st.booleans())
def test_forget_set_is_exactly_the_end_of_the_ranking(values, fraction, highest):
    """No sample outside scores beyond one inside, the size is exact, and ties go by the order of the dataset."""
    pick = "highest" if highest else "lowest"
    found = chosen(Hardest(fraction=fraction, pick=pick, **NAMES), scored(values))
    inside = np.isin(BASE["train"], found)
    assert inside.sum() == round(fraction * N)
    sign = 1 if highest else -1
    worst, best = (sign * values[inside]).min(), (sign * values[~inside]).max()
    assert worst >= best
    tied = np.flatnonzero(sign * values == worst)
    assert (np.diff(inside[tied].astype(int)) <= 0).all(), "the first of equals"
    if highest:
        assert np.array_equal(found, chosen(Memorised(fraction=fraction, **NAMES), scored(values)))


def test_published_names_and_what_they_read():
    assert Memorised.name == "memorised" and Hardest.name == "hardest"
    assert Memorised.needs == Hardest.needs == ("scores",)
    assert Memorised(fraction=0.1, **NAMES).folds == 5 and Hardest(fraction=0.1, **NAMES).pick == "highest"


# ---- who scores whom -------------------------------------------------------------------------------------------------


@given(n=st.integers(5, 60), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_are_a_partition_of_equal_parts(n, folds, seed):
    fold = folds_of(np.arange(n), folds, seed, "d")
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.sum() == n and sizes.max() - sizes.min() <= 1 and len(sizes) == folds
    assert np.array_equal(fold, folds_of(np.arange(n), folds, seed, "d"))


def test_folds_follow_the_seed():
    assert len({tuple(folds_of(np.arange(40), 2, seed, name)) for seed in range(4) for name in ("d", "e")}) == 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Witness(Recipe):
    """A recipe that notes which samples it was shown."""

    def loss(self, model, retain):
        SHOWN.append(retain.index.clone())
        return torch.nn.functional.cross_entropy(model(retain.x), retain.y)


SHOWN: list[torch.Tensor] = []


def test_score_is_of_a_model_that_was_not_trained_on_the_sample():
    source = data()
    source = dataclasses.replace(source, parts={"retain": source.index("mixed"), "val": source.index("val")})
    train = source.index("retain").numpy()
    fold = folds_of(train, 3, 0, "d")
    for k in range(3):
        SHOWN.clear()
        out = torch.from_numpy(train[fold == k])
        model = network()
        scores, _ = held_out(model, Witness(epochs=2, lr=0.1, batch_size=16, crop=0, flip=False), source, out, seed=k)
        assert set(torch.cat(SHOWN).tolist()) == set(train[fold != k]), "all others, and not one of the fold"
        model.eval()
        with torch.no_grad():
            p = model(source.normalised(source.images[out], torch.float32)).double().softmax(1)
        expected = 1 - p[torch.arange(len(out)), source.labels[out]]
        assert scores == pytest.approx(expected.numpy(), abs=1e-6)
    assert source.parts.keys() == {"retain", "val"}, "the data given stays as it is"


def test_held_out_model_is_plain_training_without_the_fold():
    """Bit for bit what `fit` gives on the others, whatever weights the network came with."""
    source = data()
    kept, out = source.index("retain"), source.index("retain")[:10]
    plain = network(seed=1)
    alone, _ = held_out(plain, BRIEF, source, out, seed=3)
    again, _ = held_out(network(seed=2), BRIEF, source, out, seed=3)
    assert np.array_equal(alone, again)
    other = network(seed=1)
    reinitialise(other, derive(3, "init"))
    fit(other, BRIEF, dataclasses.replace(source, parts=dict(source.parts) | {"retain": kept[10:]}), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))


def test_loss_is_the_cross_entropy_of_each_sample():
    source, model = data(), network()
    model.eval()
    x = source.normalised(source.images[source.index("retain")], torch.float32)
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(model(x), source.labels[source.index("retain")], reduction="none")
    assert loss_of(model, source, "retain") == pytest.approx(expected.double().numpy(), abs=1e-6)


def test_mislabelled_samples_are_the_most_memorised():
    """Twelve wrong labels among 120 images whose pattern tells the class: a model that never saw them contradicts."""
    source = data(retain=120, forget=0, size=8)
    wrong = source.index("retain")[torch.arange(0, 120, 10)]
    labels = source.labels.clone()
    labels[wrong] = (labels[wrong] + 1) % 3
    source = dataclasses.replace(source, labels=labels)
    train = np.sort(source.index("retain").numpy())
    fold, score = folds_of(train, 3, 0, "d"), np.empty(len(train))
    recipe = Recipe(epochs=8, lr=0.1, batch_size=16, schedule="constant", crop=0, flip=False)
    for k in range(3):
        score[fold == k], _ = held_out(network(), recipe, source, torch.from_numpy(train[fold == k]), seed=k)
    known = np.full(len(source.labels), np.nan)
    known[train] = score
    told = DatasetFacts(labels.numpy(), 3, scores=known)
    found = Memorised(fraction=0.1, **NAMES).forget(train, told, np.random.default_rng(0))
    assert len(found) == 12
    assert len(np.intersect1d(found, wrong.numpy())) >= 10
