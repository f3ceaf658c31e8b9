"""Tables to and from files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.artifacts.writing import atomic
from lacuna.errors import DamagedFile
from lacuna.reporting.columns import LABELS, REQUIRED

# what a spreadsheet takes for the beginning of a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_table(path: str | Path) -> pd.DataFrame:
    """A table of results/tables as it was written: labels are texts, an empty field is a missing value.

    "0.90" must not become 0.9, nor a label "NA" a missing value. Raises DamagedFile for what is no such table.
    """
    try:
        table = from_text(Path(path).read_bytes().decode())
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
        temporary.write_text(as_text(table), encoding="utf-8", newline="")


def from_text(text: str) -> pd.DataFrame:
    """The table of a file's content. Raises ValueError for what is none."""
    if "\0" in text:
        raise ValueError("it holds a NUL")
    return pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(LABELS, str), keep_default_na=False, na_values=[""])


def as_text(table: pd.DataFrame) -> str:
    """The content of the file that `write_table` writes."""

    def plain(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA and not _is_number(value) else value

    table = table.copy()
    for name in [name for name, column in table.items() if column.dtype.kind not in "biuf"]:
        table[name] = table[name].map(plain)
    return table.to_csv(index=False)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
