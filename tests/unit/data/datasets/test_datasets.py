"""Published datasets and image folders: tiny files in each real on-disk format arrive as they are, streamed."""

import gzip
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from scipy.io import savemat

from lacuna.artifacts.files import read_tensors, sha256_of_arrays, write_tensors
from lacuna.data import DATASETS
from lacuna.data.datasets.digits import Digits
from lacuna.data.datasets.image_folder import ImageFolder, _listing
from lacuna.data.image_files import from_files
from lacuna.data.images import Images, LazyImages
from lacuna.data.published import Published
from lacuna.errors import LacunaError

RNG = np.random.default_rng(0)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


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


# ---- each format, written small --------------------------------------------------------------------------------------


class Written:
    """A tiny published dataset on disk. x: its images, training first; y: labels; fine: finer labels."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch):
        self.root, self.patch = root, monkeypatch
        self.fine: np.ndarray | None = None
        self.options: dict = {}

    def pack(self, archive: str, folder: str) -> None:
        """Put a folder below root into an archive and take it away."""
        source, target = self.root / folder, self.root / archive
        if target.suffix == ".zip":
            with zipfile.ZipFile(target, "w") as zipped:
                for path in sorted(source.rglob("*")):
                    zipped.write(path, path.relative_to(source.parent))
        else:
            with tarfile.open(target, "w:gz") as tar:
                tar.add(source, arcname=source.name)
        shutil.rmtree(source)


def cifar(w: Written, name: str, cls: type) -> None:
    n = (6, 4)
    w.x = RNG.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    hundred = name == "cifar100"
    w.y = RNG.integers(0, 100 if hundred else 10, 10)
    w.y[0] = 99 if hundred else 9
    coarse = w.y // 5
    folder = w.root / cls.base_folder
    folder.mkdir(parents=True)
    files = ["train", "test"] if hundred else ["data_batch_1", "data_batch_2", "test_batch"]
    cuts = np.split(np.arange(10), [6] if hundred else [3, 6])
    for file, cut in zip(files, cuts, strict=True):
        labels = (
            {"fine_labels": w.y[cut].tolist(), "coarse_labels": coarse[cut].tolist()}
            if hundred
            else {"labels": w.y[cut].tolist()}
        )
        (folder / file).write_bytes(pickle.dumps({"data": w.x[cut].reshape(len(cut), -1), **labels}))
    meta = cls.meta["filename"]
    (folder / meta).write_bytes(pickle.dumps({cls.meta["key"]: ["a"]}))
    sums = [[file, md5(folder / file)] for file in files]
    w.patch.setattr(cls, "train_list", sums[:-1])
    w.patch.setattr(cls, "test_list", sums[-1:])
    w.patch.setattr(cls, "meta", cls.meta | {"md5": md5(folder / meta)})
    w.patch.setattr(DATASETS[name], "sizes", n)
    w.pack(cls.filename, cls.base_folder)
    w.patch.setattr(cls, "tgz_md5", md5(w.root / cls.filename))
    w.archives = [cls.filename]
    w.coarse = coarse


def idx(array: np.ndarray) -> bytes:
    """The format of MNIST: magic number with type and rank, sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def mnist(w: Written, name: str, cls: type) -> None:
    w.x = RNG.integers(0, 256, (7, 1, 28, 28), dtype=np.uint8)
    w.y = RNG.integers(0, 10, 7)
    folder = w.root / cls.__name__ / "raw"
    folder.mkdir(parents=True)
    contents = [w.x[:5, 0], w.y[:5].astype(np.uint8), w.x[5:, 0], w.y[5:].astype(np.uint8)]
    sums = []
    for (file, _), content in zip(cls.resources, contents, strict=True):
        (folder / file).write_bytes(gzip.compress(idx(content)))
        sums.append((file, md5(folder / file)))
    w.patch.setattr(cls, "resources", sums)
    w.patch.setattr(DATASETS[name], "sizes", (5, 2))
    w.archives = [f"{cls.__name__}/raw/{file}" for file, _ in sums]


def svhn(w: Written, name: str, cls: type) -> None:
    w.x = RNG.integers(0, 256, (9, 3, 32, 32), dtype=np.uint8)
    w.y = np.array([0, 1, 9, 3, 0, 5, 0, 2, 1])
    w.root.mkdir(parents=True)
    split_list = {}
    for part, cut in (("train", slice(0, 6)), ("test", slice(6, 9))):
        url, file, _ = cls.split_list[part]
        stored = np.where(w.y[cut] == 0, 10, w.y[cut])[:, None].astype(np.uint8)  # 10 stands for the digit 0
        savemat(w.root / file, {"X": w.x[cut].transpose(2, 3, 1, 0), "y": stored})
        split_list[part] = [url, file, md5(w.root / file)]
    w.patch.setattr(cls, "split_list", split_list)
    w.patch.setattr(DATASETS[name], "sizes", (6, 3))
    w.archives = [split_list[part][1] for part in ("train", "test")]


def solid(n: int, size: int) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Images of one colour each: what remains of them when they are resized and stored as JPEG."""
    colours = [(17 * i % 256, 40 * i % 256, 255 - 13 * i) for i in range(n)]
    x = np.broadcast_to(np.array(colours, dtype=np.uint8)[:, :, None, None], (n, 3, size, size))
    return x, colours


def tiny_imagenet(w: Written, name: str, cls: None) -> None:
    w.x, colours = solid(8, 64)
    ids = ["n01443537", "n02056570", "n07920052"]
    w.y = np.array([0, 0, 1, 2, 2, 1, 0, 2])  # six training images in the order of folders, two of val
    folder = w.root / "tiny-imagenet-200"
    w.y[:6].sort()
    for i in range(6):
        jpg(folder / "train" / ids[w.y[i]] / "images" / f"{ids[w.y[i]]}_{i}.JPEG", colours[i], (64, 64))
    lines = []
    for i in (6, 7):
        jpg(folder / "val" / "images" / f"val_{i}.JPEG", colours[i], (64, 64))
        lines.append(f"val_{i}.JPEG\t{ids[w.y[i]]}\t0\t32\t44\t62")
    (folder / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    jpg(folder / "test" / "images" / "test_0.JPEG")
    w.pack("tiny-imagenet-200.zip", "tiny-imagenet-200")
    w.patch.setattr(DATASETS[name], "sizes", (6, 2))
    w.patch.setattr(DATASETS[name], "md5", md5(w.root / "tiny-imagenet-200.zip"))
    w.patch.setattr(DATASETS[name], "count", 3)
    w.archives = ["tiny-imagenet-200.zip"]


def oxford_pets(w: Written, name: str, cls: type) -> None:
    w.x, colours = solid(5, 32)
    w.y = np.array([0, 36, 5, 5, 0])
    names = ["Abyssinian_100", "yorkshire_1", "beagle_7", "beagle_8", "Abyssinian_2"]
    base = w.root / "oxford-iiit-pet"
    for i, file in enumerate(names):
        jpg(base / "images" / f"{file}.jpg", colours[i], (60, 40 + i))
    (base / "annotations").mkdir()
    for part, cut in (("trainval", [0, 1, 2]), ("test", [3, 4])):
        rows = "".join(f"{names[i]} {w.y[i] + 1} 1 1\n" for i in cut)
        (base / "annotations" / f"{part}.txt").write_text(rows)
    for folder in ("images", "annotations"):
        w.pack(f"oxford-iiit-pet/{folder}.tar.gz", f"oxford-iiit-pet/{folder}")
    w.archives = [f"oxford-iiit-pet/{folder}.tar.gz" for folder in ("images", "annotations")]
    sums = tuple((url, md5(w.root / archive)) for (url, _), archive in zip(cls._RESOURCES, w.archives, strict=True))
    w.patch.setattr(cls, "_RESOURCES", sums)
    w.patch.setattr(DATASETS[name], "sizes", (3, 2))
    w.options = {"size": 32}


def sun397(w: Written, name: str, cls: type) -> None:
    scenes = ["/a/abbey", "/b/bar/indoor", "/z/zoo"]
    x, colours = solid(15, 24)
    folder = w.root / "SUN397"
    for i in range(15):
        jpg(folder.joinpath(*scenes[i // 5].split("/")[1:], f"sun_{i:03d}.jpg"), colours[i], (24, 30))
    (folder / "ClassName.txt").write_text("".join(f"{scene}\n" for scene in scenes))
    w.pack("SUN397.tar.gz", "SUN397")
    w.patch.setattr(cls, "_DATASET_MD5", md5(w.root / "SUN397.tar.gz"))
    w.patch.setattr(DATASETS[name], "images", 15)
    w.patch.setattr(DATASETS[name], "count", 3)
    w.options = {"size": 24}
    w.archives = ["SUN397.tar.gz"]
    w.x, w.y = x, np.repeat([0, 1, 2], 5)


FORMATS = {
    "cifar10": (cifar, "CIFAR10"),
    "cifar100": (cifar, "CIFAR100"),
    "svhn": (svhn, "SVHN"),
    "mnist": (mnist, "MNIST"),
    "fashion_mnist": (mnist, "FashionMNIST"),
    "tiny_imagenet": (tiny_imagenet, None),
    "oxford_pets": (oxford_pets, "OxfordIIITPet"),
    "sun397": (sun397, "SUN397"),
}
LOSSY = ("tiny_imagenet", "oxford_pets", "sun397")


@pytest.fixture
def written(request, tmp_path, monkeypatch):
    """The dataset's name, its files below tmp_path/data, packed; no connection."""
    name = request.param
    write, cls = FORMATS[name]
    w = Written(tmp_path / "data", monkeypatch)
    write(w, name, getattr(torchvision.datasets, cls) if cls else None)

    w.asked = []

    def no_connection(*asked, **__):
        w.asked.append(asked)
        raise OSError("no connection")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", no_connection)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", no_connection)
    w.name = name
    return w


def of(w: Written, **options):
    return DATASETS[w.name](root=str(w.root), **{"download": False} | w.options | options)


every = pytest.mark.parametrize("written", FORMATS, indirect=True)


def test_every_published_dataset_is_tested():
    """A new one cannot be added without its format here."""
    assert {name for name in DATASETS if issubclass(DATASETS[name], Published)} == set(FORMATS)


@every
@pytest.mark.parametrize("download", [False, True])
def test_images_and_labels_arrive_as_they_were_written(written, tmp_path, download):
    """From the published archive, without a connection; the second time from what was unpacked."""
    for _ in range(2):
        assert of(written, download=download).classes() == of(written).classes()
        arrays, meta = ingested(of(written, download=download), tmp_path)
        if written.name == "sun397":  # a fifth of each class goes to the end
            colours = {tuple(x[:, 0, 0]): y for x, y in zip(written.x.astype(int), written.y, strict=True)}
            nearest = [
                min(colours, key=lambda c, x=x: sum(abs(np.array(c) - x[:, 0, 0].astype(int)))) for x in arrays["x"]
            ]
            assert len(set(nearest)) == 15
            assert [colours[c] for c in nearest] == arrays["y"].tolist()
            assert np.bincount(arrays["y"][meta["train"] :]).tolist() == [1, 1, 1]
        else:
            assert arrays["y"].tolist() == written.y.tolist()
            tolerance = 6 if written.name in LOSSY else 0
            assert np.abs(arrays["x"].astype(int) - written.x.astype(int)).max() <= tolerance
            assert (meta["train"], meta["test"]) == DATASETS[written.name].sizes
        for archive in written.archives:
            if archive not in DATASETS[written.name].unpacked:
                (written.root / archive).unlink(missing_ok=True)


@every
def test_absent_files_are_named_with_their_place_before_a_run(written):
    """With download: false and nothing there, planning says what to put where, in one sentence."""
    shutil.rmtree(written.root)
    for ask in (lambda: of(written).classes(), lambda: of(written).load()):
        with pytest.raises(LacunaError) as caught:
            ask()
        for archive in written.archives:
            assert str(written.root / archive) in str(caught.value)
        assert "download is false; needed: " in str(caught.value)
        assert "\n" not in str(caught.value)
    assert of(written, download=True).classes() == of(written, download=True).count or written.name == "cifar100"
    assert not written.root.exists(), "planning makes nothing"


@every
def test_failed_download_names_the_files_and_their_place(written):
    shutil.rmtree(written.root)
    with pytest.raises(LacunaError, match=r"the download failed .*no connection.*; needed: a connection") as caught:
        of(written, download=True).load()
    assert str(written.root / written.archives[0]) in str(caught.value)
    assert not list(written.root.rglob("*.lock"))


@every
def test_damaged_archive_is_named(written):
    archive = written.root / written.archives[-1]
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content)
    with pytest.raises(LacunaError) as caught:
        of(written).load()
    assert str(caught.value).startswith(f"{archive}: damaged, its MD5 is not ")
    assert not written.asked, "download: false makes no connection"


@pytest.mark.parametrize("written", ["cifar10", "cifar100"], indirect=True)
def test_damaged_batch_is_named(written):
    dataset = of(written)
    dataset.load()
    batch = written.root / dataset.unpacked[0] / dataset.source().train_list[0][0]
    batch.write_bytes(batch.read_bytes()[:-9])
    (written.root / written.archives[0]).unlink()
    with pytest.raises(LacunaError, match=f"^{batch}: damaged, its MD5 is not"):
        dataset.load()


@pytest.mark.parametrize("written", ["mnist", "sun397", "tiny_imagenet"], indirect=True)
def test_half_unpacked_dataset_is_refused(written):
    """Files that no checksum covers: as many images as were published, or none."""
    of(written).load()
    if written.name == "mnist":
        path = written.root / "MNIST/raw/train-images-idx3-ubyte"
        content = path.read_bytes()[: -28 * 28]
        path.write_bytes(content[:7] + bytes([4]) + content[8:])
    else:
        next(
            path for path in sorted(written.root.rglob("*.*")) if path.name in ("n02056570_2.JPEG", "sun_003.jpg")
        ).unlink()
    with pytest.raises(LacunaError, match=r"needed: \d+(,| and)"):
        of(written).load()


@pytest.mark.parametrize("written", ["cifar100"], indirect=True)
def test_coarse_labels_keep_the_fine_ones(written, tmp_path):
    arrays, meta = ingested(of(written, labels="coarse"), tmp_path)
    assert arrays["y"].tolist() == written.coarse.tolist()
    assert arrays["fine"].tolist() == written.y.tolist()
    assert (meta["classes"], of(written, labels="coarse").fine()) == (20, 100)
    assert "fine" not in ingested(of(written), tmp_path)[0]


@pytest.mark.parametrize("written", ["tiny_imagenet"], indirect=True)
def test_what_a_notebook_leaves_is_no_class(written):
    """Nor an image: the dataset stays as large as it was published, and its labels as they were."""
    dataset = of(written, download=False)
    before = dataset.load()
    train = written.root / "tiny-imagenet-200/train"
    first = next(train.rglob("*.JPEG"))
    shutil.copytree(train, train / ".ipynb_checkpoints")
    shutil.copy(first, first.with_name(f"._{first.name}"))
    assert dataset.load().y.tolist() == before.y.tolist()


def test_no_connection_while_planning():
    """Names, classes and shapes of all datasets load neither torch nor torchvision."""
    code = (
        "import sys; from lacuna.data import DATASETS; from lacuna.fields import build\n"
        "for n in DATASETS:\n"
        "    if n not in ('npz', 'image_folder'): d = build(DATASETS[n], {}); d.classes(); d.shape(); d.fine()\n"
        "assert not {'torch', 'torchvision', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path("src").resolve())})


# ---- the user's own folders ------------------------------------------------------------------------------------------


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


# ---- streaming -------------------------------------------------------------------------------------------------------


def test_streamed_file_is_the_one_written_at_once(tmp_path, monkeypatch):
    """Byte for byte, whatever the block; the meta is that of the images in memory."""
    digits = Digits().load()
    images = Images(digits.x[:150], digits.y[:150], 140, 10)
    fine = images.y * 3 + np.arange(len(images.y)) % 3
    for whole in (images, Images(images.x, images.y, images.train, 10, fine)):
        arrays = {"x": whole.x, "y": whole.y} | ({"fine": fine} if whole.fine is not None else {})
        write_tensors(tmp_path / "whole", "images", arrays)
        meta = whole.meta()
        for block in (2**24, 1000, 1):
            monkeypatch.setattr("lacuna.artifacts.files._BLOCK", block)
            lazy = Images(LazyImages(whole.x.shape, whole.x.__getitem__), whole.y, whole.train, 10, whole.fine)
            assert lazy.write(tmp_path / "stream", threads=3) == meta == lazy.meta()
            assert (tmp_path / "stream").read_bytes() == (tmp_path / "whole").read_bytes()
            monkeypatch.undo()
    mapped, _ = read_tensors(tmp_path / "stream", "images", mapped=True)
    loaded, _ = read_tensors(tmp_path / "stream", "images")
    assert all(np.array_equal(mapped[k], loaded[k]) and mapped[k].dtype == loaded[k].dtype for k in loaded)
    assert not mapped["x"].flags.writeable


def test_killed_ingest_leaves_no_output_and_the_next_removes_its_debris(tmp_path):
    code = (
        "import os, signal, sys, numpy as np; from lacuna.data.images import Images, LazyImages\n"
        "def read(i):\n"
        "    if i == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return np.zeros((1, 2048, 1024), np.uint8)\n"
        "Images(LazyImages((10, 1, 2048, 1024), read), np.arange(10), 8, 10).write(sys.argv[1])"
    )
    path = tmp_path / "images.safetensors"
    environment = {"PYTHONPATH": str(Path("src").resolve())}
    assert subprocess.run([sys.executable, "-c", code, str(path)], env=environment).returncode == -9
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1, "what was being written"
    images = Digits().load()
    images.write(path)
    assert list(tmp_path.iterdir()) == [path]


def test_memory_of_ingest_does_not_grow_with_the_images(tmp_path):
    """Eight times the images, 86 MB more on disk, and the peak of the process stays."""
    code = (
        "import resource, sys, numpy as np\n"
        "from lacuna.data.images import Images, LazyImages\n"
        "n = int(sys.argv[2])\n"
        "read = lambda i: np.full((3, 64, 64), i % 256, np.uint8)\n"
        "Images(LazyImages((n, 3, 64, 64), read), np.arange(n) % 5, n - 9, 5).write(sys.argv[1])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    peaks = []
    for n in (1_000, 8_000):
        command = [sys.executable, "-c", code, str(tmp_path / "images.safetensors"), str(n)]
        environment = {"PYTHONPATH": str(Path("src").resolve()), "OMP_NUM_THREADS": "1"}
        peaks.append(float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout))
    assert peaks[1] - peaks[0] < 20
