"""Data on its way into a page: texts that cannot end an element, numbers no longer than they are read."""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# what would end a script element, or a line of JavaScript, from inside a string
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
# JavaScript has no larger whole number: beyond it they are texts
_EXACT = 2**53
# significant digits: what is drawn and read; the tables of the experiment have all of them
DIGITS = 5


def escaped(text: object) -> str:
    """A text as content or attribute of HTML."""
    return html.escape(str(text), quote=True)


def plain(value: Any) -> Any:
    """A value as JSON has it: what is no finite number is null, a fraction has `DIGITS` significant digits."""
    # nearly all that a page holds; to ask whether it is a mapping takes many times longer
    if value is None or type(value) in (str, bool):
        return value
    if type(value) is float:
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):  # of a class of its own
        return plain(float(value))
    if isinstance(value, str) or (isinstance(value, int) and abs(value) <= _EXACT):
        return value
    return str(value)


def script_of(name: str, value: Any) -> str:
    """JSON in a script element that the page reads by its id."""
    return f'<script type="application/json" id="{escaped(name)}">{_json(value)}</script>'


def packed(name: str, value: Any) -> str:
    """The same, compressed: gzip in base64. Equal values give equal bytes."""
    content = base64.b64encode(gzip.compress(_json(value).encode(), 9, mtime=0)).decode()
    return f'<script type="application/gzip+json" id="{escaped(name)}">{content}</script>'


def _json(value: Any) -> str:
    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_UNSAFE)


def columnar(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows as columns, so that a key is written once, and texts that repeat not much oftener.

    `length` rows; of each key a list, or `is`, the one value of all rows, or `of`, distinct texts, with `at`, the place
    of each row's among them. A row without a key has null.
    """
    keys = dict.fromkeys(key for row in rows for key in row)
    return {"length": len(rows), "columns": {key: _column([row.get(key) for row in rows]) for key in keys}}


def _column(values: list[Any]) -> Any:
    known = plain(values)
    if all(value == known[0] and type(value) is type(known[0]) for value in known):
        return {"is": known[0]}
    texts = list(dict.fromkeys(value for value in known if isinstance(value, str)))
    if not texts or len(texts) > len(known) / 2 or not all(value is None or isinstance(value, str) for value in known):
        return known
    places = {text: i for i, text in enumerate(texts)}
    return {"of": texts, "at": [None if value is None else places[value] for value in known]}
