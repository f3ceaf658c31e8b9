"""Every published dataset: its images arrive as they were written, and what is absent or damaged is named."""

import gzip
import hashlib
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
from scipy.io import savemat
from unit.data.datasets.pictures import RNG, ingested, jpg

from lacuna.data import DATASETS
from lacuna.data.published import Published
from lacuna.errors import LacunaError


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


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
