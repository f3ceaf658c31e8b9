"""Images that the tests of datasets write."""

from pathlib import Path

import numpy as np
from PIL import Image

from lacuna.artifacts.files import read_tensors, sha256_of_arrays
from lacuna.data.datasets.image_folder import ImageFolder

RNG = np.random.default_rng(0)


def ingested(dataset, tmp_path):
    """What `ingest` stores: the arrays, read back, and the meta."""
    path = tmp_path / "out" / "images.safetensors"
    meta = dataset.load().write(path)
    arrays, _ = read_tensors(path, "images", mapped=True)
    assert meta["sha256"] == sha256_of_arrays(arrays)
    assert meta["classes"] == dataset.classes()
    assert tuple(meta["shape"]) == dataset.shape() == arrays["x"].shape[1:]
    assert meta.get("fine", 0) == dataset.fine()
    return arrays, meta


def jpg(path: Path, colour=(200, 30, 90), size=(20, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=100)


def photos(root: Path, test="test") -> ImageFolder:
    """Two classes: grey, transparent and palette images of several sizes, some below sub-folders."""
    jpg(root / "train/cat/a.jpg", (10, 200, 30), (40, 30))
    jpg(root / "train/cat/more/b.jpeg", (250, 0, 5), (12, 12))
    (root / "train/dog").mkdir(parents=True)
    Image.new("L", (30, 50), 77).save(root / "train/dog/c.png")
    Image.new("RGBA", (16, 9), (1, 2, 3, 0)).save(root / "train/dog/d.png")
    (root / "train/dog/notes.txt").write_text("no image")
    (root / test / "dog").mkdir(parents=True)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.save(root / test / "dog/e.bmp")
    return ImageFolder(root=str(root), size=8)
