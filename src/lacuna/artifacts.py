"""Files in and out: safetensors, npz and json, each written whole or not at all; nothing is unpickled.

A reader that meets a damaged or foreign file raises DamagedFile with the file and the remedy.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors
import safetensors.numpy

from lacuna.errors import DamagedFile

Arrays = dict[str, np.ndarray]
# bytes that are read, hashed and written at a time
_BLOCK = 2**24
# NumPy's name of a type → that of safetensors
_TYPES = {"|u1": "U8", "<i8": "I64"}
_CHANGED = "its checksum does not match its content"
# All that NumPy and zipfile raise for a damaged npz or for another file in its place.
NOT_AN_NPZ = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


class Rows(Protocol):
    """What need not fit in memory: a shape, a type, and the arrays of consecutive rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it on success and vanishes on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp" + path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp made it 0600; give it the mode any new file of this user has
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _unusable(path: str | Path, kind: str, why: object) -> DamagedFile:
    return DamagedFile(path, f"{path}: not a usable {kind} file ({why})")


def sha256_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def blocks_of(arrays: Mapping[str, Rows], digest: Any) -> Iterator[tuple[str, int, np.ndarray]]:
    """Name, first row and content of every block, in name order; the `hashlib` digest is then `sha256_of_arrays`."""
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{array.dtype.str}|{tuple(array.shape)}|".encode())
        rows = max(1, _BLOCK // (array.dtype.itemsize * math.prod(array.shape[1:]) or 1))
        for start in range(0, array.shape[0], rows):
            block = np.ascontiguousarray(array[start : start + rows])
            digest.update(block.reshape(-1).view(np.uint8).data)
            yield name, start, block


def write_rows(
    path: str | Path, kind: str, arrays: Mapping[str, Rows], see: Callable[[str, int, np.ndarray], None]
) -> str:
    """The file of `write_tensors`, block by block, so that no array is ever whole in memory; its `sha256_of_arrays`.

    arrays: uint8 or int64, at least one row each. see: is told of every block as `blocks_of` gives it.
    What killed writers of this path left is removed: the caller alone writes it.
    """
    for debris in Path(path).parent.glob(f".{Path(path).name}.*.tmp*"):
        debris.unlink(missing_ok=True)
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # the order of safetensors
    ends = list(itertools.accumulate(arrays[n].dtype.itemsize * math.prod(arrays[n].shape) for n in names))
    starts = dict(zip(names, [0, *ends], strict=False))

    def header(checksum: str) -> bytes:
        facts = json.dumps({"kind": kind, "sha256": checksum}, sort_keys=True)
        fields: dict[str, Any] = {"__metadata__": {"lacuna": facts}}
        for name, end in zip(names, ends, strict=True):
            of, shape = _TYPES[arrays[name].dtype.str], list(arrays[name].shape)
            fields[name] = {"dtype": of, "shape": shape, "data_offsets": [starts[name], end]}
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    digest = hashlib.sha256()
    with atomic(path) as temporary, open(temporary, "wb") as file:
        length = file.write(header("0" * 64))
        for name, start, block in blocks_of(arrays, digest):
            file.seek(length + starts[name] + start * (block.nbytes // len(block)))
            file.write(block.data)
            see(name, start, block)
        file.seek(0)
        # the checksum is known last; it is as long as the zeros in its place
        file.write(header(hashlib.sha256((digest.hexdigest() + "{}").encode()).hexdigest()))
    return digest.hexdigest()


def write_tensors(path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], **about: str) -> None:
    """Write named arrays as safetensors; `kind` ("model", "images", ...) is checked when read back."""
    contiguous = {k: np.ascontiguousarray(v).reshape(np.shape(v)) for k, v in arrays.items()}
    facts = {"kind": kind, "sha256": _checksum(contiguous, about), **about}
    with atomic(path) as temporary:
        # save_file orders tensors itself and writes no time or path: same arrays, same bytes;
        # metadata it writes in random order, hence the one entry
        safetensors.numpy.save_file(contiguous, temporary, {"lacuna": json.dumps(facts, sort_keys=True)})


def _checksum(arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> str:
    """SHA-256 over arrays and the facts beside them."""
    return hashlib.sha256((sha256_of_arrays(arrays) + json.dumps(about, sort_keys=True)).encode()).hexdigest()


def read_tensors(path: str | Path, kind: str, mapped: bool = False) -> tuple[Arrays, dict[str, str]]:
    """Arrays and facts (`about`) of a file that `write_tensors` wrote as `kind`; the checksum takes 3 s per gigabyte.

    mapped: the arrays are the file itself, for reading only and larger than memory if need be.
    Raises DamagedFile for a missing, truncated, altered or foreign file.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("lacuna", "{}"))
            found, checksum = about.pop("kind", "no lacuna file"), about.pop("sha256", "")
            if found != kind:
                raise _unusable(path, kind, f"it says it is {found!r}")
            names = list(file.keys())
            arrays = _mapped(path) if mapped else {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise _unusable(path, kind, "no such file") from None
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise _unusable(path, kind, error) from None
    if checksum != _checksum(arrays, about):
        raise _unusable(path, kind, _CHANGED)
    return arrays, about


def _mapped(path: str | Path) -> Arrays:
    """The arrays of a safetensors file whose header safetensors found sound."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        fields = json.loads(file.read(length))
    types = {theirs: ours for ours, theirs in _TYPES.items()}
    return {
        name: np.asarray(
            np.memmap(path, types[field["dtype"]], "r", 8 + length + field["data_offsets"][0], tuple(field["shape"]))
        )
        for name, field in fields.items()
        if name != "__metadata__"
    }


def write_npz(path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], comment: str = "") -> None:
    """Write named arrays as a compressed npz, marked with its `kind` and a checksum.

    comment: of the archive, at most 65,535 bytes of UTF-8; no part of the checksum (`comment_of`).
    """
    mark = np.array(f"{kind} {sha256_of_arrays(arrays)}")
    with atomic(path) as temporary:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **{"lacuna": mark, **arrays})  # type: ignore[arg-type]
        if comment:
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.comment = comment.encode()


def read_npz(path: str | Path, kind: str) -> Arrays:
    """Arrays of a file that `write_npz` wrote as `kind`; never unpickles. Raises DamagedFile as `read_tensors`."""
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise _unusable(path, kind, "it is not an npz archive")
        with file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise _unusable(path, kind, "no such file") from None
    except NOT_AN_NPZ as error:
        raise _unusable(path, kind, error) from None
    found, _, checksum = str(arrays.pop("lacuna", "")).partition(" ")
    if found != kind:
        raise _unusable(path, kind, f"it says it is {found or 'no lacuna file'!r}")
    if checksum != sha256_of_arrays(arrays):
        raise _unusable(path, kind, _CHANGED)
    return arrays


def comment_of(path: str | Path) -> str:
    """The comment of an npz archive, empty if it has none. Raises DamagedFile if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.decode()
    except NOT_AN_NPZ as error:
        raise _unusable(path, "npz", error) from None


def mark_of(path: str | Path) -> tuple[str, str]:
    """Kind and checksum that a safetensors or npz file carries, without reading its arrays.

    Raises LacunaError for a file that is missing, cut short or not lacuna's; one that was altered inside passes.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="numpy") as tensors:
                facts = json.loads((tensors.metadata() or {})["lacuna"])
                return str(facts["kind"]), str(facts["sha256"])
        with np.load(path, allow_pickle=False) as arrays:
            kind, _, checksum = str(arrays["lacuna"]).partition(" ")
            return kind, checksum
    except FileNotFoundError:
        raise _unusable(path, "lacuna", "no such file") from None
    except (safetensors.SafetensorError, *NOT_AN_NPZ) as error:
        raise _unusable(path, "lacuna", error) from None


def content_of(path: str | Path) -> str:
    """A digest that names a file's content: the checksum it carries, else its SHA-256; raises as `mark_of`."""
    path = Path(path)
    if path.suffix in (".safetensors", ".npz"):
        return mark_of(path)[1]
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _unusable(path, "lacuna", error.strerror) from None


def pack_bits(masks: Mapping[str, np.ndarray]) -> Arrays:
    """Bool arrays as one bit per entry: `bits/<name>` and `shape/<name>` for each."""
    packed: Arrays = {}
    for name, mask in masks.items():
        packed[f"bits/{name}"] = np.packbits(mask.reshape(-1))
        packed[f"shape/{name}"] = np.array(mask.shape, dtype=np.int64)
    return packed


def unpack_bits(packed: Mapping[str, np.ndarray]) -> Arrays:
    """The bool arrays that `pack_bits` took."""
    masks: Arrays = {}
    for key in packed:
        if key.startswith("bits/"):
            name = key.removeprefix("bits/")
            shape = packed[f"shape/{name}"]
            masks[name] = np.unpackbits(packed[key], count=int(shape.prod())).astype(bool).reshape(shape)
    return masks


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON with sorted keys; NaN and infinity are refused."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """The value of a JSON file. Raises DamagedFile for a missing or damaged one."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _unusable(path, "json", "no such file") from None
    except (OSError, ValueError) as error:
        raise _unusable(path, "json", error) from None
