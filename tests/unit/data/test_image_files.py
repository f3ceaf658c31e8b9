"""Image files: orientation, depth, modes, and those that are refused."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lacuna.data.datasets.image_folder import ImageFolder, _listing
from lacuna.data.image_files import from_files
from lacuna.errors import LacunaError
from unit.data.datasets.pictures import ingested, jpg, photos


def square(image, path: Path, size=8, **options) -> list[int]:
    """The one colour of an image of one colour, once it is saved and read."""
    image.save(path, **options)
    pixels = from_files([path], [0], 1, 2, size).x[0:1][0].reshape(3, -1)
    assert (pixels == pixels[:, :1]).all()
    return pixels[:, 0].tolist()


# Exif: which side of the upright picture the first row and the first column of the stored pixels are
HELD = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: x[:, ::-1].T,
    7: lambda x: x[::-1, ::-1].T,
    8: lambda x: x[::-1].T,
}


@pytest.mark.parametrize(("suffix", "kind"), [("png", np.uint8), ("tif", np.uint8), ("png", np.uint16)])
@pytest.mark.parametrize("orientation", HELD)
def test_photo_stands_upright_however_the_camera_was_held(tmp_path, orientation, suffix, kind):
    upright = (np.arange(64).reshape(8, 8) * 3).astype(np.uint8)
    stored = np.ascontiguousarray(HELD[orientation](upright)).astype(kind) * (257 if kind == np.uint16 else 1)
    exif = Image.Exif()
    exif[274] = orientation
    for name in ("train/cat", "train/dog", "test/dog"):
        (tmp_path / "p" / name).mkdir(parents=True)
        Image.fromarray(stored).save(tmp_path / "p" / name / f"a.{suffix}", exif=exif)
    images = ImageFolder(root=str(tmp_path / "p"), size=8).load()
    assert np.array_equal(images.x[0:1][0], [upright] * 3)
    turned = [f"turned upright: 1 images by their Exif orientation, such as {tmp_path}/p/train/cat/a.{suffix}"]
    # Pillow has turned a TIFF file before anybody asks
    assert images.notes() == ([] if orientation == 1 or suffix == "tif" else turned)
    as_stored = from_files([tmp_path / f"p/train/cat/a.{suffix}"], [0], 1, 2, 8)
    assert suffix == "tif" or np.array_equal(as_stored.x[0:1][0][0], HELD[orientation](upright))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (5000, 19), (40000, 156), (65535, 255)])
def test_sixteen_bits_become_eight(tmp_path, suffix, value, expected):
    """By value / 257: 65,535 becomes 255."""
    image = Image.fromarray(np.full((12, 12), value, np.uint16))
    assert square(image, tmp_path / f"a.{suffix}") == [expected] * 3


def test_other_depths_and_modes_keep_their_brightness(tmp_path):
    twelve = Image.fromarray(np.full((12, 12), 10_000, np.uint16))
    assert square(twelve, tmp_path / "white.tif", tiffinfo={262: 0}) == [216] * 3, "0 is white: 255 - 39"
    for value, expected in ((0.5, 128), (0.0, 0), (1 + 5e-7, 255)):
        assert square(Image.fromarray(np.full((12, 12), value, np.float32)), tmp_path / "a.tif") == [expected] * 3
    assert square(Image.fromarray(np.full((12, 12), 0.25, np.float32)), tmp_path / "a.pfm") == [64] * 3
    assert square(Image.new("1", (12, 12), 1), tmp_path / "a.png") == [255] * 3
    assert square(Image.new("LA", (12, 12), (77, 0)), tmp_path / "a.png") == [77] * 3
    assert square(Image.new("CMYK", (12, 12), (0, 255, 255, 0)), tmp_path / "a.tif") == [255, 0, 0]
    palette = Image.new("P", (12, 12), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    for options in ({}, {"transparency": 1}, {"transparency": b"\x00\x10"}):
        assert square(palette, tmp_path / "a.png", **options) == [9, 8, 7]
    frames = [Image.new("RGB", (12, 12), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    for suffix in ("gif", "tif", "png"):
        assert square(frames[0], tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:]) == [255, 0, 0]


@pytest.mark.parametrize(
    ("image", "suffix", "said"),
    [
        (Image.fromarray(np.full((12, 12), 40_000, np.int32)), "tif", "whole numbers of 32 bits"),
        (Image.fromarray(np.full((12, 12), 200, np.float32)), "tif", "floats from 200 to 200; they must lie in [0, 1]"),
        (Image.fromarray(np.full((12, 12), np.nan, np.float32)), "tif", "NaN"),
        (Image.new("RGB", (1, 60_000)), "png", "1×60000 pixels; allowed: a longer side of at most 100 times"),
        (Image.new("RGB", (12, 12)), "eps", "its content is of none of the formats"),
        (Image.new("RGB", (12, 12)), "pdf", "its content is of none of the formats"),
    ],
)
def test_image_that_cannot_be_scaled_or_is_none_is_refused(tmp_path, monkeypatch, image, suffix, said):
    """Nor is another program started on it: an EPS file would be given to Ghostscript, whatever its name."""
    monkeypatch.setattr(subprocess, "Popen", None)
    image.save(tmp_path / f"a.{suffix}")
    (tmp_path / f"a.{suffix}").rename(tmp_path / "1.png")
    with pytest.raises(LacunaError) as caught:
        from_files([tmp_path / "1.png"], [0], 1, 2, 224).x[0:1]
    assert str(caught.value).startswith(f"{tmp_path / '1.png'}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_decompression_bomb_is_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.bmp")
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[18:26] = (60_000).to_bytes(4, "little") * 2
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(LacunaError, match=r"a\.bmp: not a usable image .*bomb"):
        from_files([tmp_path / "a.bmp"], [0], 1, 2, 8).x[0:1]


def test_hidden_and_foreign_files_are_left_out_and_named(tmp_path):
    """The labels stay; a link in a circle adds no image; what no image is named like does not count."""
    root = tmp_path / "p"
    photos(root)
    before = ingested(ImageFolder(root=str(root), size=8), tmp_path)[0]
    for folder in ("train/.ipynb_checkpoints", "train/__MACOSX", "train/cat/.hidden", "train/dog/@eaDir", "test/.x"):
        jpg(root / folder / "a.jpg")
    for name in ("train/cat/._a.jpg", "train/stray.png", "test/dog/.e.bmp"):
        jpg(root / name)
    (root / "train/cat/Thumbs.db").write_text("x")
    (root / "train/README").symlink_to("nothing")
    (root / "train/cat/README").symlink_to("nothing")
    (root / "train/cat/me").symlink_to("../cat")
    (root / "train/cat/up").symlink_to("../../train")
    os.mkfifo(root / "train/dog/pipe")
    _listing.cache_clear()
    dataset = ImageFolder(root=str(root), size=8)
    arrays, meta = ingested(dataset, tmp_path)
    assert all(np.array_equal(arrays[k], before[k]) for k in before)
    assert meta["class_names"] == ["cat", "dog"]
    lines = "\n".join(dataset.load().remarks())
    assert "8 hidden, such as" in lines
    assert "2 links to a folder that they lie in, such as " in lines
    assert "1 images outside the folders of the classes, such as " in lines
    assert f"3 files without the suffix of an image, such as {root}/train/cat/README" in lines
    assert "no test image of 1 classes, such as cat" in lines


@pytest.mark.parametrize("suffix", ["jpe", "jfif", "JPG", "gif", "jp2", "pnm", "webp", "Tiff", "dib"])
def test_every_spelling_of_a_suffix_counts(tmp_path, suffix):
    photos(tmp_path / "p")
    kind = {"jpe": "JPEG", "jfif": "JPEG", "JPG": "JPEG", "jp2": "JPEG2000", "pnm": "PPM", "Tiff": "TIFF"}
    Image.new("RGB", (9, 9)).save(tmp_path / f"p/train/cat/z.{suffix}", kind.get(suffix, suffix.upper()))
    _listing.cache_clear()
    assert ImageFolder(root=str(tmp_path / "p"), size=8).load().train == 5
