"""Files in and out: safetensors, npz and json, each written whole or not at all; nothing is unpickled.

Every file carries a checksum of its content and, models and masks apart, its place below `results/`. A reader that
meets a damaged or foreign file, or that of another place, raises DamagedFile with the file and the remedy.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import json
import math
import mmap
import os
import re
import stat
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np
import safetensors.numpy

from lacuna.artifacts.writing import atomic
from lacuna.errors import DamagedFile, LacunaError

Arrays = dict[str, np.ndarray]
# bytes that are read, hashed and written at a time
_BLOCK = 2**24
# NumPy's name of a type → that of safetensors
_TYPES = {"|u1": "U8", "<i8": "I64"}
_CHANGED = "its checksum does not match its content"
# kinds of which the same content is the same file wherever it lies; the job.json beside them names place and content
_WITHOUT_PLACE = ("model", "mask")
# the folders of results of this process, by their parts
_ROOTS: set[tuple[str, ...]] = {("results",)}
# what an archive may hold whatever its size, and how far it may be compressed beyond that; the mark's own size
_INFLATED, _RATIO, _MARK = 2**28, 20, 2**16
# what a reader may find in the way of a file that says nothing about the file
_NOT_DAMAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.EINTR, errno.ESTALE)
# Python before 3.13 has no name for it: Linux's number, which means nothing on the few processors that have another
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
# how a JSON file of ours ends
_TAIL = re.compile(rb',?\n "checksum": "([0-9a-f]{64})"\n\}\n\Z')
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
    SyntaxError,
    OverflowError,
    IndexError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class Mark(NamedTuple):
    """What a file says of itself: its kind, the checksum of its content, its place below `results/` if it has one."""

    kind: str
    checksum: str
    place: str = ""


class Rows(Protocol):
    """What need not fit in memory: a shape, a type, and the arrays of consecutive rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


def _unusable(path: str | Path, kind: str, why: object) -> DamagedFile:
    return DamagedFile(path, f"{path}: not a usable {kind} file ({_line(why)})")


def _line(why: object) -> str:
    """A reason in one line; an exception without words is named."""
    if isinstance(why, OSError) and why.strerror:
        return why.strerror
    return " ".join(str(why).split())[:300] or type(why).__name__


@contextlib.contextmanager
def _reading(path: str | Path, kind: str) -> Iterator[None]:
    """Whatever a reader raises is a damaged file, but for what the machine lacks."""
    try:
        yield
    except LacunaError:
        raise
    except FileNotFoundError:
        raise _unusable(path, kind, "no such file") from None
    except OSError as error:
        if error.errno in _NOT_DAMAGE:
            raise LacunaError(f"{path}: cannot be read ({error.strerror})") from None
        raise _unusable(path, kind, error) from None
    except MemoryError:
        raise LacunaError(f"{path}: cannot be read (the memory does not hold it)") from None
    except Exception as error:
        raise _unusable(path, kind, error) from None


def _size(path: str | Path, mapped: bool = False) -> int:
    """The size of a file in bytes. Raises ValueError for a folder, pipe or device, and for one larger than memory."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    if not mapped and status.st_size > _memory():
        raise ValueError(f"its {status.st_size:,} bytes are more than this machine's memory")
    return status.st_size


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def use_results(folder: str | Path) -> None:
    """Take a folder for one of results too, beside `results/`: paths that begin with it have their place below it."""
    _ROOTS.add(PurePath(folder).parts)


def place_of(path: str | Path) -> str:
    """The place that a file names: its path below `results/`; nothing for a path that does not begin there.

    What `use_results` was told of counts as `results/`, the innermost folder where one lies in another.
    """
    parts = PurePath(path).parts
    depth = max((len(root) for root in _ROOTS if parts[: len(root)] == root), default=len(parts))
    return "/".join(parts[depth:])


def told_as(path: str | Path) -> str:
    """How a file names another one: `results/` and its place, wherever the results lie; other paths as they are."""
    place = place_of(path)
    return f"results/{place}" if place else str(path)


def check_place(path: str | Path, kind: str, place: str, expected: str | None = None) -> None:
    """Raise DamagedFile unless the place that a file names is that of the path.

    expected: the place below the root of the tree; None: from a path that begins with `results/`, which may hold
    the tree in a folder of its own. Files elsewhere may lie anywhere.
    """
    there = place_of(path) if expected is None else expected
    if there and place != there and not (place and expected is None and there.endswith(f"/{place}")):
        raise _unusable(path, kind, f"it is the file of {place}" if place else "it names no place in results")


def _place_for(path: str | Path, kind: str) -> str:
    return "" if kind in _WITHOUT_PLACE else place_of(path)


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

    place = {"place": here} if (here := _place_for(path, kind)) else {}

    def header(checksum: str) -> bytes:
        facts = json.dumps({"kind": kind, "sha256": checksum, **place}, sort_keys=True)
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
    """Write named arrays as safetensors; `kind` ("model", "images", ...) is checked when read back.

    Raises LacunaError if the file cannot be written.
    """
    contiguous = {k: np.ascontiguousarray(v).reshape(np.shape(v)) for k, v in arrays.items()}
    facts = {"kind": kind, "sha256": _checksum(contiguous, about), **about}
    if place := _place_for(path, kind):
        facts["place"] = place
    with atomic(path) as temporary:
        try:
            # save_file orders tensors itself and writes no time or path: same arrays, same bytes;
            # metadata it writes in random order, hence the one entry
            safetensors.numpy.save_file(contiguous, temporary, {"lacuna": json.dumps(facts, sort_keys=True)})
        except safetensors.SafetensorError as error:
            raise LacunaError(f"{path}: cannot be written ({_line(error)})") from None


def _checksum(arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> str:
    """SHA-256 over arrays and the facts beside them."""
    return hashlib.sha256((sha256_of_arrays(arrays) + json.dumps(about, sort_keys=True)).encode()).hexdigest()


def read_tensors(
    path: str | Path, kind: str, mapped: bool = False, place: str | None = None
) -> tuple[Arrays, dict[str, str]]:
    """Arrays and facts (`about`) of a file that `write_tensors` wrote as `kind`; the checksum takes 3 s per gigabyte.

    mapped: the arrays are the file itself, larger than memory if need be. They are for reading: what is written to them
    stays in this process's memory, and the file as it is.
    place: see `check_place`. Raises DamagedFile for a missing, truncated, altered or foreign file.
    """
    with _reading(path, kind):
        _size(path, mapped)
        with safetensors.safe_open(path, framework="numpy") as file:
            mark, about = _mark_of_tensors(file)
            _check_mark(path, kind, mark, place)
            names = list(file.keys())
            arrays = _mapped(path) if mapped else {name: file.get_tensor(name) for name in names}
        if mark.checksum != _checksum(arrays, about):
            raise _unusable(path, kind, _CHANGED)
    return arrays, about


def _mark_of_tensors(file: Any) -> tuple[Mark, dict[str, str]]:
    about = json.loads((file.metadata() or {}).get("lacuna", "{}"))
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise ValueError("its facts are no texts by name")
    return Mark(about.pop("kind", ""), about.pop("sha256", ""), about.pop("place", "")), about


def _check_mark(path: str | Path, kind: str, mark: Mark, place: str | None) -> None:
    if mark.kind != kind:
        raise _unusable(path, kind, f"it says it is {mark.kind or 'no lacuna file'!r}")
    if kind not in _WITHOUT_PLACE:
        check_place(path, kind, mark.place, place)


def _mapped(path: str | Path) -> Arrays:
    """The arrays of a safetensors file whose header safetensors found sound."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        fields = json.loads(file.read(length))
        pages = _pages(file.fileno())
    types = {theirs: ours for ours, theirs in _TYPES.items()}
    return {
        name: np.ndarray(tuple(field["shape"]), types[field["dtype"]], pages, 8 + length + field["data_offsets"][0])
        for name, field in fields.items()
        if name != "__metadata__"
    }


def _pages(file: int) -> mmap.mmap:
    """A file in memory: torch does not know of memory for reading only, and a user's code that writes there would end
    the process. So a page that is written to becomes a copy, which nobody else sees."""
    try:
        # no memory is set aside for copies that hardly ever come
        flags = mmap.MAP_PRIVATE | (_NO_RESERVE if sys.platform == "linux" else 0)
        return mmap.mmap(file, 0, flags, mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:  # a machine that sets it aside all the same
        return mmap.mmap(file, 0, access=mmap.ACCESS_READ)


def write_npz(path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], comment: str = "") -> None:
    """Write named arrays as a compressed npz, marked with its `kind`, a checksum and its place.

    comment: of the archive, at most 65,535 bytes of UTF-8; no part of the checksum, but of the mark (`comment_of`).
    """
    words = [kind, sha256_of_arrays(arrays), _place_for(path, kind)]
    if comment:
        words = [*words[:2], words[2] or "-", _digest(comment.encode())]
    # in memory first: an archive that cannot be written to its end complains again when it is collected
    content = io.BytesIO()
    np.savez_compressed(content, **{"lacuna": np.array(" ".join(words).rstrip()), **arrays})  # type: ignore[arg-type]
    if comment:
        with zipfile.ZipFile(content, "a") as archive:
            archive.comment = comment.encode()
    with atomic(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _digest(comment: bytes) -> str:
    return hashlib.sha256(comment).hexdigest()[:32]


def read_npz(path: str | Path, kind: str, place: str | None = None) -> Arrays:
    """Arrays of a file that `write_npz` wrote as `kind`; never unpickles. Raises DamagedFile as `read_tensors`.

    Nothing is inflated before the mark and the sizes that the headers name have been looked at.
    """
    return read_marked_npz(path, kind, place)[0]


def read_marked_npz(path: str | Path, kind: str, place: str | None = None) -> tuple[Arrays, Mark, str]:
    """The same with the mark and the comment, the file being opened once."""
    with _reading(path, kind), zipfile.ZipFile(_regular(path)) as archive:
        mark = _mark_of_npz(archive)
        _check_mark(path, kind, mark, place)
        arrays = _arrays_of(archive, _size(path))
        if mark.checksum != sha256_of_arrays(arrays):
            raise _unusable(path, kind, _CHANGED)
        return arrays, mark, archive.comment.decode()


def comment_of(path: str | Path) -> str:
    """The comment of an npz archive, empty if it has none. Raises DamagedFile if it cannot be read or was altered."""
    with _reading(path, "npz"), zipfile.ZipFile(_regular(path)) as archive:
        _mark_of_npz(archive)
        return archive.comment.decode()


def _regular(path: str | Path) -> str | Path:
    _size(path)
    return path


def _mark_of_npz(archive: zipfile.ZipFile) -> Mark:
    member = archive.getinfo("lacuna.npy")
    if member.file_size > _MARK:
        raise ValueError("its mark is too large")
    with archive.open(member) as file:
        words = str(np.lib.format.read_array(file, allow_pickle=False)).split(" ")
    kind, checksum, place, comment = (*words, "", "", "")[:4]
    if comment != (_digest(archive.comment) if archive.comment else ""):
        raise ValueError("its comment was altered")
    return Mark(kind, checksum, "" if place == "-" else place)


def _arrays_of(archive: zipfile.ZipFile, size: int) -> Arrays:
    """The arrays of an archive of `size` bytes, whose headers must name as many bytes as its directory."""
    members = [member for member in archive.infolist() if member.filename != "lacuna.npy"]
    inflated = sum(member.file_size for member in members)
    if inflated > min(_INFLATED + _RATIO * size, _memory()):
        raise ValueError(f"it holds {inflated:,} bytes in {size:,}; allowed: up to {_RATIO} times its size")
    if len({member.filename for member in members}) < len(members):
        raise ValueError("an array is stored twice")
    arrays: Arrays = {}
    for member in members:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            if dtype.hasobject or file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"'{member.filename}' is not as long as its header says")
            content = bytearray(file.read())
        order: Any = "F" if by_columns else "C"
        arrays[member.filename.removesuffix(".npy")] = np.ndarray(shape, dtype, content, order=order)
    return arrays


def stored_checksum(path: str | Path) -> Mark:
    """What a safetensors, npz or json file says of itself, without reading its arrays.

    Raises LacunaError for a file that is missing, cut short or not lacuna's; one that was altered inside passes.
    """
    path = Path(path)
    with _reading(path, "lacuna"):
        if path.suffix == ".json":
            value, checksum = _parsed(path)
            return Mark("json", checksum, str(value.get("place", "")))
        if path.suffix == ".safetensors":
            _size(path, mapped=True)
            with safetensors.safe_open(path, framework="numpy") as tensors:
                mark = _mark_of_tensors(tensors)[0]
        else:
            with zipfile.ZipFile(_regular(path)) as archive:
                mark = _mark_of_npz(archive)
        if not (mark.kind and mark.checksum):
            raise ValueError("it says it is no lacuna file")
        return mark


def check_file(path: str | Path, kind: str | None = None, place: str | None = None) -> str:
    """The digest that names a file's content (`content_digest`), when all of it was read and found sound.

    kind: that a safetensors or npz file must have; None: the one that it says. Of files that carry no checksum only
    that they can be read. Raises DamagedFile, with `place` as `check_place`.
    """
    path = Path(path)
    with _reading(path, kind or "lacuna"):
        if path.suffix == ".json":
            read_json(path, place)
            return content_digest(path)
        if path.suffix not in (".safetensors", ".npz"):
            return content_digest(path)
        mark = stored_checksum(path)
        if path.suffix == ".safetensors":
            read_tensors(path, kind or mark.kind, (kind or mark.kind) == "images", place)
        elif (kind or mark.kind) == "mask":
            read_mask(path, place)
        else:
            read_npz(path, kind or mark.kind, place)
        return mark.checksum


def check_beside(path: str | Path) -> None:
    """Raise DamagedFile unless what a job made has the content that the job's JSON file beside it names.

    Models and masks are the same files wherever they lie, so another cell's, or those of an earlier run, would pass
    otherwise. Of files that no JSON file vouches for nothing is said.
    """
    path = Path(path)
    job = _job_of(path)
    if job is None:
        return
    if not job.exists():
        raise _unusable(path, "lacuna", f"no {job.name} next to it names its content")
    with _reading(job, "json"):
        outputs = read_json(job).get("outputs", {})
        if not isinstance(outputs, dict):
            raise ValueError("'outputs' is no object")
    # of packed shadow models and their answers the name is a range of numbers
    recorded = outputs.get(path.stem) if job.name == "job.json" else next(iter(outputs.values()), None)
    if recorded not in (None, content_digest(path)):
        raise _unusable(path, "lacuna", f"the {job.name} next to it was written for other content")


def _job_of(path: Path) -> Path | None:
    """The JSON file of the job that made a file, which names its content; None where there is none to be."""
    place = place_of(path)
    if path.suffix not in (".safetensors", ".npz"):
        return None
    if re.fullmatch(r"scores|\d+-\d+", path.stem) and place.startswith(("models/", "cells/", "shadows/")):
        return path.with_suffix(".json")
    vouched = path.suffix == ".safetensors" or path.name in ("mask.npz", "predictions.npz")
    return path.with_name("job.json") if vouched and place.startswith(("models/", "cells/")) else None


def content_digest(path: str | Path) -> str:
    """A digest that names a file's content: the checksum it carries, else its SHA-256; raises as `stored_checksum`."""
    path = Path(path)
    if path.suffix in (".safetensors", ".npz"):
        return stored_checksum(path).checksum
    with _reading(path, "lacuna"), open(_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack_bits(masks: Mapping[str, np.ndarray]) -> Arrays:
    """Bool arrays as one bit per entry: `bits/<name>` and `shape/<name>` for each."""
    packed: Arrays = {}
    for name, mask in masks.items():
        packed[f"bits/{name}"] = np.packbits(mask.reshape(-1))
        packed[f"shape/{name}"] = np.array(mask.shape, dtype=np.int64)
    return packed


def unpack_bits(packed: Mapping[str, np.ndarray]) -> Arrays:
    """The bool arrays that `pack_bits` took. Raises ValueError for shapes that the bits do not have."""
    masks: Arrays = {}
    for key, bits in packed.items():
        if not key.startswith("bits/"):
            continue
        name = key.removeprefix("bits/")
        shape = packed.get(f"shape/{name}", np.array("none"))
        if shape.ndim != 1 or shape.dtype.kind not in "iu" or bits.ndim != 1 or bits.dtype != np.uint8:
            raise ValueError(f"'{name}' is no mask")
        sides = tuple(map(int, shape))
        count = math.prod(sides)
        if min(sides, default=1) < 0 or len(bits) != -(-count // 8):
            raise ValueError(f"'{name}' has {8 * len(bits)} bits for the shape {sides}")
        masks[name] = np.unpackbits(bits, count=count).astype(bool).reshape(sides)
    return masks


def read_mask(path: str | Path, place: str | None = None) -> Arrays:
    """The bool arrays of a file that holds a mask. Raises DamagedFile as `read_tensors`."""
    return bits_of(path, read_npz(path, "mask", place))


def bits_of(path: str | Path, packed: Mapping[str, np.ndarray]) -> Arrays:
    """The masks of a file whose arrays were read. Raises DamagedFile for shapes that the bits do not have."""
    with _reading(path, "mask"):
        return unpack_bits(packed)


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys, its place and last a checksum of all before it; NaN and infinity are refused."""
    place = {"place": here} if (here := place_of(path)) else {}
    text = json.dumps({**value, **place}, indent=1, sort_keys=True, allow_nan=False)
    head = text.removesuffix("}").removesuffix("\n").encode()
    comma = b"," if len(head) > 1 else b""
    tail = f'\n "checksum": "{hashlib.sha256(head).hexdigest()}"\n}}\n'.encode()
    with atomic(path) as temporary:
        temporary.write_bytes(head + comma + tail)


def read_json(path: str | Path, place: str | None = None) -> dict[str, Any]:
    """What `write_json` wrote. Raises DamagedFile for a missing, altered or foreign file. place: see `check_place`."""
    with _reading(path, "json"):
        value, _ = _parsed(path)
        named = value.pop("place", "")
        check_place(path, "json", named if isinstance(named, str) else "", place)
        return value


def _parsed(path: str | Path) -> tuple[dict[str, Any], str]:
    """The content of a JSON file of ours and its checksum. Raises ValueError and what else reading may raise."""
    _size(path)
    content = Path(path).read_bytes()
    tail = _TAIL.search(content[-100:])
    value = json.loads(content, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    if tail is None:
        raise ValueError("it carries no checksum")
    head = content[: len(content) - (tail.end() - tail.start())]
    checksum = tail[1].decode()
    if hashlib.sha256(head).hexdigest() != checksum:
        raise ValueError(_CHANGED)
    value.pop("checksum")
    return value, checksum


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
