"""Numbers and lists as sentences have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

# how many names a sentence lists one by one
LISTED = 4


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, each by column."""
    return rows.to_dict("records")  # type: ignore[return-value]


def joined(words: Iterable[Any], last: str = "and") -> str:
    """a, b and c."""
    *most, end = [str(word) for word in words] or [""]
    return f"{', '.join(most)} {last} {end}" if most else end


def capital(text: str) -> str:
    """With a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]


def some(words: Iterable[Any], noun: str, listed: int = LISTED) -> str:
    """The words joined, or how many there are."""
    words = [*words]
    return joined(words) if len(words) <= listed else f"{len(words)} {noun}"


def number(value: float, decimals: int = 2) -> str:
    """With these decimals; of two, one from 10 on."""
    if pd.isna(value):
        return "unknown"
    return f"{value:.{1 if decimals == 2 and abs(value) >= 10 else decimals}f}".replace("-", "−")


def signed(value: float, decimals: int = 2) -> str:
    """As `number`, with its sign; 0 has none."""
    text = number(value, decimals)
    return text if text.startswith("−") or text == "unknown" or not value else f"+{text}"


def between(low: float, high: float, decimals: int = 2) -> str:
    """An interval, [low, high]; nothing where an end is missing."""
    return "" if pd.isna(low) or pd.isna(high) else f"[{number(low, decimals)}, {number(high, decimals)}]"
