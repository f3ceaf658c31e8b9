"""A comparison with a published table as tables for people."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lacuna.reporting.published.compare import ONLY_OURS, ONLY_PUBLISHED, PLACE
from lacuna.reporting.typeset import Block, Field, Value, decimals_for
from lacuna.reporting.words import joined, records

_HEADS = ("method", "metric", "ours", "published", "difference", "noise explains it")


def compared_blocks(table: pd.DataFrame) -> Iterator[tuple[Block, str]]:
    """A block and its caption for each place of `compare` that both sides have.

    ours ± half its 95 % interval, the published mean ± its deviation, their difference ± half its 95 % interval.
    """
    both = table[~table["explained"].isin([ONLY_OURS, ONLY_PUBLISHED])]
    both = both.assign(differs=both["differs"].astype(object).fillna(""))
    for key, rows in both.groupby(PLACE, sort=False):
        *where, differs = map(str, key)
        yield _block(" / ".join(where), rows), " ".join(_captioned(rows, differs))


def _block(title: str, rows: pd.DataFrame) -> Block:
    told: list[tuple[Field, ...]] = []
    for row in records(rows):
        decimals = decimals_for([row["ours"], row["published"]])
        ours = Value(row["ours"], (row["ours_high"] - row["ours_low"]) / 2, decimals)
        theirs = Value(row["published"], row["published_std"], decimals)
        difference: Field = Value(
            row["difference"], (row["difference_high"] - row["difference_low"]) / 2, decimals, signed=True
        )
        if row["metric"] == "time_s":
            difference = f"{row['speedup']:.1f}× / {row['published_speedup']:.1f}×"
        metric = row["metric"] if row["unit"] in ("%", "points") else f"{row['metric']} [{row['unit']}]"
        told.append((row["unlearner"], metric, ours, theirs, difference, row["explained"]))
    return Block(title, _HEADS, tuple(told), 2)


def _captioned(rows: pd.DataFrame, differs: str) -> Iterator[str]:
    seeds = sorted({int(n) for n in rows["ours_n"]})
    yield f"Ours: mean ± half the 95 % interval over {joined(seeds, 'or')} seed{'s' if seeds != [1] else ''}."
    yield f"Published: mean ± deviation, {joined(dict.fromkeys(rows['source']))}."
    yield "Difference: ours − published ± half its 95 % interval; of times, the speed-ups over retraining."
    if differs:
        yield f"The published setting is another one, so nothing is judged: {differs}."
