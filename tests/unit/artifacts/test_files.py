"""Files are whole or absent, the same for the same content, and refused when they are not what they should be."""

import contextlib
import io
import json
import os
import pickle
import stat
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from lacuna.artifacts.files import (
    read_json,
    read_npz,
    read_tensors,
    sha256_of_arrays,
    write_json,
    write_npz,
    write_tensors,
)
from lacuna.artifacts.writing import atomic
from lacuna.errors import LacunaError

ARRAYS = {
    "weights": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "labels": np.arange(5),
    "mask": np.array([True, False, True]),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 3), np.float32),
}


def write_as(suffix, path, arrays=ARRAYS, kind="model"):
    (write_tensors if suffix == "safetensors" else write_npz)(path, kind, arrays)


def read_as(suffix, path, kind="model"):
    return read_tensors(path, kind)[0] if suffix == "safetensors" else read_npz(path, kind)


def equal(a, b):
    return set(a) == set(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and np.array_equal(a[k], b[k]) for k in a
    )


def refused(path, read):
    """The refusal of a file; it names the file and the remedy in one line."""
    with pytest.raises(LacunaError) as caught:
        read(path)
    said = str(caught.value)
    assert str(path) in said
    assert "delete it and run the same command again" in said
    assert "\n" not in said
    return said


both = pytest.mark.parametrize("suffix", ["safetensors", "npz"])


@both
def test_arrays_come_back_as_they_were(tmp_path, suffix):
    arrays = ARRAYS | {"transposed": ARRAYS["weights"].T, "strided": np.arange(10)[::2]}
    write_as(suffix, tmp_path / "new" / "folder" / "a", arrays)
    assert equal(read_as(suffix, tmp_path / "new" / "folder" / "a"), arrays)


@both
def test_same_arrays_give_the_same_bytes(tmp_path, suffix):
    contents = set()
    for i in range(20):
        write_as(suffix, tmp_path / f"{i}", ARRAYS)
        contents.add((tmp_path / f"{i}").read_bytes())
    assert len(contents) == 1


def test_facts_beside_the_arrays_come_back(tmp_path):
    write_tensors(tmp_path / "a", "checkpoint", ARRAYS, fingerprint="abc", progress='{"steps": 1}')
    facts = read_tensors(tmp_path / "a", "checkpoint")[1]
    assert (facts["fingerprint"], facts["progress"]) == ("abc", '{"steps": 1}')


@pytest.mark.parametrize("old", [None, "before"])
def test_failure_leaves_nothing_new(tmp_path, old):
    path = tmp_path / "result.json"
    if old:
        path.write_text(old)

    def fail():
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == (["result.json"] if old else [])
    assert not old or path.read_text() == old


def test_target_is_whole_at_every_moment(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("before")
    with atomic(path) as temporary:
        temporary.write_text("after")
        assert temporary.parent == path.parent, "a rename across file systems is no rename"
        assert temporary.suffix == ".json"
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_mode_follows_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        assert os.umask(umask) == umask, "the umask itself is left alone"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o666 & ~umask


@both
def test_truncated_file_is_refused_at_every_length(tmp_path, suffix):
    path = tmp_path / "a"
    write_as(suffix, path, {"x": np.arange(4), "y": np.ones(2)})
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        refused(path, lambda p: read_as(suffix, p))


def test_write_into_a_mapped_file_ends_no_process_and_changes_no_file(tmp_path):
    """Memory for reading only would end the process by a signal."""
    path, arrays = tmp_path / "a", {"x": np.arange(6, dtype=np.uint8).reshape(2, 3), "y": np.arange(2)}
    write_tensors(path, "images", arrays)
    before = path.read_bytes()
    mapped = read_tensors(path, "images", mapped=True)[0]
    assert mapped["x"].flags.writeable
    mapped["x"][:] = 0
    assert path.read_bytes() == before
    assert equal(read_tensors(path, "images", mapped=True)[0], arrays)


def test_damaged_file_is_refused_before_it_is_mapped(tmp_path):
    """At every length and with any bit turned, as when it is read; a file of other types too."""
    path, arrays = tmp_path / "a", {"x": np.arange(6, dtype=np.uint8).reshape(2, 3), "y": np.arange(2)}
    write_tensors(path, "images", arrays)
    assert equal(read_tensors(path, "images", mapped=True)[0], arrays)
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i])
        refused(path, lambda p: read_tensors(p, "images", mapped=True))
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 4]) + whole[i + 1 :])
        with contextlib.suppress(LacunaError):
            assert equal(read_tensors(path, "images", mapped=True)[0], arrays)
    write_tensors(path, "images", ARRAYS)
    refused(path, lambda p: read_tensors(p, "images", mapped=True))


@both
def test_flipped_bit_never_changes_what_is_read(tmp_path, suffix):
    path = tmp_path / "a"
    arrays = {"x": np.arange(4, dtype=np.int16), "y": np.ones(2, np.float32)}
    write_as(suffix, path, arrays)
    whole = path.read_bytes()
    refusals = 0
    for place in range(len(whole)):
        for bit in {place % 8, 5 * place % 8}:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                # a flip in a zip's time stamp harms nobody
                assert equal(read_as(suffix, path), arrays), f"bit {bit} of byte {place}"
            except LacunaError:
                refusals += 1
    assert refusals > len(whole) / 2


def test_flipped_bit_in_the_facts_is_noticed(tmp_path):
    path = tmp_path / "a"
    write_tensors(path, "checkpoint", {"x": np.arange(3)}, progress='{"steps": 12}')
    assert b"12}" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"12}", b"13}"))
    refused(path, lambda p: read_tensors(p, "checkpoint"))


def npy(path):
    with open(path, "wb") as file:
        np.save(file, np.arange(3))


FOREIGN = {
    "text": lambda p: p.write_text("hello\n" * 50),
    "empty": lambda p: p.write_bytes(b""),
    "folder": lambda p: p.mkdir(),
    "absent": lambda p: None,
    "npy": npy,
    "zip": lambda p: zipfile.ZipFile(p, "w").writestr("a.txt", "b"),
    "npz of another program": lambda p: np.savez(p.open("wb"), a=np.arange(3)),
    "safetensors of another program": lambda p: safetensors.numpy.save_file({"a": np.arange(3)}, p),
    "safetensors with other facts": lambda p: safetensors.numpy.save_file({"a": np.arange(3)}, p, {"lacuna": "[1]"}),
    "another kind": lambda p: write_as("npz", p, kind="mask"),
    "another kind of tensors": lambda p: write_as("safetensors", p, kind="mask"),
}


@both
@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_file_is_refused(tmp_path, suffix, what):
    path = tmp_path / "a"
    FOREIGN[what](path)
    said = refused(path, lambda p: read_as(suffix, p))
    if what == "another kind" and suffix == "npz":
        assert "it says it is 'mask'" in said
    if what == "npy" and suffix == "npz":
        assert "not a zip file" in said


class Exploit:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("disguise", ["pickle", "object array", "object array under lacuna's mark", "pickle in a zip"])
@pytest.mark.parametrize("read", [lambda p: read_npz(p, "mask"), lambda p: read_tensors(p, "mask"), read_json])
def test_pickle_is_never_executed(tmp_path, disguise, read):
    path, harm = tmp_path / "a", tmp_path / "harm"
    exploit = np.array([Exploit(harm)], dtype=object)
    with open(path, "wb") as file:
        if disguise == "pickle":
            pickle.dump(exploit, file)
        elif disguise == "object array":
            np.savez(file, a=exploit)
        elif disguise == "object array under lacuna's mark":
            np.savez(file, lacuna=np.array("mask"), a=exploit)
        else:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps(exploit))
    refused(path, read)
    assert not harm.exists()
    pickle.loads(pickle.dumps(Exploit(harm)))
    assert harm.exists(), "the exploit itself works"


def test_json_is_sorted_and_finite(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2.5], "a": None})
    assert list(json.loads(path.read_text())) == ["a", "b", "checksum"]
    assert read_json(path) == {"a": None, "b": [1, 2.5]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": None, "b": [1, 2.5]}, "the old file stands"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}"])
def test_damaged_json_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    refused(path, read_json)
    refused(tmp_path / "absent.json", read_json)


def test_digest_of_arrays_is_about_names_types_shapes_and_values():
    a = np.arange(6, dtype=np.int64)
    different = [
        {"a": a},
        {"b": a},
        {"a": a.astype(np.int32)},
        {"a": a.reshape(2, 3)},
        {"a": a.reshape(3, 2)},
        {"a": a[::-1]},
        {"a": a, "b": a[:0]},
        {"a": a.view(np.float64)},
    ]
    assert len({sha256_of_arrays(d) for d in different}) == len(different)
    assert sha256_of_arrays({"a": a, "b": a}) == sha256_of_arrays({"b": a.copy(), "a": a})
    assert sha256_of_arrays({"a": a.reshape(2, 3).T}) == sha256_of_arrays(
        {"a": np.ascontiguousarray(a.reshape(2, 3).T)}
    )


def test_npz_is_a_plain_numpy_archive(tmp_path):
    write_npz(tmp_path / "a.npz", "split", {"retain": np.arange(3)})
    with np.load(io.BytesIO((tmp_path / "a.npz").read_bytes()), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["retain"], np.arange(3))
