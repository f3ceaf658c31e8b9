"""Tables to and from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from lacuna.artifacts.writing import atomic
from lacuna.errors import DamagedFile
from lacuna.reporting.columns import LABELS, REQUIRED

_VERSION = tuple(int(part) for part in pd.__version__.split(".")[:2])
# each number as it was written, to the last digit: what pandas does by itself from 3.1 on
_EXACTLY: dict[str, Any] = {} if _VERSION >= (3, 1) else {"float_precision": "round_trip"}
# how pandas reads a table
HOW: dict[str, Any] = {"dtype": dict.fromkeys(LABELS, str), "keep_default_na": False, "na_values": [""], **_EXACTLY}
# what a spreadsheet takes for the beginning of a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_table(path: str | Path, parse: Callable[[BinaryIO], pd.DataFrame] | None = None) -> pd.DataFrame:
    """A table of results/tables as it was written: labels are texts, an empty field is a missing value.

    "0.90" must not become 0.9, nor a label "NA" a missing value. parse: makes the table of a file's content, by default
    `from_file`. Raises DamagedFile for what is no such table.
    """
    try:
        with open(path, "rb") as file:
            table = (parse or from_file)(file)
        for column in REQUIRED.get(Path(path).stem, ()):
            if column not in table:
                raise ValueError(f"it has no column '{column}'")
            if column not in LABELS and table[column].dtype.kind not in "iuf" and len(table):
                raise ValueError(f"a field of '{column}' is no number")
        return table
    except (OSError, ValueError) as error:
        raise DamagedFile(path, f"{path}: not a usable table ({' '.join(str(error).split())})") from None


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table for `read_table`, and for spreadsheets: a text that these would take for a formula gets a `'`."""

    with atomic(path) as temporary:
        quoted(table).to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def from_file(file: BinaryIO) -> pd.DataFrame:
    """The table of a file's content. Raises ValueError for what is none."""
    table: pd.DataFrame = pd.read_csv(without_nul(file), **HOW)
    return table


def without_nul(file: BinaryIO) -> BinaryIO:
    """The file, once it is looked through. Raises ValueError for one that holds a NUL."""
    while block := file.read(2**20):
        if b"\0" in block:
            raise ValueError("it holds a NUL")
    file.seek(0)
    return file


def as_text(table: pd.DataFrame) -> str:
    """The content of the file that `write_table` writes."""
    return quoted(table).to_csv(index=False, lineterminator="\n")


def quoted(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a `'` before each text that a spreadsheet would take for a formula."""

    def plain(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA and not _is_number(value) else value

    texts = [name for name, column in table.items() if column.dtype.kind not in "biuf"]
    # each text once: many rows have the same
    by_text = {name: {value: plain(value) for value in table[name].unique()} for name in texts}
    changed = {str(name): new for name, new in by_text.items() if any(value is not new[value] for value in new)}
    return table.assign(**{name: table[name].map(new) for name, new in changed.items()})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
