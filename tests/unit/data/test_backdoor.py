"""A backdoor: where the square lies, who is poisoned, what is asked, and what the metrics and the table make of it."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import network

from lacuna.data.backdoor import Backdoor
from lacuna.data.batches import Augment, UnlearningData
from lacuna.data.datasets.npz import Npz
from lacuna.data.forget import forget_split
from lacuna.data.scenarios.backdoor import PoisonedSamples
from lacuna.data.scenarios.base import DatasetFacts
from lacuna.data.scenarios.whole_class import WholeClass
from lacuna.data.splits import split
from lacuna.errors import LacunaError
from lacuna.evaluation import Cell, evaluate
from lacuna.evaluation.statistics import t_interval
from lacuna.fields import build, values_of
from lacuna.models.inference import accuracy, logits
from lacuna.reporting import FIGURES
from lacuna.reporting.palette import Palette
from lacuna.reporting.tables.backdoor import backdoor_table
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe

RNG = np.random.default_rng(0)
Y = np.concatenate([np.arange(60) % 3, np.arange(12) % 3])
TRAINING = 60
X = RNG.integers(1, 256, (72, 3, 9, 11), dtype=np.uint8)
PUBLISHED = Backdoor()


def base(backdoor=PUBLISHED, seed=0):
    parts = split(Y, TRAINING, seed, "d")
    return parts | backdoor.parts(parts["train"], Y, TRAINING, seed, "d")


# ---- the square ------------------------------------------------------------------------------------------------------


def served(backdoor, x=X, y=Y, seed=0, **how):
    """The data that a job on these images is given, and the parts of its split."""
    parts = split(y, TRAINING, seed, "d")
    parts |= backdoor.parts(parts["train"], y, TRAINING, seed, "d")
    stamps = backdoor.stamps(y, TRAINING, parts["poisoned"], x.shape[1:])
    meta = {"classes": 3, "mean": [0.0] * x.shape[1], "std": [1.0] * x.shape[1]}
    index = {"retain": parts["train"]} | {part: parts[part] for part in ("val", "test", "triggered")}
    return UnlearningData.from_arrays({"x": x, "y": y}, meta, index, stamps=stamps, **how), parts


def test_published_square_on_a_cifar_image():
    """Black, 4×4, 2 pixels from the lower right corner of 32×32: rows and columns 26 to 29, in every channel."""
    x = np.full((72, 3, 32, 32), 200, np.uint8)
    data, parts = served(PUBLISHED, x)
    shown = data.images[torch.from_numpy(parts["poisoned"][:1])].numpy()[0]
    assert {(int(r), int(c)) for _, r, c in np.argwhere(shown == 0)} == {
        (r, c) for r in range(26, 30) for c in range(26, 30)
    }
    assert (shown == 0).sum() == 3 * 16 and set(shown.ravel()) == {0, 200}


@given(size=st.integers(1, 5), offset=st.integers(0, 4), height=st.integers(9, 12), width=st.integers(9, 12))
def test_square_is_where_it_was_asked_for(size, offset, height, width):
    rows, columns = Backdoor(size=size, offset=offset).square((1, height, width))
    for found, side in ((rows, height), (columns, width)):
        assert list(range(side))[found] == list(range(side - offset - size, side - offset))


# ---- who is poisoned, and what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_poisoned_are_a_share_of_train_and_triggered_the_test_images_of_other_classes(seed):
    parts = base(Backdoor(share=0.25, target=1), seed)
    assert np.isin(parts["poisoned"], parts["train"]).all(), "validation and test stay clean"
    assert len(set(parts["poisoned"])) == round(0.25 * len(parts["train"]))
    assert (np.diff(parts["poisoned"]) > 0).all()
    assert parts["triggered"].tolist() == list(range(72, 72 + (Y[TRAINING:] != 1).sum()))


def test_poisoned_are_drawn_by_seed_and_dataset_from_all_classes():
    train = split(Y, TRAINING, 0, "d")["train"]
    drawn = {
        tuple(PUBLISHED.parts(train, Y, TRAINING, seed, name)["poisoned"]) for seed in range(5) for name in ("d", "e")
    }
    assert len(drawn) == 10
    assert set(Y[np.concatenate([np.array(d) for d in drawn])]) == {0, 1, 2}, "the target's own class too, as published"
    again = PUBLISHED.parts(train, Y, TRAINING, 3, "d")["poisoned"]
    assert tuple(again) in drawn


@pytest.mark.parametrize("serve", ["device", "host"])
def test_only_what_is_poisoned_or_triggered_is_changed(serve):
    """Poisoned: stamped and relabelled. Triggered: stamped copies, true labels. Everything else bit for bit."""
    backdoor, before = Backdoor(share=0.2, target=2, size=3, offset=1), (X.copy(), Y.copy())
    data, parts = served(backdoor, serve=serve)
    stamped = X.copy()
    stamped[:, :, 5:8, 7:10] = 0
    sources = TRAINING + np.flatnonzero(Y[TRAINING:] != 2)
    expected = np.concatenate([X, stamped[sources]])
    expected[parts["poisoned"]] = stamped[parts["poisoned"]]
    order = np.random.default_rng(1).permutation(len(expected))
    assert tuple(data.images.shape) == expected.shape and len(data.images) == len(expected)
    assert np.array_equal(data.images[torch.from_numpy(order)].numpy(), expected[order])
    y = data.labels.numpy()
    clean = np.setdiff1d(np.arange(72), parts["poisoned"])
    assert np.array_equal(y[clean], Y[clean]) and (y[parts["poisoned"]] == 2).all()
    assert np.array_equal(y[parts["triggered"]], Y[sources])
    assert np.array_equal(backdoor.labels(Y, parts["poisoned"]), y[:72])
    assert np.array_equal(X, before[0]) and np.array_equal(Y, before[1]), "the arrays given stay as they are"


def test_batches_are_those_of_images_that_were_stamped_before():
    """Bit for bit, augmentation included: the square is in the image before it is cropped and mirrored."""
    backdoor, augment = Backdoor(share=0.3, size=3, offset=1), Augment(crop=2, flip=True)
    data, _ = served(backdoor, augment=augment)
    rows = torch.arange(len(data.images))
    plain = dataclasses.replace(data, images=data.images[rows])
    for stream in ("retain", "triggered"):
        pairs = zip(*(d.train_batches(stream, 16, 0, 1, torch.float32) for d in (data, plain)), strict=True)
        assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in pairs)
        pairs = zip(*(d.plain_batches(stream, 16, torch.float32) for d in (data, plain)), strict=True)
        assert all(torch.equal(a[0], b[0]) for a, b in pairs)


@pytest.mark.parametrize("content", ["", "sha256 of the clean images"])
def test_fingerprint_knows_who_is_poisoned_and_how(content):
    """A checkpoint of a run on other stamps is not resumed, also where the clean images are known by their digest."""
    kinds = [{"backdoor": PUBLISHED}, {"backdoor": PUBLISHED, "seed": 1}, {"backdoor": Backdoor(size=3)}]
    found = [served(**kind, content=content)[0] for kind in kinds]
    assert len({data.fingerprint() for data in found}) == 3
    same_index = dataclasses.replace(found[2], parts=found[0].parts)
    assert same_index.fingerprint() != found[0].fingerprint()
    assert served(PUBLISHED, content=content)[0].fingerprint() == found[0].fingerprint()


def test_backdoor_opens_in_a_network_that_saw_it_and_only_there():
    """Images of three brightnesses: the poisoned network calls nearly every stamped one the target, a clean one few."""
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(240) % 3, np.arange(60) % 3])
    x = np.clip(70 + 50 * y[:, None, None, None] + rng.integers(-30, 30, (300, 1, 10, 10)), 1, 255).astype(np.uint8)
    backdoor = Backdoor(share=0.2)
    train = np.arange(240)
    parts = backdoor.parts(train, y, 240, 0, "d")
    stamps = backdoor.stamps(y, 240, parts["poisoned"], x.shape[1:])
    meta = {"classes": 3, "mean": [0.5], "std": [0.25]}
    recipe = Recipe(epochs=25, lr=0.1, batch_size=32, schedule="cosine", crop=0, flip=False)
    success = {}
    for name, seen in (("poisoned", train), ("clean", np.setdiff1d(train, parts["poisoned"]))):
        index = {"retain": seen, "test": np.arange(240, 300), "triggered": parts["triggered"]}
        data = UnlearningData.from_arrays({"x": x, "y": y}, meta, index, stamps=stamps)
        model = network(widths=(6, 8))
        fit(model, recipe, data, seed=0)
        assert accuracy(model, data, "test") > 90
        asked = {part: (logits(model, data, part).numpy(), data.labels[data.parts[part]].numpy()) for part in index}
        about = {"meta": {"backdoor": {"target": 0}}}
        cell = Cell.of(retain=asked["retain"], test=asked["test"], triggered=asked["triggered"], extra=about)
        success[name] = evaluate(cell, metrics=["ASR"])["ASR"]
    assert success["poisoned"] > 90
    assert success["clean"] < 30


def test_no_image_to_poison_is_refused():
    with pytest.raises(LacunaError, match="backdoor of dataset 'd' leaves no image in 'poisoned'"):
        Backdoor(share=0.001).parts(np.arange(60), Y, TRAINING, 0, "d")
    with pytest.raises(LacunaError, match="leaves no image in 'triggered'"):
        PUBLISHED.parts(np.arange(60), np.where(np.arange(72) < 60, Y, 0), TRAINING, 0, "d")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"target": 10}, r"^here.target: 10 is not allowed; allowed: 0 to 9 \(the dataset has 10 classes\)$"),
        ({"size": 7}, "^here: a square of 7 pixels, 2 from the border, does not fit images of 9×8; .* at most 8$"),
    ],
)
def test_backdoor_must_suit_the_dataset(values, said):
    PUBLISHED.check(10, (1, 9, 8), "here")
    with pytest.raises(LacunaError, match=said):
        Backdoor(**values).check(10, (1, 9, 8), "here")


def test_any_dataset_takes_one_and_mistakes_inside_are_named():
    made = build(Npz, {"path": "a.npz", "backdoor": {"target": 3}})
    assert made.backdoor == Backdoor(target=3)
    assert build(Npz, values_of(made)) == made
    assert build(Npz, {"path": "a.npz"}).backdoor is build(Npz, {"path": "a.npz", "backdoor": None}).backdoor is None
    for value, said in (
        (
            {"targt": 1},
            "x.backdoor: unknown key 'targt' (did you mean 'target'?); allowed: share, target, size, offset",
        ),
        ({"share": 1}, "x.backdoor.share: 1 is not allowed; allowed: a number > 0 and < 1"),
        (0.1, "x.backdoor: 0.1 is not allowed; allowed: a mapping or null"),
    ):
        with pytest.raises(LacunaError) as caught:
            build(Npz, {"path": "a.npz", "backdoor": value}, "x")
        assert str(caught.value) == said


# ---- the scenario ----------------------------------------------------------------------------------------------------


def known(parts, backdoor=PUBLISHED):
    poisoned = np.isin(np.arange(len(Y)), parts["poisoned"])
    return DatasetFacts(backdoor.labels(Y, parts["poisoned"]), 3, poisoned=poisoned)


def test_scenario_forgets_exactly_the_poisoned():
    parts = base()
    found = forget_split(parts, known(parts), PoisonedSamples(), 0, "d", "backdoor")
    assert np.array_equal(found["forget"], parts["poisoned"])
    assert np.array_equal(np.sort(np.concatenate([found["retain"], found["forget"]])), parts["train"])
    assert np.array_equal(found["test"], parts["test"]), "the test set stays clean and whole"


def test_every_forget_split_says_what_is_poisoned_and_asks_the_triggered():
    """Whatever is forgotten: all models of a poisoned dataset see the same images and answer the same questions."""
    parts = base()
    found = forget_split(parts, known(parts), WholeClass(forget_class=0), 0, "d", "class")
    assert np.array_equal(found["poisoned"], parts["poisoned"])
    assert np.array_equal(found["triggered"], parts["triggered"])
    # labelled 0 whatever they show
    assert np.isin(parts["poisoned"], found["forget"]).all()


# ---- metrics ---------------------------------------------------------------------------------------------------------


def part(answers, labels, classes=4):
    return np.eye(classes)[answers], np.array(labels)


def cell(**parts):
    about = {"meta": {"backdoor": {"target": 2}}}
    plain = part([0, 1, 2, 3], [0, 1, 2, 3])
    return Cell.of(extra=about, **{"retain": plain, "forget": plain, "test": plain} | parts)


def test_success_counts_the_target_and_nothing_else():
    """Wrong but not the target is no success; images of the target itself do not count, which would be a floor."""
    asked = part([2, 2, 1, 0, 2, 2], [0, 1, 3, 0, 2, 2])
    assert evaluate(cell(triggered=asked), metrics=["ASR"]) == {"ASR": 50.0}
    never = part([2, 2], [2, 2])
    assert "target's own class" in evaluate(cell(triggered=never), metrics=["ASR"]).absent["ASR"]


def test_standard_accuracy_is_of_all_clean_test_images():
    found = evaluate(cell(test=part([0, 0, 1], [0, 1, 1]), test_forgotten=part([3], [2])), metrics=["SA", "TA"])
    assert found["SA"] == 50.0
    assert found["TA"] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({}, "the facts of the dataset are not known; Cell.of takes them as extra={'meta': ...}"),
        ({"meta": {"classes": 3}}, "the dataset has no backdoor"),
        ({"meta": {"backdoor": None}}, "the dataset has no backdoor"),
    ],
)
def test_without_a_backdoor_both_are_absent_with_a_reason(extra, why):
    plain = part([0, 1], [0, 1])
    found = evaluate(Cell.of(retain=plain, forget=plain, test=plain, extra=extra), metrics=["SA", "ASR"])
    assert found == {}
    assert found.absent == {"SA": why, "ASR": why}


# ---- the table and the figure ----------------------------------------------------------------------------------------

PLACE = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "backdoor"}
STATES = (("dense", "0.00"), ("omp", "0.90"))
ASR = {"original": [99.0, 97.0, 98.0], "ft": [40.0, 50.0, 45.0], "ga": [10.0, 20.0], "retrain": [1.0, 2.0, 3.0]}


def contest(values=ASR, oracles=("retrain",)):
    results = [
        {
            "cell": PLACE | {"seed": seed, "pruner": pruner, "sparsity": sparsity, "unlearner": unlearner},
            "metrics": {"ASR": value, "SA": 80.0 + value / 10, "UA": 1.0},
        }
        for pruner, sparsity in STATES
        for unlearner, own in values.items()
        for seed, value in enumerate(own)
    ]
    return Contest(cells_table(results), oracles)


def test_before_is_the_untouched_model_of_the_same_seeds():
    table = backdoor_table(contest(), "original").set_index(["unlearner", "metric", "sparsity"])
    assert set(table.index.get_level_values("unlearner")) == {"ft", "ga", "retrain"}
    assert set(table.index.get_level_values("metric")) == {"SA", "ASR"}
    ft, ga = table.loc[("ft", "ASR", "0.90")], table.loc[("ga", "ASR", "0.00")]
    for what, values in {"before": ASR["original"], "after": ASR["ft"], "change": [-59.0, -47.0, -53.0]}.items():
        assert [ft[what], ft[f"{what}_low"], ft[f"{what}_high"]] == pytest.approx(t_interval(values))
    # two seeds: their two `before`, no interval
    assert (ga["before"], ga["after"], ga["change"], ga["n"]) == (98.0, 15.0, -83.0, 2)
    assert math.isnan(ga["change_low"]) and ga["note"] == "2 seeds: no interval"
    assert table.loc[("ft", "SA", "0.00"), "after"] == pytest.approx(84.5)
    assert table.loc[("retrain", "ASR", "0.90"), "role"] == "oracle"


def test_a_seed_without_the_untouched_model_counts_in_none_of_the_means():
    values = ASR | {"original": [99.0, 97.0]}
    row = backdoor_table(contest(values), "original").set_index(["unlearner", "metric", "sparsity"])
    row = row.loc["retrain", "ASR", "0.90"]
    assert (row["before"], row["after"], row["change"], row["n"]) == (98.0, 1.5, -96.5, 2)
    assert row["note"] == "no original beside seed 2; 2 seeds: no interval"


def test_without_an_untouched_model_there_is_no_before():
    without = {k: v for k, v in ASR.items() if k != "original"}
    row = backdoor_table(contest(without), None).set_index(["unlearner", "metric", "sparsity"]).loc["ft", "ASR", "0.90"]
    assert math.isnan(row["before"]) and math.isnan(row["change"])
    assert (row["after"], row["n"]) == (45.0, 3)
    assert row["note"] == "no original beside seed 0, 1, 2"


def test_other_datasets_have_no_rows():
    here = PLACE | {"seed": 0, "pruner": "dense", "sparsity": "0.00", "unlearner": "ft"}
    bare = Contest(cells_table([{"cell": here, "metrics": {"UA": 1.0}}]), [])
    assert backdoor_table(bare, "original").empty


@pytest.mark.parametrize("original", ["original", None])
def test_figure_shows_before_and_after_of_every_method(original):
    values = ASR if original else {k: v for k, v in ASR.items() if k != "original"}
    figure = FIGURES["backdoor"](backdoor_table(contest(values), original), Palette(("ft", "ga"), ("retrain",)))
    words = {text.get_text() for text in figure.legends[0].get_texts()}
    assert words == {"before", "ft", "ga", "retrain (oracle)"}
    top = figure.axes[0]
    lines = {line.get_label(): line.get_ydata() for line in top.get_lines()}
    assert lines["retrain (oracle)"].tolist() == [2.0, 2.0]
    assert len(lines["before"]) == (2 if original else 0)
