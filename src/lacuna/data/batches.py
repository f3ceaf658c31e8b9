"""Images that stay on the device as uint8, or in host memory if they are too many, and the batches drawn from them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lacuna.artifacts.files import sha256_of_arrays
from lacuna.data.backdoor import Stamps
from lacuna.errors import LacunaError
from lacuna.randomness import derive

Serving = Literal["auto", "device", "host"]


@dataclass(frozen=True)
class Augment:
    """Training-time augmentation, drawn per sample: zero-padded random crop by `crop` pixels, mirror with p = 0.5."""

    crop: int = 0
    flip: bool = False


@dataclass(frozen=True)
class Batch:
    """One batch on the device.

    x: float [n, channels, height, width], normalised; y: int64 [n]; index: int64 [n] into the dataset;
    forgotten: bool [n], true for samples of D_f; classes: number of classes; generator: this step's random stream.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    forgotten: Tensor
    classes: int
    generator: torch.Generator


@dataclass(frozen=True)
class Draw:
    """The samples of a batch that is still to be assembled.

    rows: where their images lie, int64 [n], on the device of the images; index, forgotten: as in `Batch`;
    seed: of the batch's random stream.
    """

    rows: Tensor
    index: Tensor
    forgotten: Tensor
    seed: int


class HostImages:
    """Images in host memory that answer as a tensor on the device would: shape, dtype, device, and rows by index.

    images: on the CPU, be it a memory-mapped file. Rows are gathered there and copied to the device behind what it
    computes; an index that lies on the host costs no wait for the device.
    """

    def __init__(self, images: Tensor, device: torch.device):
        self.images, self.device = images, device
        self.shape, self.dtype = images.shape, images.dtype

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Tensor) -> Tensor:
        # pinned, or the copy would wait for the device
        pinned = self.device.type == "cuda"
        rows = torch.empty((len(index), *self.shape[1:]), dtype=self.dtype, pin_memory=pinned)
        torch.index_select(self.images, 0, index.cpu(), out=rows)
        return rows.to(self.device, non_blocking=True)


class StampedImages:
    """Images of which some carry a square, and behind them copies of some that do; they answer as those they wrap.

    images: on the device, or `HostImages`. The square is put on rows when they are asked for: nothing is held twice.
    """

    def __init__(self, images: Tensor | HostImages, stamps: Stamps):
        self.images, self.stamps, self.device, self.dtype = images, stamps, images.device, images.dtype
        self.shape = torch.Size((len(stamps.source), *images.shape[1:]))
        where = "cpu" if isinstance(images, HostImages) else images.device
        self.source = torch.from_numpy(stamps.source).to(where)
        self.stamped = torch.from_numpy(stamps.stamped).to(where)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Tensor) -> Tensor:
        index = index.to(self.source.device)
        rows = self.images[self.source[index]]
        square = (..., *self.stamps.square)
        rows[square] *= ~self.stamped[index].to(self.device, non_blocking=True)[:, None, None, None]
        return rows


@dataclass(frozen=True)
class UnlearningData:
    """Images, labels and the index sets of one split.

    images: uint8 or float [n, channels, height, width] (floats are taken as already normalised), on the device,
    `HostImages` or `StampedImages`, read only by rows;
    labels: int64 [n]; parts: index tensors by name, `retain` and, unless nothing is to be forgotten, `forget`;
    others (`val`, `test`, ...) are only predicted on. mean, std: per channel, of images scaled to [0, 1].
    shuffle: draw a new order each epoch (off, batches are consecutive slices of the given order).
    content: a digest of the images where one is known, so that no fingerprint has to read them all.

    `UnlearningData.from_tensors` makes one of the user's own tensors.

    >>> import torch
    >>> from lacuna import UnlearningData
    >>> x, y = torch.rand(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    >>> data = UnlearningData.from_tensors(retain=(x[:4], y[:4]), forget=(x[4:], y[4:]))
    >>> data
    UnlearningData(retain 4, forget 2; images of 3×8×8 float32 on cpu, 3 classes)
    >>> data.index("forget").tolist()
    [4, 5]
    """

    images: Tensor | HostImages | StampedImages
    labels: Tensor
    parts: Mapping[str, Tensor]
    classes: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    augment: Augment = field(default_factory=Augment)
    shuffle: bool = True
    content: str = ""
    _scales: dict[tuple[torch.dtype, torch.device, int, int], tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        meta: Mapping[str, Any],
        parts: Mapping[str, np.ndarray],
        device: str | torch.device = "cpu",
        serve: Serving = "auto",
        stamps: Stamps | None = None,
        **rest: Any,
    ) -> UnlearningData:
        """From what `ingest` and `split` store: arrays `x` and `y`, the dataset's meta and index arrays.

        serve: where the images are kept; auto: on the device, unless they would take more than half of a GPU's free
        memory. The batches are the same. stamps: which images carry a backdoor's square, and the labels of all.
        """
        device, images = torch.device(device), _on_array(arrays["x"])
        served = HostImages(images, device) if _from_host(images, device, serve) else images.to(device)
        return cls(
            images=served if stamps is None else StampedImages(served, stamps),
            labels=_on_array(arrays["y"] if stamps is None else stamps.labels).to(device),
            parts={k: torch.from_numpy(np.asarray(v, dtype=np.int64)).to(device) for k, v in parts.items()},
            classes=meta["classes"],
            mean=tuple(meta["mean"]),
            std=tuple(meta["std"]),
            **rest,
        )

    @classmethod
    def from_tensors(cls, classes: int | None = None, augment: Augment | None = None, **parts: Any) -> UnlearningData:
        """From the user's own tensors: from_tensors(retain=(x, y), forget=(x, y), test=(x, y), ...).

        x: uint8, which is scaled to [0, 1], or floats that are normalised already, [n, channels, height, width];
        y: whole numbers [n]. Tensors (which stay on their device), NumPy arrays, or a TensorDataset of both. `retain`
        must be given.
        Raises LacunaError for a part that is empty, of unequal lengths, of another image shape, type, device or scale
        than the others, or channels last; for a float that is not finite; for a bad label.
        """
        if "retain" not in parts:
            raise LacunaError("from_tensors: no part 'retain'; allowed: retain=(x, y), forget=(x, y) and others")
        if "mixed" in parts:
            raise LacunaError("from_tensors: 'mixed' is forget and retain together; allowed: another name for a part")
        for what, value, kind in (("classes", classes, int), ("augment", augment, Augment)):
            if value is not None and (not isinstance(value, kind) or value == 0):
                name = "a whole number from 1" if kind is int else "lacuna.data.batches.Augment"
                raise LacunaError(f"from_tensors: {what}: {value!r} is not allowed; allowed: {name}, or None")
        pairs = {name: _pair(part, name) for name, part in parts.items()}
        index, start = {}, 0
        first = pairs["retain"][0]
        for name, (x, y) in pairs.items():
            if len(x) != len(y) or not len(x) or x.shape[1:] != first.shape[1:]:
                raise LacunaError(
                    f"from_tensors: part '{name}' has {len(x)} images of shape {tuple(x.shape[1:])}, {len(y)} labels; "
                    f"allowed: at least one image of shape {tuple(first.shape[1:])}, and one label for each"
                )
            if x.is_floating_point() != first.is_floating_point() or x.device != first.device:
                raise LacunaError(
                    f"from_tensors: part '{name}' is {x.dtype} on {x.device} beside {first.dtype} on {first.device}; "
                    "allowed: all parts on one device, and either all uint8 or all floats"
                )
            index[name] = torch.arange(start, start + len(x), device=x.device)
            start += len(x)
        _check_scale({name: x for name, (x, _) in pairs.items()})
        labels = torch.cat([y for _, y in pairs.values()])
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or (classes is not None and high >= classes):
            allowed = f"0 to {classes - 1}" if classes is not None else "0 to classes - 1"
            raise LacunaError(f"from_tensors: label {low if low < 0 else high} is out of range; allowed: {allowed}")
        return cls(
            images=torch.cat([x for x, _ in pairs.values()]),
            labels=labels,
            parts=index,
            classes=classes or high + 1,
            augment=augment or Augment(),
        )

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {len(index)}" for name, index in self.parts.items())
        images = f"{'×'.join(map(str, self.images.shape[1:]))} {str(self.images.dtype).removeprefix('torch.')}"
        return f"UnlearningData({parts}; images of {images} on {self.device}, {self.classes} classes)"

    @property
    def device(self) -> torch.device:
        return self.images.device

    @contextlib.contextmanager
    def read_only(self, reader: str) -> Iterator[None]:
        """Raise LacunaError naming `reader` if, by the end, a tensor of this data was written to in place.

        Costs nothing: torch counts the writes to a tensor and its views, but for those through NumPy or `.data`.
        """
        before = self._writes()
        yield
        after = self._writes()
        if changed := [name for name in before if after[name] != before[name]]:
            raise LacunaError(
                f"{reader}: it wrote into data.{changed[0]}, which all that follows reads; allowed: writing into a "
                f"copy (data.{changed[0]}.clone()); in a notebook, make the data anew"
            )

    def _writes(self) -> dict[str, int]:
        """How often each tensor was written to in place."""
        images = self.images.images if isinstance(self.images, StampedImages) else self.images
        images = images.images if isinstance(images, HostImages) else images
        tensors = {"images": images, "labels": self.labels}
        tensors |= {f"parts['{name}']": index for name, index in self.parts.items()}
        # those of inference mode have no count
        return {name: tensor._version for name, tensor in tensors.items() if not tensor.is_inference()}

    def index(self, stream: str) -> Tensor:
        """The dataset indices of a part; `mixed` is forget and retain together."""
        if stream == "mixed":
            return torch.cat([self.index("forget"), self.index("retain")])
        if stream not in self.parts or not len(self.parts[stream]):
            raise LacunaError(f"the data has no '{stream}' samples; it has: {', '.join(self.parts)}")
        return self.parts[stream]

    def sizes(self, stream: str, batch_size: int) -> list[int]:
        """The sizes of the batches in one pass; see `batch_sizes`."""
        return batch_sizes(len(self.index(stream)), batch_size)

    def steps(self, stream: str, batch_size: int) -> int:
        """Batches in one pass."""
        return len(self.sizes(stream, batch_size))

    def draws(self, stream: str, batch_size: int, seed: int, epoch: int) -> Iterator[Draw]:
        """The batches of one epoch before they are assembled; (seed, stream, epoch) decide their order."""
        index = self.index(stream)
        forgotten = torch.zeros(len(index), dtype=torch.bool, device=self.device)
        if stream in ("forget", "mixed"):
            forgotten[: len(self.index("forget"))] = True
        if self.shuffle:
            order = torch.randperm(len(index), generator=torch.Generator().manual_seed(derive(seed, stream, epoch)))
            order = sent(order, self.device)
            index, forgotten = index[order], forgotten[order]
        sizes = self.sizes(stream, batch_size)
        parts = (part.split(sizes) for part in (self._rows(index), index, forgotten))
        for step, (rows, chosen, flags) in enumerate(zip(*parts, strict=True)):
            yield Draw(rows, chosen, flags, derive(seed, stream, epoch, step))

    def assembled(self, draw: Draw, dtype: torch.dtype, generator: torch.Generator) -> Batch:
        """The batch of a draw, augmented; generator: on the device of the images, at the start of the draw's stream."""
        x = self._augmented(self._images(draw.rows), generator)
        return Batch(
            self.normalised(x, dtype), self.labels[draw.index], draw.index, draw.forgotten, self.classes, generator
        )

    def train_batches(self, stream: str, batch_size: int, seed: int, epoch: int, dtype: torch.dtype) -> Iterator[Batch]:
        """One epoch of augmented batches; order and augmentation depend on (seed, stream, epoch, step) alone."""
        generator = torch.Generator(self.device)
        for draw in self.draws(stream, batch_size, seed, epoch):
            yield self.assembled(draw, dtype, generator.manual_seed(draw.seed))

    def plain_batches(
        self, stream: str, batch_size: int, dtype: torch.dtype, equal: bool = False
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in stored order, not augmented.

        equal: in batches of `sizes`, for what is taken of a batch as a whole; else the last one has the remainder.
        """
        index = self.index(stream)
        sizes = self.sizes(stream, batch_size) if equal else batch_size
        for rows, chosen in zip(self._rows(index).split(sizes), index.split(sizes), strict=True):
            yield self.normalised(self._images(rows), dtype), self.labels[chosen]

    def example(self, dtype: torch.dtype) -> Tensor:
        """One image as a network is shown it: float [1, channels, height, width]."""
        index = next(index for index in self.parts.values() if len(index))[:1]
        return self.normalised(self._images(self._rows(index)), dtype)

    def _images(self, rows: Tensor) -> Tensor:
        # whole images at a time, which brackets do not copy on a CPU
        return self.images.index_select(0, rows) if isinstance(self.images, Tensor) else self.images[rows]

    def _rows(self, index: Tensor) -> Tensor:
        """An index where the images are, brought there once and not for each batch."""
        images = self.images.images if isinstance(self.images, StampedImages) else self.images
        return index.cpu() if isinstance(images, HostImages) else index

    def normalised(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """uint8 scaled to [0, 1] and standardised per channel; floats only cast."""
        if x.dtype == torch.uint8:
            n, channels, height, width = x.shape
            mean, std = self._scale(dtype, x.device, channels, height * width)
            # an image as one row, channels last: a statistic for each of its values needs no broadcasting over three
            rows = x.permute(0, 2, 3, 1).reshape(n, channels * height * width)
            x = rows.to(dtype).div_(255).sub_(mean).div_(std).reshape(n, height, width, channels).permute(0, 3, 1, 2)
        return x.to(dtype, memory_format=torch.channels_last)

    def _scale(self, dtype: torch.dtype, device: torch.device, channels: int, pixels: int) -> tuple[Tensor, Tensor]:
        """Mean and std of each value of an image, channels last, brought to a device once: a copy for each batch would
        wait for it."""
        key = (dtype, device, channels, pixels)
        if key not in self._scales:
            mean, std = (
                torch.tensor(v, dtype=dtype).expand(channels).repeat(pixels).to(device) for v in (self.mean, self.std)
            )
            self._scales[key] = mean, std
        return self._scales[key]

    def _augmented(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, channels, height, width = x.shape
        crop = self.augment.crop
        if crop:
            padded = torch.nn.functional.pad(x, (crop,) * 4)
            offsets = torch.randint(2 * crop + 1, (2, n, 1), generator=generator, device=x.device)
            rows = offsets[0] + torch.arange(height, device=x.device)
            columns = offsets[1] + torch.arange(width, device=x.device)
            if self.augment.flip:
                # mirrored on the way: no pass of its own
                columns = torch.where(self._mirrored(n, generator, x.device), columns.flip(1), columns)
            # pixels of the padded batch, one below the other, channels last
            sample = torch.arange(n, device=x.device)[:, None]
            tall, wide = height + 2 * crop, width + 2 * crop
            pixels = ((sample * tall + rows)[:, :, None] * wide + columns[:, None, :]).reshape(-1)
            padded = padded.permute(0, 2, 3, 1).reshape(n * tall * wide, channels)
            x = padded.index_select(0, pixels).reshape(n, height, width, channels).permute(0, 3, 1, 2)
        elif self.augment.flip:
            x = torch.where(self._mirrored(n, generator, x.device)[:, :, None, None], x.flip(3), x)
        return x

    def _mirrored(self, n: int, generator: torch.Generator, device: torch.device) -> Tensor:
        return torch.rand(n, 1, generator=generator, device=device) < 0.5

    def fingerprint(self) -> str:
        """SHA-256 over images, labels, index sets and settings: all that batches are made of."""
        settings = repr((self.classes, self.mean, self.std, self.augment, self.shuffle))
        arrays = {f"part/{name}": index.cpu().numpy() for name, index in self.parts.items()}
        arrays |= {"labels": self.labels.cpu().numpy(), "settings": np.array(settings)}
        images = self.images
        if isinstance(images, StampedImages):
            stamps, images = images.stamps, images.images
            arrays |= {"source": stamps.source, "stamped": stamps.stamped, "square": np.array(repr(stamps.square))}
        if self.content:
            return sha256_of_arrays(arrays | {"content": np.array(self.content)})
        images = images.images if isinstance(images, HostImages) else images
        return sha256_of_arrays(arrays | {"images": images.cpu().numpy()})


# normalised images stay well below it
_RAW = 16.0


def _pair(part: Any, name: str) -> tuple[Tensor, Tensor]:
    """Images and labels of a part of `from_tensors`, checked one by one."""
    pair = getattr(part, "tensors", part)  # of a TensorDataset
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise LacunaError(f"from_tensors: part '{name}' is a {type(part).__name__}; allowed: (images, labels)")
    x, y = (_tensor(values, f"from_tensors: part '{name}': {what}") for values, what in zip(pair, _WHAT, strict=True))
    where = f"from_tensors: part '{name}': {_WHAT[0]}"
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise LacunaError(f"{where}: type {x.dtype} is not allowed; allowed: uint8, or normalised floats")
    if x.dim() != 4 or 0 in x.shape[1:]:
        raise LacunaError(f"{where}: shape {tuple(x.shape)} is not allowed; allowed: (n, channels, height, width)")
    if x.shape[3] in (1, 3, 4) and min(x.shape[1], x.shape[2]) > 4:
        raise LacunaError(
            f"{where}: shape {tuple(x.shape)} has the channels last; allowed: (n, channels, height, width), as "
            "x.permute(0, 3, 1, 2) is"
        )
    if x.is_floating_point() and len(x):
        finite = x.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            raise LacunaError(f"{where}: image {int((~finite).int().argmax())} holds NaN or infinity; allowed: numbers")
    return x, _whole(y, f"from_tensors: part '{name}': {_WHAT[1]}").to(x.device)


_WHAT = ("images", "labels")


def _tensor(values: Any, where: str) -> Tensor:
    if isinstance(values, Tensor):
        if values.is_meta or values.layout != torch.strided:
            kind = "a tensor without values" if values.is_meta else f"a tensor of layout {values.layout}"
            raise LacunaError(f"{where}: {kind} is not allowed; allowed: a dense tensor or an array")
        return values.detach()
    try:
        array = np.asarray(values)
        # torch has no other byte order, nor negative strides
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError, RuntimeError):
        raise LacunaError(f"{where}: a {type(values).__name__} is not allowed; allowed: a tensor or an array") from None


def _whole(y: Tensor, where: str) -> Tensor:
    """Labels as int64 [n]; whole numbers of any type."""
    if y.dim() != 1:
        raise LacunaError(
            f"{where}: shape {tuple(y.shape)} is not allowed; allowed: (n,), one class number for each image "
            "(y.argmax(1) of one-hot rows, y[:, 0] of a column)"
        )
    if y.is_complex():
        raise LacunaError(f"{where}: type {y.dtype} is not allowed; allowed: whole numbers")
    whole = y.long()
    if y.is_floating_point() and bool((wrong := whole != y).any()):
        raise LacunaError(f"{where}: {float(y[wrong][0]):g} is not allowed; allowed: whole numbers from 0")
    return whole


def _check_scale(images: Mapping[str, Tensor]) -> None:
    """Refuse parts of another scale than the others, and say where floats look like pixels that nobody scaled."""
    if not next(iter(images.values())).is_floating_point():
        return
    highest = {name: float(x.max()) for name, x in images.items()}
    raw = [name for name, x in images.items() if highest[name] > _RAW and float(x.min()) >= 0]
    if raw and len(raw) < len(images):
        other = next(name for name in images if name not in raw)
        raise LacunaError(
            f"from_tensors: part '{raw[0]}' has floats up to {highest[raw[0]]:g}, '{other}' up to {highest[other]:g}; "
            "allowed: all parts of one scale"
        )
    if raw:
        warnings.warn(
            f"from_tensors: floats up to {max(highest.values()):g} are taken as they are; "
            "give uint8, which is scaled to [0, 1], or normalised floats",
            stacklevel=3,
        )


def _on_array(array: np.ndarray) -> Tensor:
    """A tensor on an array's own memory, a mapped file's too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _from_host(images: Tensor, device: torch.device, serve: Serving) -> bool:
    if serve == "auto" and device.type == "cuda":
        return images.nbytes > torch.cuda.mem_get_info(device)[0] // 2
    return serve == "host"


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device, without a wait: from pinned memory, behind what the device still computes."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def batch_sizes(samples: int, batch_size: int) -> list[int]:
    """The sizes of the batches that a pass divides its samples into: ⌈n/b⌉ of nearly equal size, the larger ones first.

    Sizes differ by at most one and none is above batch_size, so that no step is taken on a short remainder, with the
    batch statistics of a few samples. One exception: pairs of an odd number of samples, where a batch of one would be
    left, which batch norm has no variance for; it joins another (3 samples in batches of 2 are one batch of 3).
    """
    count = -(-samples // batch_size)
    if batch_size == 2 and samples > 1:
        count = samples // 2
    size, larger = divmod(samples, max(count, 1))
    return [size + 1] * larger + [size] * (count - larger)
