"""A folder of the user's images."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from lacuna.data.datasets.image_folder import ImageFolder, _listing
from lacuna.errors import LacunaError
from unit.data.datasets.pictures import RNG, ingested, jpg, photos


@pytest.mark.parametrize("test", ["test", "val"])
def test_folder_of_any_images(tmp_path, test):
    dataset = photos(tmp_path / "p", test)
    arrays, meta = ingested(dataset, tmp_path)
    expected = [(10, 200, 30), (250, 0, 5), (77, 77, 77), (1, 2, 3), (9, 8, 7)]
    assert np.abs(arrays["x"].astype(int) - np.array(expected)[:, :, None, None]).max() <= 3
    assert arrays["y"].tolist() == [0, 0, 1, 1, 1], "a class that test/ lacks shifts no label"
    assert (meta["train"], meta["test"]) == (4, 1)


def test_shorter_side_is_resized_and_the_middle_cut_out(tmp_path):
    """Three bands, left, middle, right: of a picture three times as wide as high the middle third is left."""
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, :20, 0] = picture[:, 20:40, 1] = picture[:, 40:, 2] = 255
    root = tmp_path / "p"
    photos(root)
    Image.fromarray(picture).save(root / "train/cat/a.png")
    (root / "train/cat/a.jpg").unlink()
    Image.fromarray(picture.transpose(1, 0, 2)).save(root / "train/cat/b.png")
    for x in ingested(ImageFolder(root=str(root), size=10), tmp_path)[0]["x"][:2]:
        assert (x[1, 1:-1, 1:-1] == 255).all()
        assert not x[::2, 2:-2, 2:-2].any()


def test_image_of_the_asked_size_arrives_as_it_is(tmp_path):
    """Channels first, rows before columns."""
    pixels = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    photos(tmp_path / "p")
    Image.fromarray(pixels).save(tmp_path / "p/train/cat/0.png")
    arrays, _ = ingested(ImageFolder(root=str(tmp_path / "p"), size=8), tmp_path)
    assert np.array_equal(arrays["x"][0], pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: shutil.rmtree(root), "p: no such folder; allowed: a folder with train/ and test/"),
        (lambda root: (shutil.rmtree(root), root.write_text("")), "p: not a folder; allowed: a folder with train/ and"),
        (lambda root: shutil.rmtree(root / "test"), "p: no test images; needed: class folders in "),
        (lambda root: (root / "test/dog/e.bmp").unlink(), "p/test: no image; needed: files of the kinds .jpg"),
        (lambda root: (root / "train/bird").mkdir(), "p/train/bird: no image; needed: one or more, files of the kinds"),
        (
            lambda root: (root / "train/cat/z.png").symlink_to("nothing"),
            "p/train/cat/z.png: a link to nothing; allowed",
        ),
        (lambda root: (root / "train/cat/z.png").symlink_to("z.png"), "p/train/cat/z.png: a link to nothing"),
        (lambda root: os.mkfifo(root / "train/cat/z.PNG"), "p/train/cat/z.PNG: a named pipe; allowed: an image file"),
        (lambda root: (root / "test/dog/z.tif").symlink_to("/dev/zero"), "p/test/dog/z.tif: a device; allowed: an"),
        (lambda root: shutil.rmtree(root / "train"), "p/train: 0 class folders; needed: two or more"),
        (lambda root: shutil.rmtree(root / "train/cat"), "p/train: 1 class folders; needed: two or more"),
        (lambda root: (root / "test/bird").mkdir(), "p/test: 'bird' is no class; allowed: the folders in "),
    ],
)
def test_wrong_folder_is_refused_before_a_run(tmp_path, change, said):
    dataset = photos(tmp_path / "p")
    change(tmp_path / "p")
    with pytest.raises(LacunaError) as caught:
        dataset.classes()
    assert str(caught.value).startswith(f"{tmp_path}/{said}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "train/cat/a.jpg").write_bytes(b"x"), "p/train/cat/a.jpg: not a usable image"),
        (
            lambda root: (root / "train/cat/a.jpg").write_bytes((root / "train/cat/a.jpg").read_bytes()[:-200]),
            "p/train/cat/a.jpg: not a usable image",
        ),
    ],
)
def test_unusable_folder_leaves_no_file(tmp_path, change, said):
    """What shows only when the images are read ends with the file's name, and nothing half-written."""
    dataset = photos(tmp_path / "p")
    change(tmp_path / "p")
    with pytest.raises(LacunaError) as caught:
        ingested(dataset, tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/{said}")
    assert not list((tmp_path / "out").glob("*"))
    assert not list((tmp_path / "out").glob(".*"))


def test_content_of_a_folder_changes_with_every_image(tmp_path):
    """One that comes, goes, is renamed or written again; not with a look at it."""
    root = tmp_path / "p"
    photos(root)
    seen = []

    def look():
        _listing.cache_clear()
        seen.append(ImageFolder(root=str(root), size=8).content())

    look()
    look()
    assert seen[0] == seen[1]
    (root / "train/cat/more/b.jpeg").rename(root / "train/cat/more/z.jpeg")
    look()
    (root / "train/cat/more/z.jpeg").rename(root / "train/dog/z.jpeg")
    look()
    jpg(root / "train/dog/z.jpeg", (250, 0, 5), (13, 12))
    look()
    (root / "train/dog/z.jpeg").unlink()
    look()
    assert len(set(seen)) == 5


def test_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    dataset, scan = photos(tmp_path / "p"), os.scandir

    def refuse(folder):
        if str(folder).endswith("more"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(LacunaError, match=r"cat/more: cannot be read \(Permission denied\); allowed: a folder that"):
        dataset.classes()
    assert dataset.content()
