"""Data in a page: nothing in it ends an element, and it is what it was."""

import base64
import gzip
import json
import re
from typing import Any

import numpy as np
import pytest

from lacuna.reporting.report.payload import columnar, escaped, packed, plain, script_of

HOSTILE = "</script><!-- <b>\"'&\u2028\u2029 \\section{50 %}$_^~#"


def test_a_text_in_json_cannot_end_its_element() -> None:
    found = re.fullmatch(r'<script type="application/json" id="x">(.*)</script>', script_of("x", {HOSTILE: HOSTILE}))
    assert found is not None and not re.search("[<>&\u2028\u2029]", found[1])
    assert json.loads(found[1]) == {HOSTILE: HOSTILE}


def test_a_text_in_html_cannot_end_an_element_or_attribute() -> None:
    assert not re.search("[<>\"']", escaped(HOSTILE))


def test_packed_data_come_back_and_are_the_same_bytes_each_time() -> None:
    value = {"a": [1, 2.5, None, HOSTILE]}
    text = packed("x", value)
    assert text == packed("x", value)
    content = re.search(">([A-Za-z0-9+/=]+)<", text)
    assert content is not None and json.loads(gzip.decompress(base64.b64decode(content[1]))) == value


def test_numbers_are_finite_and_short() -> None:
    values = {"a": np.float64(1 / 3), "b": np.int64(7), "c": float("nan"), "d": np.inf, "e": (np.bool_(True), "x")}
    # JavaScript would change it silently
    assert plain({"stream": 8054542584302773123, "most": 2**53}) == {"stream": "8054542584302773123", "most": 2**53}
    assert plain(values) == {"a": 0.33333, "b": 7, "c": None, "d": None, "e": [True, "x"]}


def rows_of(packed_rows: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page's script makes of columns."""

    def value(column: Any, i: int) -> Any:
        if isinstance(column, list):
            return column[i]
        return column["is"] if "is" in column else None if column["at"][i] is None else column["of"][column["at"][i]]

    columns = packed_rows["columns"]
    return [{key: value(column, i) for key, column in columns.items()} for i in range(packed_rows["length"])]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"m": "ft", "v": 1.0}],
        [{"m": name, "v": float(i), "one": 1, "none": None} for i, name in enumerate(["ft", "ga", "ft", "ft", "ga"])],
        [{"m": None if i % 2 else "ft", "mixed": i if i % 2 else "x"} for i in range(6)],
        [{"true": True, "n": 1}, {"true": 1, "n": 1}],
    ],
)
def test_columns_hold_the_rows(rows: list[dict[str, Any]]) -> None:
    back = rows_of(columnar(rows))
    assert back == rows and [[type(v) for v in row.values()] for row in back] == [
        [type(v) for v in row.values()] for row in rows
    ]
