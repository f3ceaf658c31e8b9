"""Datasets are checked before they are used; splits are disjoint, stratified and a function of the seed."""

import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lacuna.data import DATASETS, SCENARIOS, user_files
from lacuna.data.datasets.digits import Digits
from lacuna.data.datasets.npz import Npz
from lacuna.data.forget import forget_split
from lacuna.data.images import Images
from lacuna.data.scenarios.base import DatasetFacts
from lacuna.data.scenarios.indices import Indices
from lacuna.data.scenarios.random_fraction import RandomFraction
from lacuna.data.scenarios.subclass import Subclass
from lacuna.data.scenarios.whole_class import WholeClass
from lacuna.data.splits import VAL_FRACTION, split
from lacuna.errors import LacunaError
from lacuna.fields import build

# ---- the embedded dataset --------------------------------------------------------------------------------------------


def test_digits_are_the_1797_of_scikit_learn():
    from sklearn.datasets import load_digits

    images = Digits().load()
    assert images.x.shape == (1797, 1, 8, 8)
    assert images.x.dtype == np.uint8
    assert images.y.dtype == np.int64
    assert (images.train, images.classes) == (1438, Digits().classes())
    assert images.x.shape[1:] == Digits().shape()
    x, y = load_digits(return_X_y=True)
    # the same images, each with its own label, in another order; grey levels 0..16 become 0..255
    theirs = sorted((bytes(np.rint(a * 255 / 16).astype(np.uint8)), int(b)) for a, b in zip(x, y, strict=True))
    assert sorted((bytes(a.reshape(-1)), int(b)) for a, b in zip(images.x, images.y, strict=True)) == theirs


def test_some_digits_are_the_same_images_under_new_labels():
    """Training stays training and test stays test; the labels follow the order in which the digits are named."""
    every, some = Digits().load(), Digits(only=(7, 2, 4)).load()
    kept = np.isin(every.y, [7, 2, 4])
    np.testing.assert_array_equal(some.x, every.x[kept])
    np.testing.assert_array_equal(np.array([7, 2, 4])[some.y], every.y[kept])
    assert (some.train, some.classes, Digits(only=(7, 2, 4)).classes()) == (kept[: every.train].sum(), 3, 3)


@pytest.mark.parametrize("only", [[3], [3, 3], [3, 10], [3, -1]])
def test_digits_that_are_not_there_are_refused(only):
    with pytest.raises(LacunaError, match=r"^digits\.only"):
        build(Digits, {"only": only})


def test_digits_test_set_is_a_fixed_stratified_fifth():
    images, again = Digits().load(), Digits().load()
    np.testing.assert_array_equal(images.x, again.x)
    np.testing.assert_array_equal(images.y, again.y)
    per_class, tested = np.bincount(images.y), np.bincount(images.y[images.train :])
    assert tested.tolist() == [round(0.2 * n) for n in per_class]


def test_meta_describes_the_training_images_only():
    x = np.zeros((4, 2, 1, 1), np.uint8)
    x[:, 0, 0, 0] = [0, 255, 255, 7]
    meta = Images(x, np.array([0, 1, 1, 0]), train=2, classes=2).meta()
    assert meta["mean"] == pytest.approx([0.5, 0.0])
    assert meta["std"] == pytest.approx([0.5, 1.0]), "a constant channel has std 1"
    assert {k: meta[k] for k in ("classes", "train", "test", "shape")} == {
        "classes": 2,
        "train": 2,
        "test": 2,
        "shape": [2, 1, 1],
    }


def test_meta_agrees_with_numpy_and_its_digest_with_the_content():
    images = Digits().load()
    meta = images.meta()
    pixels = images.x[: images.train] / 255
    assert meta["mean"] == pytest.approx([pixels.mean()])
    assert meta["std"] == pytest.approx([pixels.std()])
    changed = images.x.copy()
    changed[-1, 0, 0, 0] ^= 1
    assert Images(changed, images.y, images.train, 10).meta()["sha256"] != meta["sha256"]


# ---- the user's own images -------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def test_images_of_one_colour_are_refused_when_they_are_read(tmp_path):
    """Nothing can be learnt from them, and no statistic of a trained model would say why; nothing is left."""
    images = npz(tmp_path, x_train=np.full((6, 5, 4), 255, np.uint8)).load()
    with pytest.raises(LacunaError, match="the pixels of all training images have the same value; allowed: images"):
        images.write(tmp_path / "images.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["my.npz"]


def npz(tmp_path, layout="auto", **changes):
    """A valid file with some arrays changed; None leaves one out."""
    arrays = {"x_train": GREY, "y_train": LABELS, "x_test": GREY[:2], "y_test": LABELS[:2]} | changes
    np.savez(tmp_path / "my.npz", **{k: v for k, v in arrays.items() if v is not None})
    return Npz(path=str(tmp_path / "my.npz"), layout=layout)


@pytest.mark.parametrize(
    ("layout", "images", "expected"),
    [
        ("auto", GREY, GREY[:, None]),
        ("auto", GREY[:, None], GREY[:, None]),
        ("auto", GREY[..., None], GREY[:, None]),
        ("auto", COLOUR, COLOUR),
        ("auto", COLOUR.transpose(0, 2, 3, 1), COLOUR),
        ("nchw", COLOUR, COLOUR),
        ("nhwc", COLOUR.transpose(0, 2, 3, 1), COLOUR),
        ("nchw", COLOUR[..., :3], COLOUR[..., :3]),
        ("nhwc", COLOUR[..., :3], COLOUR[..., :3].transpose(0, 3, 1, 2)),
        ("auto", COLOUR / 255, COLOUR),
        ("auto", (COLOUR / 255).astype(np.float32), COLOUR),
        ("auto", np.full((6, 2, 2), 0.5), np.full((6, 1, 2, 2), 128)),
        ("auto", np.asfortranarray(COLOUR), COLOUR),
    ],
)
def test_every_layout_becomes_uint8_nchw(tmp_path, layout, images, expected):
    loaded = npz(tmp_path, layout, x_train=images, x_test=images[:2]).load()
    np.testing.assert_array_equal(loaded.x, np.concatenate([expected, expected[:2]]))
    assert loaded.x.dtype == np.uint8
    assert loaded.x.flags.c_contiguous
    np.testing.assert_array_equal(loaded.y, np.concatenate([LABELS, LABELS[:2]]))
    assert (loaded.train, loaded.classes, loaded.y.dtype) == (6, 3, np.int64)


@pytest.mark.parametrize("shift", [1e-9, -1e-9, 9e-7])
def test_rounding_at_the_ends_of_the_range_is_no_mistake(tmp_path, shift):
    """Images / 255 in another order of operations end a hair beside 0 and 1."""
    ends = np.array([0, 255] * 60, np.uint8).reshape(6, 5, 4)
    assert np.array_equal(npz(tmp_path, x_train=ends / 255.0 + shift).load().x[:6, 0], ends)


@pytest.mark.parametrize("value", [1.0000021, -1.2e-6])
def test_refused_value_is_printed_with_all_that_makes_it_wrong(tmp_path, value):
    x = np.where(np.arange(6)[:, None, None] == 4, value, GREY / 300)
    with pytest.raises(LacunaError) as caught:
        npz(tmp_path, x_train=x).load()
    assert f"{value!r}" in str(caught.value) or f"{value:g}" in str(caught.value)
    assert "to 1 are" not in str(caught.value)


def test_sixteen_bit_floats_keep_all_levels(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)
    loaded = npz(
        tmp_path,
        x_train=(levels / 255).astype(np.float16),
        x_test=levels,
        y_train=np.array([0, 1]),
        y_test=np.array([0, 1]),
    )
    assert np.abs(loaded.load().x[:2, 0].astype(int) - levels).max() == 0


def test_archive_that_promises_more_than_it_holds_or_fits_is_not_unpacked(tmp_path, monkeypatch):
    """Shapes, types and the memory are looked at before any array is."""
    dataset = npz(tmp_path, x_train=GREY.astype(np.int16))
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", None)
    with pytest.raises(LacunaError, match="x_train: type int16 is not allowed"):
        dataset.load()
    monkeypatch.setattr(os, "sysconf", lambda name: 10)
    with pytest.raises(LacunaError, match=r"my.npz: its arrays take 2.24e-07 GB; allowed: up to 1e-07 GB, the memory"):
        npz(tmp_path).load()


def test_header_that_lies_about_its_array_is_refused(tmp_path):
    path = tmp_path / "my.npz"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 8, 8)})
    npz(tmp_path, x_train=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())
    with pytest.raises(LacunaError, match=r"my.npz: not a usable npz file \(x_train is cut short\)"):
        Npz(path=str(path)).load()


def test_class_without_a_test_image_is_said(tmp_path):
    assert npz(tmp_path).load().remarks() == ["no test image of 1 classes, such as 2"]
    assert npz(tmp_path, x_test=GREY[:3], y_test=LABELS[:3]).load().remarks() == []


def test_content_counts_and_not_the_time(tmp_path, monkeypatch):
    """An older file in the place of another is another one; a large file is read once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    path = tmp_path / "forget.csv"
    for size in (1, user_files._LARGE):
        old, new = b"1" * size, b"2" * size
        path.write_bytes(new)
        before = user_files.content_of_files(Indices(path="forget.csv").files())
        os.utime(path, (2e9, 2e9))
        assert user_files.content_of_files(Indices(path="forget.csv").files()) == before
        path.write_bytes(old)
        os.utime(path, (1, 1))
        after = user_files.content_of_files(Indices(path="forget.csv").files())
        assert after != before
        path.unlink()
        assert user_files.content_of_files(Indices(path="forget.csv").files()) not in (before, after)
    path.write_bytes(old)
    monkeypatch.setattr(user_files, "_TICK_NS", -1)
    first = user_files.content_of_files([path])
    read = []
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(given))
    assert user_files.content_of_files([path]) == first
    assert read == []
    assert first == after


def test_labels_of_any_integer_type_are_taken(tmp_path):
    dataset = npz(tmp_path, y_train=LABELS.astype(np.uint8), y_test=LABELS[:2].astype(np.int32))
    assert dataset.classes() == 3
    assert dataset.shape() == dataset.load().x.shape[1:]
    assert [str(f) for f in dataset.files()] == [str(tmp_path / "my.npz")]


MISTAKES = [
    (
        {"x_test": None},
        "no array 'x_test' (it holds x_train, y_train, y_test)",
        "needed: x_train, y_train, x_test, y_test",
    ),
    ({"x_train": GREY[:, 0]}, "x_train: shape (6, 4) is", "(n, height, width)"),
    ({"x_train": GREY[0, 0, 0]}, "x_train: shape () is", "(n, height, width)"),
    ({"x_train": RNG.random((6, 5, 4, 2))}, "x_train: shape (6, 5, 4, 2) is", "(n, height, width, 1 or 3)"),
    ({"x_train": RNG.random((6, 3, 5, 3))}, "x_train: shape (6, 3, 5, 3) may be NHWC or NCHW", "layout: nhwc or"),
    ({"x_train": GREY[:0]}, "x_train: shape (0, 1, 5, 4) is", "none of them 0"),
    ({"x_train": GREY.astype(np.int64)}, "x_train: type int64 is", "uint8, or floats in [0, 1]"),
    ({"x_train": GREY > 3}, "x_train: type bool is", "uint8, or floats in [0, 1]"),
    ({"x_train": GREY / 100}, "x_train: values from 0 to 2.48 are", "floats in [0, 1]"),
    (
        {"x_test": GREY[:2] / 255 / 255},
        "x_test: floats from ",
        "floats that fill [0, 1], or uint8 (were they divided by",
    ),
    ({"x_train": GREY / 255 - 0.5}, "x_train: values from -0.5 to 0.472549 are", "floats in [0, 1]"),
    (
        {"x_train": np.where(np.arange(6)[:, None, None] == 4, np.nan, GREY / 255)},
        "x_train: image 4 holds NaN",
        "floats",
    ),
    (
        {"x_train": np.where(np.arange(6)[:, None, None] == 2, np.inf, GREY / 255)},
        "x_train: image 2 holds NaN",
        "floats",
    ),
    ({"x_test": GREY[:2, :4]}, "x_test: images of shape (1, 4, 4) are", "(1, 5, 4), the shape in x_train"),
    ({"x_test": COLOUR[:2]}, "x_test: images of shape (3, 5, 4) are", "(1, 5, 4)"),
    ({"y_train": LABELS[:5]}, "y_train: shape (5,) is", "(6,), one label for each image"),
    ({"y_train": LABELS[:, None]}, "y_train: shape (6, 1) is", "(6,), one label for each image; one-hot rows or a"),
    ({"y_train": np.eye(3)[LABELS]}, "y_train: shape (6, 3) is", "one-hot rows or a column must become class numbers"),
    ({"y_train": np.zeros(6, [("a", "i4"), ("b", "f4")])}, "y_train: type [('a', '<i4'), ('b', '<f4')] is", "whole"),
    ({"y_train": LABELS.astype(float)}, "y_train: type float64 is", "whole numbers"),
    ({"y_train": LABELS - 1}, "y_train: label -1 is out of range", "0 to classes - 1"),
    ({"y_train": LABELS * 2}, "y_train: no image of class 1 is", "labels 0 to classes - 1, each present"),
    ({"y_train": LABELS * 10**12}, "y_train: no image of class 1 is", "labels 0 to classes - 1, each present"),
    ({"y_train": LABELS * 0}, "y_train: only one class is", "labels 0 to classes - 1, each present"),
    ({"y_test": np.array([0, 3])}, "y_test: label 3 is out of range", "0 to 2 (3 classes)"),
    ({"y_test": np.array([0, -1])}, "y_test: label -1 is out of range", "0 to classes - 1"),
]


@pytest.mark.parametrize(("change", "said", "allowed"), MISTAKES)
def test_bad_arrays_are_refused_with_file_array_and_remedy(tmp_path, change, said, allowed):
    with pytest.raises(LacunaError) as caught:
        npz(tmp_path, **change).classes()
    sentence = str(caught.value)
    assert sentence.startswith(f"{tmp_path / 'my.npz'}: {said}")
    assert allowed in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_layout_that_does_not_fit_is_refused(tmp_path, layout):
    images = COLOUR if layout == "nhwc" else COLOUR.transpose(0, 2, 3, 1)
    with pytest.raises(LacunaError, match=r"x_train: shape .* is not allowed"):
        npz(tmp_path, layout, x_train=images).load()


def a_pickle(path):
    path.write_bytes(pickle.dumps({"x_train": GREY}))


def half_a_file(path):
    np.savez_compressed(path, x_train=GREY, y_train=LABELS, x_test=GREY, y_test=LABELS)
    path.write_bytes(path.read_bytes()[:300])


def a_damaged_file(path):
    np.savez_compressed(path, x_train=GREY, y_train=LABELS, x_test=GREY, y_test=LABELS)
    content = bytearray(path.read_bytes())
    content[70:100] = bytes(30)
    path.write_bytes(content)


def objects(path):
    np.savez(path, x_train=np.array([None, {}]), y_train=LABELS, x_test=GREY, y_test=LABELS)


def one_array(path):
    with open(path, "wb") as file:
        np.save(file, GREY)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.write_text("hello"), "not a usable npz file"),
        (lambda p: p.mkdir(), "not a usable npz file"),
        (a_pickle, "not a usable npz file"),
        (half_a_file, "not a usable npz file"),
        (a_damaged_file, "not a usable npz file"),
        (objects, "not a usable npz file"),
        (one_array, "not an npz archive"),
    ],
)
def test_unusable_file_is_refused_with_its_name(tmp_path, make, said):
    path = tmp_path / "my.npz"
    make(path)
    with pytest.raises(LacunaError) as caught:
        Npz(path=str(path)).classes()
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "x_train, y_train, x_test, y_test" in str(caught.value)


# ---- splits ----------------------------------------------------------------------------------------------------------

Y = np.concatenate([np.repeat([0, 1, 2], [40, 25, 5]), np.repeat([0, 1, 2], 4)])
TRAIN = 70
KNOWN = DatasetFacts(Y, 3)


@given(
    y=st.lists(st.integers(0, 3), min_size=40, max_size=120).map(np.array),
    seed=st.integers(0, 999),
    test=st.integers(1, 9),
)
def test_split_is_a_stratified_partition(y, seed, test):
    train = len(y) - test
    counts = np.bincount(y[:train], minlength=4)
    if (counts == 1).any():
        with pytest.raises(LacunaError, match="has 1 training image; allowed: at least 2"):
            split(y, train, seed, "d")
        return
    parts = split(y, train, seed, "d")
    assert list(parts) == ["train", "val", "test"]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(y)))
    np.testing.assert_array_equal(parts["test"], np.arange(train, len(y)))
    for k in np.flatnonzero(counts):
        assert (y[parts["val"]] == k).sum() == max(1, round(VAL_FRACTION * counts[k]))
    assert all((np.diff(index) > 0).all() for index in parts.values()), "sorted"
    again = split(y, train, seed, "d")
    assert all(np.array_equal(parts[k], again[k]) for k in parts)


def test_smallest_class_has_an_image_for_validation():
    parts = split(Y, TRAIN, 0, "d")
    assert np.bincount(Y[parts["val"]]).tolist() == [4, 2, 1], "a tenth of 40, 25 and 5"


def test_split_depends_on_seed_and_dataset():
    found = {tuple(split(Y, TRAIN, seed, name)["val"]) for seed in range(5) for name in ("a", "b")}
    assert len(found) == 10


SCENES = {
    "class": WholeClass(forget_class=1),
    "two": WholeClass(forget_class=(2, 0)),
    "random": RandomFraction(fraction=0.3),
}


@pytest.mark.parametrize("label", SCENES)
@pytest.mark.parametrize("seed", range(3))
def test_forget_split_divides_the_training_part_and_nothing_else(label, seed):
    base = split(Y, TRAIN, seed, "d")
    parts = forget_split(base, KNOWN, SCENES[label], seed, "d", label)
    np.testing.assert_array_equal(np.sort(np.concatenate([parts["retain"], parts["forget"]])), base["train"])
    np.testing.assert_array_equal(parts["val"], base["val"])
    tests = [parts["test"], parts.get("test_forgotten", np.array([], int))]
    np.testing.assert_array_equal(np.sort(np.concatenate(tests)), base["test"])
    assert all((np.diff(index) > 0).all() for index in parts.values()), "sorted"


def test_whole_class_leaves_training_and_test():
    base = split(Y, TRAIN, 0, "d")
    parts = forget_split(base, KNOWN, SCENES["class"], 0, "d", "class")
    assert set(Y[parts["forget"]]) == set(Y[parts["test_forgotten"]]) == {1}
    assert 1 not in Y[parts["retain"]]
    assert 1 not in Y[parts["test"]]


def test_several_classes_are_forgotten_together():
    """D_f of a list is that of its classes one by one, in any order; a list of one is the class."""
    base = split(Y, TRAIN, 0, "d")

    def parts(labels):
        return forget_split(base, KNOWN, build(WholeClass, {"forget_class": labels}), 0, "d", "class")

    both, zero, two = parts([2, 0]), parts(0), parts(2)
    for part in ("forget", "test_forgotten"):
        np.testing.assert_array_equal(both[part], np.union1d(zero[part], two[part]))
    assert set(Y[both["retain"]]) == set(Y[both["test"]]) == {1}
    assert all(np.array_equal(one, other) for one, other in zip(parts([0]).values(), zero.values(), strict=True))


@pytest.mark.parametrize("labels", [[], [1, 1], [-1], ""])
def test_a_list_of_classes_has_each_once(labels):
    with pytest.raises(
        LacunaError, match=r"forget_class.* is not allowed; allowed: a whole number >= 0 or .* list of at"
    ):
        build(WholeClass, {"forget_class": labels})


def test_a_name_is_a_label_only_in_a_grid():
    """Which number it has is what a dataset says."""
    with pytest.raises(LacunaError, match="forget_class: 'all' is a name; allowed outside of a grid: labels, from 0"):
        _ = build(WholeClass, {"forget_class": "all"}).forgotten


def test_random_fraction_has_the_exact_size_and_follows_the_seed():
    base = split(Y, TRAIN, 0, "d")
    sizes, sets = set(), set()
    for seed in range(4):
        parts = forget_split(base, KNOWN, SCENES["random"], seed, "d", "random")
        assert "test_forgotten" not in parts
        sizes.add(len(parts["forget"]))
        sets.add(tuple(parts["forget"]))
    assert sizes == {round(0.3 * len(base["train"]))}
    assert len(sets) == 4
    a, b = (forget_split(base, KNOWN, SCENES["random"], 0, "d", label)["forget"] for label in ("a", "b"))
    assert not np.array_equal(a, b), "two labels with the same fraction are two draws"


def test_random_fraction_draws_every_sample_alike():
    base = split(Y, TRAIN, 0, "d")
    drawn = np.zeros(len(Y))
    for seed in range(400):
        drawn[forget_split(base, KNOWN, SCENES["random"], seed, "d", "r")["forget"]] += 1
    share = drawn[base["train"]] / 400
    assert share.mean() == pytest.approx(0.3, abs=0.01)
    assert np.abs(share - 0.3).max() < 0.1  # 4 standard deviations


@pytest.mark.parametrize(
    ("scenario", "y", "part"),
    [
        (RandomFraction(fraction=0.001), Y, "forget"),
        (RandomFraction(fraction=0.999), Y, "retain"),
        (WholeClass(forget_class=1), np.where(np.arange(len(Y)) < TRAIN, Y, 1), "test"),
        (WholeClass(forget_class=7), Y, "forget"),
    ],
)
def test_empty_part_is_refused_by_name(scenario, y, part):
    base = split(Y, TRAIN, 0, "d")
    with pytest.raises(LacunaError, match=f"^scenario 'mine' of dataset 'd' leaves no image in '{part}'; allowed: at"):
        forget_split(base, DatasetFacts(y, 3), scenario, 0, "d", "mine")


def test_scenario_checks_the_number_of_classes():
    WholeClass(forget_class=9).check({"classes": 10}, "here")
    sentence = "^here.forget_class: 12 is not allowed; allowed: 0 to 9 .the dataset has 10 classes.$"
    with pytest.raises(LacunaError, match=sentence):
        WholeClass(forget_class=12).check({"classes": 10}, "here")
    with pytest.raises(LacunaError, match=sentence):
        WholeClass(forget_class=(3, 12)).check({"classes": 10}, "here")
    with pytest.raises(LacunaError, match="all 3 classes are forgotten; allowed: at least one is retained"):
        WholeClass(forget_class=(0, 2, 1)).check({"classes": 3}, "here")


def test_registries_hold_them():
    assert {"digits", "npz"} <= set(DATASETS)
    assert {"class", "random", "subclass", "indices"} <= set(SCENARIOS)


# ---- a finer class, a list -------------------------------------------------------------------------------------------

FINE = KNOWN.y * 2 + np.arange(len(Y)) % 2  # two finer classes in each


def test_subclass_leaves_training_and_test_and_its_class_stays():
    base = split(Y, TRAIN, 0, "d")
    known = DatasetFacts(Y, 3, FINE)
    parts = forget_split(base, known, Subclass(super_class=1, fine_class=3), 0, "d", "sub")
    of = FINE == 3
    assert parts["forget"].tolist() == [i for i in base["train"] if of[i]]
    assert parts["test_forgotten"].tolist() == [i for i in base["test"] if of[i]]
    assert not of[parts["test"]].any()
    assert {2, 3} - set(FINE[parts["retain"]]) == {3}, "the class goes on with its other half"


def test_subclass_of_another_class_is_refused_with_the_right_one():
    base = split(Y, TRAIN, 0, "d")
    with pytest.raises(
        LacunaError, match=r"^subclass: no training image of class 0 is of fine class 3; allowed: super_class 1$"
    ):
        forget_split(base, DatasetFacts(Y, 3, FINE), Subclass(super_class=0, fine_class=3), 0, "d", "sub")
    with pytest.raises(LacunaError, match="the dataset has no finer labels"):
        forget_split(base, KNOWN, Subclass(super_class=0, fine_class=0), 0, "d", "sub")


def test_subclass_checks_both_levels():
    meta = {"classes": 3, "fine": 6}
    Subclass(super_class=2, fine_class=5).check(meta, "here")
    with pytest.raises(LacunaError, match=r"^here.super_class: 3 is not allowed; allowed: 0 to 2 "):
        Subclass(super_class=3, fine_class=0).check(meta, "here")
    with pytest.raises(LacunaError, match=r"^here.fine_class: 6 is not allowed; allowed: 0 to 5 "):
        Subclass(super_class=0, fine_class=6).check(meta, "here")


def test_finer_labels_of_an_npz(tmp_path):
    fine = np.array([0, 2, 4, 1, 3, 5])
    dataset = npz(tmp_path, fine_train=fine, fine_test=fine[:2])
    assert dataset.load().fine.tolist() == [0, 2, 4, 1, 3, 5, 0, 2]
    assert (dataset.fine(), dataset.classes()) == (6, 3)
    assert npz(tmp_path).fine() == 0
    for change, said in (
        ({"fine_train": fine}, "no array 'fine_test'"),
        ({"fine_train": fine[:5], "fine_test": fine[:2]}, "fine_train: shape (5,) is not"),
        ({"fine_train": fine, "fine_test": fine[:2] + 6}, "fine_test: label 8 is out of range; allowed: 0 to 5"),
    ):
        with pytest.raises(LacunaError) as caught:
            npz(tmp_path, **change).load()
        assert said in str(caught.value)


def listed(path, content):
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with open(path, "wb") as file:
            np.save(file, content)
    return Indices(path=str(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", np.array([5, 2, 30], np.int32)),
        ("a.npy", np.array([5, 2, 30], np.uint8)),
        ("a.csv", "5\n2\n30\n"),
        ("a.csv", "index\n5\n\n 2 \n30"),
        ("a.csv", "\ufeff5\r\n2\r\n30\r\n"),
        ("a.csv", "\ufeffindex\r\n5\r\n2\r\n30"),
        ("a.csv", "5\n2\n30".encode("utf-16")),
        ("a.CSV", "# mine: 7 of 9\n'image number'\n5 # a cat\n+2\n\n30.0"),
        ("a.csv", '"index",\n"5",\n2;\n30.\n'),
        ("a.csv", "5\r2\r30"),
        ("a.NPY", np.array([5, 2, 30], ">i8")),
    ],
)
def test_listed_images_are_forgotten(tmp_path, name, content):
    """Less those that the seed keeps for validation, of which the log is told."""
    scenario = listed(tmp_path / name, content)
    scenario.check({"classes": 3}, "here")
    assert scenario.files() == [tmp_path / name]
    for seed in range(20):
        base = split(Y, TRAIN, seed, "d")
        expected = sorted({2, 5, 30} - set(base["val"]))
        if expected:
            parts = forget_split(base, DatasetFacts(Y, 3, train=TRAIN), scenario, seed, "d", "list")
            assert parts["forget"].tolist() == expected
            assert not set(parts["retain"]) & {2, 5, 30}
        assert scenario.remark(base["train"]).startswith(f"{3 - len(expected)} of 3 indices left out")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", None, "no such file; allowed: .npy with"),
        ("a.csv", None, "no such file"),
        ("a.txt", "1\n", "this kind of file is not allowed; allowed: .npy with"),
        ("a.npy", "1\n", "not a usable file"),
        ("a.npy", np.array([None]), "not a usable file"),
        ("a.npy", np.array([1.0]), "another kind of content"),
        ("a.npy", np.array([[1]]), "another kind of content"),
        ("a.npy", np.array([], np.int64), "it holds no index"),
        ("a.csv", "index\n", "it holds no index"),
        ("a.csv", "1\n2.5\n", "not a usable file"),
        ("a.csv", "1,2\n3,4\n5,6\n", "not a usable file"),
        ("a.csv", "1" * 30, "not a usable file (line 1 is no index"),
        ("a.csv", "1 5\n7\n", "not a usable file (line 1 is no index: '1 5')"),
        ("a.csv", "0.5\n7\n", "not a usable file (line 1 is no index: '0.5')"),
        ("a.csv", "x1\n7\n", "not a usable file (line 1 is no index: 'x1')"),
        ("a.csv", "NaN\n7\n", "not a usable file (line 1 is no index: 'NaN')"),
        ("a.csv", "index\nindex\n7\n", "not a usable file (line 2 is no index: 'index')"),
        ("a.csv", "# mine\n,0\n0,5\n", "not a usable file (line 2 has 2 columns: ',0')"),
        ("a.csv", "image,label\n5,3\n", "not a usable file (line 1 has 2 columns: 'image,label')"),
        ("a.csv", "5;7;9\n", "not a usable file (line 1 has 3 columns: '5;7;9')"),
        ("a.csv", "5\t7\n", "not a usable file (line 1 has 2 columns"),
        ("a.csv", "5\n1_000\n", "not a usable file (line 2 is no index: '1_000')"),
        ("a.csv", "5\n1e3\n", "not a usable file (line 2 is no index: '1e3')"),
        ("a.csv", "\u0665\n", "not a usable file (line 1 is no index"),
        ("a.csv", b"5\n\xff\n", "not a usable file"),
        ("a.csv", "-3\n5\n", "index -3 is out of range"),
        ("a.csv", "5\n5.0\n", "index 5 is there 2 times"),
        ("a.csv", b"PK\x03\x04" + bytes(9), "not a usable file (line 1 is no index"),
        ("a.npy", np.array([3, 5], "m8[s]"), "another kind of content (timedelta64[s], shape (2,))"),
        ("a.npy", np.array([True, False]), "another kind of content (bool, shape (2,))"),
        ("a.npy", np.array([3, -1]), "index -1 is out of range"),
        ("a.npy", np.array([2**63], np.uint64), "index 9223372036854775808 is out of range"),
        ("a.npy", np.array([3, 7, 3]), "index 3 is there 2 times; allowed: each once"),
    ],
)
def test_wrong_list_is_refused_with_its_name(tmp_path, name, content, said):
    scenario = listed(tmp_path / name, content)
    with pytest.raises(LacunaError) as caught:
        scenario.check({"classes": 3}, "grid.scenarios.list")
    assert str(caught.value).startswith(f"grid.scenarios.list.path: {tmp_path / name}: {said}")
    assert "\n" not in str(caught.value)


def test_listed_test_image_is_refused(tmp_path):
    scenario, base = listed(tmp_path / "a.npy", np.array([3, TRAIN])), split(Y, TRAIN, 0, "d")
    with pytest.raises(
        LacunaError, match=rf"index {TRAIN} is out of range; allowed: 0 to {TRAIN - 1}, training images"
    ):
        forget_split(base, DatasetFacts(Y, 3, train=TRAIN), scenario, 0, "d", "list")
