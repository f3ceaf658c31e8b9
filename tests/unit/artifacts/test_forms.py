"""Each file knows its place and its content: what was altered, exchanged or put in its place is a damaged file."""

import gc
import json
import os
import resource
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from lacuna.artifacts.cache import read_cache, write_cache
from lacuna.artifacts.files import (
    check_beside,
    check_file,
    pack_bits,
    place_of,
    read_json,
    read_mask,
    read_npz,
    read_tensors,
    write_json,
    write_npz,
    write_rows,
    write_tensors,
)
from lacuna.artifacts.forms import read_form
from lacuna.artifacts.layout import row_at
from lacuna.artifacts.writing import atomic
from lacuna.errors import DamagedFile, LacunaError

SEED = "digits/resnet8/brief/seed0"
CELL = Path(f"results/cells/{SEED}/class/omp-0.90/ga")
OTHER = Path(f"results/cells/{SEED}/class/omp-0.90/ft")
ARRAYS = {"a": np.arange(6, dtype=np.int64), "b": np.ones((2, 3), np.uint8)}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def metrics(unlearner="ga", **more):
    """The content of a metrics file."""
    cell = row_at(f"cells/{SEED}/class/omp-0.90/{unlearner}/metrics/tiny.json")
    return {
        "cell": cell,
        "metrics": {"UA": 91.6, "RA": 100.0},
        "layers": {"mask_iou/retrain": {"conv1.weight": 1.0}},
        "origin": {"commit": "abc", "seconds": 1.5},
        "evaluated_at_commit": "abc",
        "job": "results/x/job.json",
        "inputs": {"results/data/digits/meta.json": "0"},
    } | more


def job(**more):
    facts = {"cell": {"unlearner": "ga", "state": "omp-0.90", "seed": "0"}, "seconds": 1.5}
    return facts | {"inputs": {}, "parameters": {}, "versions": {}} | more


def refused(read, path, why=""):
    with pytest.raises(DamagedFile) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert why in str(caught.value)


def test_bytes_of_a_json_file_count():
    path = CELL / "metrics/tiny.json"
    write_json(path, metrics())
    content = path.read_bytes()
    assert read_json(path) == json.loads(json.dumps(metrics()))
    for at in range(0, len(content), 4):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        refused(read_json, path)
    path.write_bytes(content.replace(b"91.6", b"791.6"))
    refused(read_json, path, "its checksum does not match its content")


def test_an_empty_object_comes_back():
    write_json("a.json", {})
    assert read_json("a.json") == {}


WRITERS = {
    "json": (lambda p: write_json(p, {"a": 1}), read_json),
    "npz": (lambda p: write_npz(p, "split", ARRAYS), lambda p: read_npz(p, "split")),
    "safetensors": (lambda p: write_tensors(p, "images", ARRAYS), lambda p: read_tensors(p, "images")),
    "rows": (
        lambda p: write_rows(p, "images", ARRAYS, lambda name, start, block: None),
        lambda p: read_tensors(p, "images"),
    ),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_in_the_place_of_another_is_refused(kind):
    write, read = WRITERS[kind]
    suffix = "safetensors" if kind == "rows" else kind
    mine, theirs = Path(f"results/data/one/x.{suffix}"), Path(f"results/data/two/x.{suffix}")
    write(mine)
    write(theirs)
    first, second = mine.read_bytes(), theirs.read_bytes()
    mine.write_bytes(second)
    refused(read, mine, f"it is the file of data/two/x.{suffix}")
    refused(check_file, mine)
    mine.write_bytes(first)
    read(mine)
    # the tree may be moved, and a file taken out of it
    moved = Path("results/kept") / place_of(mine)
    moved.parent.mkdir(parents=True)
    moved.write_bytes(first)
    read(moved)
    Path(f"x.{suffix}").write_bytes(first)
    read(Path(f"x.{suffix}"))
    # what was written elsewhere was not made by a job
    write(Path(f"y.{suffix}"))
    mine.write_bytes(Path(f"y.{suffix}").read_bytes())
    refused(read, mine, "it names no place in results")


def test_same_model_and_mask_are_the_same_bytes_wherever_they_lie():
    for folder in (CELL, OTHER):
        write_tensors(folder / "model.safetensors", "model", {"w": np.ones(3, np.float32)})
        write_npz(folder / "mask.npz", "mask", pack_bits({"w": np.ones(3, bool)}))
    for name in ("model.safetensors", "mask.npz"):
        assert (CELL / name).read_bytes() == (OTHER / name).read_bytes()


def test_a_model_must_be_the_one_that_its_job_names():
    """Models and masks name no place: the job.json beside them vouches for them."""
    model = CELL / "model.safetensors"
    write_tensors(model, "model", {"w": np.ones(3, np.float32)})
    refused(check_beside, model, "no job.json next to it")
    write_json(CELL / "job.json", job(outputs={"model": check_file(model)}))
    check_beside(model)
    write_tensors(model, "model", {"w": np.zeros(3, np.float32)})
    refused(check_beside, model, "written for other content")


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ({"metrics": [1]}, "metrics is no object"),
        ({"metrics": {"UA": "91"}}, "metrics.UA is no number"),
        ({"metrics": {"UA": True}}, "metrics.UA is no number"),
        ({"metrics": {"=HYPERLINK(1)": 1.0}}, "no name of a metric"),
        ({"layers": {"a": 1}}, "layers.a is no object"),
        ({"inputs": {"a": 1}}, "inputs.a is no text"),
        ({"origin": {"commit": []}}, "origin.commit is no single value"),
        ({"cell": metrics()["cell"] | {"unlearner": "=HYPERLINK(1)"}}, "it is of another cell: unlearner"),
        (
            {"cell": metrics()["cell"] | {"sparsity": "0.50"}},
            "it is of another cell: sparsity '0.50' instead of '0.90'",
        ),
        ({"cell": metrics()["cell"] | {"seed": 1}}, "it is of another cell: seed"),
    ],
)
def test_sound_text_of_the_wrong_form_is_a_damaged_file(harm, why):
    path = CELL / "metrics/tiny.json"
    write_json(path, metrics(**harm))
    refused(lambda p: read_form(p, "metrics"), path, why)


@pytest.mark.parametrize("value", [[], "text", 3, None])
def test_json_that_is_no_object_is_damaged(value):
    Path("a.json").write_text(json.dumps(value))
    refused(read_json, "a.json", "it is no object")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"seconds": -5}, "seconds is negative"),
        ({"seconds": "1"}, "seconds is no number"),
        ({"steps": 1.5}, "steps is no whole number"),
        ({"cell": {"unlearner": "ft"}}, "it is of another cell"),
        ({"outputs": []}, "outputs is no object"),
    ],
)
def test_a_job_of_another_form_is_damaged(more, why):
    write_json(CELL / "job.json", job(**more))
    refused(lambda p: read_form(p, "job"), CELL / "job.json", why)
    write_json(CELL / "job.json", job())
    assert read_form(CELL / "job.json", "job")["seconds"] == 1.5


def test_coordinates_come_from_the_path():
    path = CELL / "metrics/tiny.json"
    write_json(path, metrics(cell={}))
    assert read_form(path, "metrics")["cell"] == metrics()["cell"]


@pytest.mark.parametrize("shape", [[-1, 3], [2, 5], [2**40, 2**40], [[2, 3]], ["a"]])
def test_forged_shapes_of_masks_are_damage(shape):
    packed = pack_bits({"w": np.ones((2, 3), bool)})
    packed["shape/w"] = np.array(shape)
    write_npz("mask.npz", "mask", packed)
    refused(read_mask, "mask.npz", "'w'")
    del packed["shape/w"]
    write_npz("mask.npz", "mask", packed)
    refused(read_mask, "mask.npz", "'w'")


def npz(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def npy(shape, dtype="|u1", content=b""):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def mark(kind="split"):
    text = f"{kind} {'0' * 64}"
    return npy("()", f"<U{len(text)}", text.encode("utf-32-le"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (npy("(1099511627776,)", content=b"x"), "is not as long as its header says"),
        (npy("(-1,)"), "is not as long as its header says"),
        (npy("(3)").replace(b"(3)", b"(3 "), ""),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1',", ""),
        (b"no array", ""),
    ],
)
def test_forged_arrays_are_damage_and_take_no_memory(content, why):
    """NumPy's header parser raises TokenError, SyntaxError and more; a shape of a terabyte is never allocated."""
    npz("a.npz", {"lacuna": mark(), "a": content})
    refused(lambda p: read_npz(p, "split"), "a.npz", why)


def test_an_archive_that_inflates_beyond_measure_is_refused_unread(monkeypatch):
    npz("a.npz", {"lacuna": mark(), "a": npy(f"({2**24},)", content=bytes(2**24))})
    assert os.stat("a.npz").st_size < 2**16
    monkeypatch.setattr("lacuna.artifacts.files._INFLATED", 2**22)
    monkeypatch.setattr(
        np.lib.format,
        "read_array",
        lambda file, **rest: pytest.fail("inflated") if file._orig_file_size > 2**16 else np.array(f"split {'0' * 64}"),
    )
    refused(lambda p: read_npz(p, "split"), "a.npz", "times its size")
    refused(lambda p: read_npz(p, "mask"), "a.npz", "it says it is 'split'")


def test_a_flipped_byte_of_an_npz_is_damage_or_harmless():
    write_npz("results/splits/d/seed0/split.npz", "split", ARRAYS)
    path = Path("results/splits/d/seed0/split.npz")
    content = path.read_bytes()
    for at in range(0, len(content), 9):
        for flip in (1, 0x80):
            path.write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
            try:
                arrays = read_npz(path, "split")
            except DamagedFile:
                continue
            assert {k: v.tolist() for k, v in arrays.items()} == {k: v.tolist() for k, v in ARRAYS.items()}


@pytest.mark.parametrize("what", ["folder", "pipe", "device"])
@pytest.mark.parametrize("suffix", ["json", "npz", "safetensors", "csv"])
def test_what_is_no_regular_file_is_damage_and_hangs_nobody(what, suffix):
    path = Path(f"a.{suffix}")
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "device": lambda: path.symlink_to("/dev/zero")}[what]()
    refused(check_file, path, "it is a folder" if what == "folder" else "it is no regular file")


def test_a_file_larger_than_memory_is_not_read(monkeypatch):
    path = Path("a.safetensors")
    safetensors.numpy.save_file({"a": np.zeros(4, np.uint8)}, path)
    monkeypatch.setattr("lacuna.artifacts.files._memory", lambda: 16)
    refused(lambda p: read_tensors(p, "model"), path, "more than this machine's memory")


def test_too_deep_json_is_damage():
    Path("a.json").write_text("[" * 100_000)
    refused(read_json, "a.json")


def test_what_the_machine_lacks_is_no_damage(monkeypatch):
    write_json("a.json", {"a": 1})

    def open_files(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", open_files)
    with pytest.raises(LacunaError, match="Too many open files") as caught:
        read_json("a.json")
    assert not isinstance(caught.value, DamagedFile)


def test_a_folder_in_the_place_of_an_output_is_set_aside():
    Path("a.json/inside").mkdir(parents=True)
    with atomic("a.json") as temporary:
        temporary.write_text("new")
    assert Path("a.json").read_text() == "new" and Path("a.json.damaged/inside").is_dir()


def test_a_cache_is_used_for_what_it_was_made_from():
    write_cache("c.json", "digest", {"a": 1})
    assert read_cache("c.json", "digest") == {"a": 1}
    assert read_cache("c.json", "another") is None
    content = Path("c.json").read_text()
    for other in (content.replace('"a": 1', '"a": 2'), "[]", '{"a": 1}', ""):
        Path("c.json").write_text(other)
        assert read_cache("c.json", "digest") is None


@pytest.fixture
def small_files():
    """A file system that refuses a file of more than a kilobyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["json", "npz", "safetensors", "rows"])
def test_a_file_that_is_too_large_leaves_nothing_and_says_it_once(kind, tmp_path, monkeypatch, small_files):
    """An archive that was cut short would complain again when it is collected, beside the sentence."""
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    noise = {"a": np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)}
    write = {
        "json": lambda path: write_json(path, {"a": noise["a"].tolist()}),
        "npz": lambda path: write_npz(path, "split", noise),
        "safetensors": lambda path: write_tensors(path, "images", noise),
        "rows": lambda path: write_rows(path, "images", noise, lambda name, start, block: None),
    }[kind]
    with pytest.raises((OSError, LacunaError), match="File too large") as caught:
        write(tmp_path / "a")
    assert str(tmp_path / "a") in str(caught.value)
    gc.collect()
    assert (heard, list(tmp_path.iterdir())) == ([], [])
