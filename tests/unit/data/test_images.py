"""Images that are written block by block."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from lacuna.artifacts.files import read_tensors, write_tensors
from lacuna.data.datasets.digits import Digits
from lacuna.data.images import Images, LazyImages


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
    before = (tmp_path / "stream").read_bytes()
    mapped["x"][0] += 1
    assert (tmp_path / "stream").read_bytes() == before, "what is written stays with the process"


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
