"""`lacuna subset`: equally many of each class, the dataset's own images, and a file that the npz dataset reads."""

import numpy as np
import pytest

from lacuna.__main__ import main
from lacuna.artifacts.files import write_json, write_tensors
from lacuna.data.datasets.npz import Npz

CLASSES, TRAIN, TEST = 3, 40, 20


@pytest.fixture
def folder(tmp_path):
    """Images that carry their own index; the last class is the rarest, with 8 training images."""
    y = np.array([0, 1, 0, 1, 2] * 12)
    x = np.zeros((60, 3, 4, 5), np.uint8)
    x[:] = np.arange(60)[:, None, None, None]
    x[:, 1] += 100  # channels and rows must stay what they are
    x[:, :, 1] += 50
    write_tensors(tmp_path / "d/images.safetensors", "images", {"x": x, "y": y, "fine": 2 - y})
    write_json(tmp_path / "d/meta.json", {"classes": CLASSES, "train": TRAIN, "sha256": "abc"})
    return tmp_path / "d"


def made(folder, name="s.npz", train=9, test=6):
    path = folder.parent / name
    assert main(["subset", str(folder), str(path), "--train", str(train), "--test", str(test)]) == 0
    return Npz(path=str(path)).load()


def test_each_class_is_there_equally_often_with_its_own_images(folder):
    images = made(folder)
    train, test = np.split(images.y, [images.train])
    assert np.bincount(train).tolist() == [3] * 3 and np.bincount(test).tolist() == [2] * 3
    source = images.x[:, 0, 0, 0].astype(int)
    assert (source[:9] < TRAIN).all() and (source[9:] >= TRAIN).all() and len(set(source)) == 15
    assert (np.array([0, 1, 0, 1, 2] * 12)[source] == images.y).all() and (images.fine == 2 - images.y).all()
    assert (images.x[:, 1, 1, 0] == source + 150).all() and images.x.shape[1:] == (3, 4, 5)


def test_every_finer_class_is_there(folder):
    """Where labels are coarse, else a class that can be forgotten would be missing."""
    y, fine = np.arange(60) % 2, np.arange(60) % 6
    x = np.zeros((60, 1, 4, 4), np.uint8)
    write_tensors(folder / "images.safetensors", "images", {"x": x, "y": y, "fine": fine})
    images = made(folder, train=12, test=6)
    assert np.bincount(images.fine[:12]).tolist() == [2] * 6 and np.bincount(images.fine[12:]).tolist() == [1] * 6


def test_same_call_gives_the_same_images_and_another_dataset_others(folder):
    first = made(folder)
    assert (made(folder, "again.npz").x == first.x).all()
    write_json(folder / "meta.json", {"classes": CLASSES, "train": TRAIN, "sha256": "abd"})
    assert (made(folder, "other.npz").x != first.x).any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--train", "10"], "--train: 10 is not allowed; allowed: a multiple of 3 (the classes) up to 24"),
        (["--train", "27"], "--train: 27 is not allowed"),
        (["--train", "0"], "--train: 0 is not allowed"),
        (
            ["--train", "9", "--test", "15"],
            "--test: 15 is not allowed; allowed: a multiple of 3 (the classes)",
        ),
    ],
)
def test_what_cannot_be_divided_is_one_sentence(folder, capsys, arguments, said):
    assert main(["subset", str(folder), str(folder.parent / "s.npz"), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"lacuna: {said}") and not (folder.parent / "s.npz").exists()


def test_folder_without_a_dataset_and_a_path_that_cannot_be_written(folder, capsys):
    assert main(["subset", str(folder.parent), "s.npz"]) == 2
    assert "no meta.json there; allowed: a folder of results/data" in capsys.readouterr().err
    assert main(["subset", str(folder), str(folder / "meta.json/s.npz"), "--train", "9", "--test", "6"]) == 2
    assert "cannot be written" in capsys.readouterr().err
