"""What is known of one model after the fact: its predictions, its mask, its cost, and what else a metric needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lacuna.errors import LacunaError

ORIGIN = ("dataset", "split")
PARTS = ("retain", "forget", "val", "test", "test_forgotten", "triggered")


def read_only(array: np.ndarray) -> np.ndarray:
    """A view of an array that refuses to be written; the array itself stays as it is."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Part:
    """Predictions on one set of samples.

    logits: float [n, classes]; labels: int [n] in 0..classes-1; index: int [n], the samples' place in the dataset.
    All of them, and what is computed from them, are views that cannot be written: the next metric reads them too.
    Raises LacunaError if sizes disagree, labels are no whole numbers or out of range, or a logit is not finite.
    """

    logits: np.ndarray
    labels: np.ndarray
    index: np.ndarray | None = None
    name: str = "part"

    def __post_init__(self) -> None:
        if self.logits.ndim != 2 or not len(self.logits) or self.logits.shape[1] < 2:
            raise LacunaError(
                f"{self.name}: logits of shape {self.logits.shape}; allowed: (n, classes) with n >= 1, classes >= 2"
            )
        n, classes = self.logits.shape
        if self.labels.shape != (n,):
            raise LacunaError(
                f"{self.name}: {n} rows of logits but labels of shape {self.labels.shape}; allowed: ({n},)"
            )
        if self.labels.dtype.kind not in "iu":
            raise LacunaError(f"{self.name}: labels of type {self.labels.dtype}; allowed: whole numbers")
        if self.labels.min() < 0 or self.labels.max() >= classes:
            raise LacunaError(f"{self.name}: a label is out of range; allowed: 0 to {classes - 1}")
        if not np.isfinite(self.logits).all():
            row = int((~np.isfinite(self.logits)).any(1).argmax())
            raise LacunaError(f"{self.name}: the logits of sample {row} are not finite")
        for name in ("logits", "labels", "index"):
            if (array := getattr(self, name)) is not None:
                object.__setattr__(self, name, read_only(array))

    def __repr__(self) -> str:
        return f"Part({self.name}: {len(self.logits)} samples, {self.logits.shape[1]} classes)"

    @cached_property
    def _softmax(self) -> tuple[np.ndarray, np.ndarray]:
        # one pass for both: a logarithm of p would lose what underflows
        shifted = self.logits.astype(np.float64)
        shifted -= shifted.max(1, keepdims=True)
        p = np.exp(shifted)
        total = p.sum(1, keepdims=True)
        return read_only(p / total), read_only(shifted - np.log(total))

    @property
    def probabilities(self) -> np.ndarray:
        """softmax(logits) in float64 [n, classes]."""
        return self._softmax[0]

    @property
    def log_probabilities(self) -> np.ndarray:
        """log softmax(logits) in float64 [n, classes], finite where the probability underflows."""
        return self._softmax[1]

    @cached_property
    def log_odds(self) -> np.ndarray:
        """log p_y − log Σ_{j≠y} p_j in float64 [n], from the logits."""
        z = self.logits.astype(np.float64)
        rows = np.arange(len(z))
        own = z[rows, self.labels]
        z[rows, self.labels] = -np.inf
        highest = z.max(1)
        return read_only(own - highest - np.log(np.exp(z - highest[:, None]).sum(1)))

    @property
    def accuracy(self) -> float:
        """Percent of samples whose first arg-max is the label."""
        return 100.0 * float((self.logits.argmax(1) == self.labels).mean())


class Absent(str):
    """Why a metric has no value for a cell."""


class Noted(float):
    """A metric's value with a `note`: what a reader has to know of it, nothing if there is nothing to say."""

    note: str

    def __new__(cls, value: float, note: str = "") -> Noted:
        noted = super().__new__(cls, value)
        noted.note = note
        return noted


def note_of(value: float) -> str:
    """What is said of a value."""
    return value.note if isinstance(value, Noted) else ""


@dataclass(frozen=True)
class Cell:
    """A model's predictions by part (retain, forget, test and, if there are, val, test_forgotten and triggered).

    mask: bool arrays by tensor name, if known. seconds: what the method took, if known.
    origin: SHA-256 of the dataset and of the split that was predicted on, by `dataset` and `split`, if known.
    extra: what else a metric may need, by the name that it needs it under (see docs/metrics.md): `job`, the facts of
    job.json; `meta`, those of the dataset's meta.json; `random_init`, `logits` [n, classes] of a network that learnt
    nothing, for D_f in its order or with an `index` [n] that contains it; `relearn`, the facts of relearn.json;
    `weights`, arrays by name; `curvature`, the facts of curvature.json.
    Raises LacunaError if parts have logits of different numbers of classes.

    `Cell.of` makes one of anybody's logits and labels.

    >>> from lacuna import Cell
    >>> cell = Cell.of(retain=([[2.0, 0.0], [0.0, 1.0]], [0, 1]), forget=([[0.0, 3.0]], [0]))
    >>> cell
    Cell(retain 2, forget 1)
    >>> cell["forget"].accuracy, cell["forget"].log_odds.tolist()
    (0.0, [-3.0])
    """

    parts: Mapping[str, Part]
    mask: Mapping[str, np.ndarray] | None = None
    seconds: float | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.mask is not None:
            object.__setattr__(self, "mask", {name: read_only(keep) for name, keep in self.mask.items()})
        classes = {name: part.logits.shape[1] for name, part in self.parts.items()}
        if len(set(classes.values())) > 1:
            counts = ", ".join(f"{name} {n}" for name, n in classes.items())
            raise LacunaError(f"the parts have logits of different numbers of classes ({counts}); allowed: one number")

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {len(part.logits)}" for name, part in self.parts.items())
        known = [*(["a mask"] if self.mask is not None else []), *sorted(self.extra)]
        return f"Cell({parts}{'; with ' if known else ''}{', '.join(known)})"

    @classmethod
    def of(
        cls,
        mask: Mapping[str, Any] | None = None,
        seconds: float | None = None,
        extra: Mapping[str, Any] | None = None,
        **parts: tuple[Any, Any],
    ) -> Cell:
        """From arrays, tensors or lists: Cell.of(retain=(logits, labels), forget=(logits, labels), test=(...)).

        Tensors may lie on a device, need gradients, or be bfloat16. Labels are whole numbers, of whatever type. mask: a
        `lacuna.Mask`, or arrays or tensors by name.
        Raises LacunaError for a part of another name, and as `Part`.
        """
        made = {}
        for name, part in parts.items():
            if name not in PARTS:
                raise LacunaError(f"Cell.of: '{name}' is no part of the data; allowed: {', '.join(PARTS)}")
            if not isinstance(part, tuple | list) or len(part) != 2:
                raise LacunaError(f"{name}: a {type(part).__name__} is not allowed; allowed: (logits, labels)")
            made[name] = Part(_numbers(part[0], f"{name}: logits"), _labels(part[1], name), name=name)
        if mask is not None:
            bits = mask.bits() if hasattr(mask, "bits") else mask
            mask = {name: _numbers(keep, f"mask: {name}").astype(bool) for name, keep in bits.items()}
        return cls(made, mask, seconds, extra=extra or {})

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        mask: Mapping[str, np.ndarray] | None,
        seconds: float | None,
        extra: Mapping[str, Any] | None = None,
    ) -> Cell:
        """From a stored predictions file: `logits/<part>`, `labels/<part>` and `index/<part>` for each part, and the
        `origin/dataset` and `origin/split` that they are of."""
        parts = {
            name: Part(arrays[f"logits/{name}"], arrays[f"labels/{name}"], arrays[f"index/{name}"], name)
            for name in PARTS
            if f"logits/{name}" in arrays
        }
        origin = {key: str(arrays[f"origin/{key}"]) for key in ORIGIN if f"origin/{key}" in arrays}
        return cls(parts, mask, seconds, origin, extra or {})

    def __getitem__(self, part: str) -> Part:
        if part not in self.parts:
            raise LacunaError(f"the predictions have no part '{part}'; they have: {', '.join(self.parts)}")
        return self.parts[part]

    def only(self, layer: str) -> Cell:
        """The cell reduced to one tensor of its mask: no predictions, and its weights if they are known."""
        known = {"weights": {layer: self.extra["weights"][layer]}} if "weights" in self.extra else {}
        return Cell({}, None if self.mask is None else {layer: self.mask[layer]}, extra=known)

    def check_comparable(self, oracle: Cell, label: str) -> None:
        """Raise LacunaError unless the oracle predicts the same samples of the same dataset."""
        for key, own in self.origin.items():
            if oracle.origin.get(key, own) != own:
                raise LacunaError(
                    f"oracle '{label}' predicts on another {key} ({oracle.origin[key][:12]} instead of {own[:12]}); "
                    f"allowed: predictions on the same {key}"
                )
        for name, part in self.parts.items():
            other = oracle[name]
            same = np.array_equal(part.labels, other.labels) and (
                part.index is None or other.index is None or np.array_equal(part.index, other.index)
            )
            if not same:
                raise LacunaError(f"oracle '{label}' predicts different samples in '{name}'; allowed: the same split")
            if other.logits.shape != part.logits.shape:
                raise LacunaError(
                    f"oracle '{label}' has {other.logits.shape[1]} classes in '{name}'; "
                    f"allowed: {part.logits.shape[1]}, as the cell"
                )


def _numbers(values: Any, where: str) -> np.ndarray:
    """A NumPy array of what an array library holds. Raises LacunaError unless it is of real numbers."""
    if hasattr(values, "detach"):  # a tensor of torch, which is not imported here
        values = values.detach().cpu()
        try:
            values = values.numpy()
        except TypeError:  # NumPy has no bfloat16
            values = values.float().numpy()
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal lengths
        raise LacunaError(f"{where}: no array can be made of them; allowed: numbers in rows of one length") from None
    if array.dtype.kind not in "biuf":
        raise LacunaError(f"{where}: type {array.dtype} is not allowed; allowed: numbers")
    return array.astype(np.int64) if array.dtype == bool else array


def _labels(values: Any, name: str) -> np.ndarray:
    """Labels as whole numbers, of whatever type they come; anything else goes on to be refused by `Part`."""
    labels = _numbers(values, f"{name}: labels")
    if np.issubdtype(labels.dtype, np.floating):
        whole = np.isfinite(labels) & (labels == np.rint(labels))
        if not whole.all():
            wrong = float(labels[~whole].flat[0])
            raise LacunaError(f"{name}: label {wrong:g} is not allowed; allowed: whole numbers from 0 to classes - 1")
        labels = labels.astype(np.int64)
    return labels
