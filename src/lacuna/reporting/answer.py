"""The answer of an experiment: its question, sentences that its tables carry, and the main table.

Nothing is tested or averaged here: every number is a field of summary.csv or sparsity.csv, every verdict one of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lacuna.reporting.columns import GROUP
from lacuna.reporting.judged import MEANS, Judged
from lacuna.reporting.sentences import notes_of, question_of, sentences_of

# behind "gap_<oracle>" and "change_<oracle>" in the main table
OF_GAP = ("", "_half", "_floor", "_verdict")
OF_CHANGE = ("", "_half", "_floor", "_least", "_verdict")


@dataclass(frozen=True)
class Answer:
    """What an experiment asks and shows.

    question: one sentence. sentences: three to five, computed from the tables. rows: the main table, `main_table`.
    notes: how to read the table, and what must be known of it. oracles: in the order of the columns.
    """

    name: str
    question: str
    sentences: tuple[str, ...]
    rows: pd.DataFrame
    notes: tuple[str, ...]
    oracles: tuple[str, ...]


def answer_of(folder: str | Path, only: Mapping[str, Collection[str]] | None = None) -> Answer:
    """The answer that the tables of a folder results/tables/<name> carry.

    only: labels by filter (method, scenario); other rows are left out, oracles stay. p values and verdicts remain those
    of the whole experiment. Raises LacunaError for a folder without summary.csv, tables that cannot be read, and labels
    that they do not have.
    """
    judged = Judged.read(folder, only or {})
    return Answer(
        judged.name,
        question_of(judged),
        tuple(sentences_of(judged)),
        main_table(judged),
        tuple(notes_of(judged)),
        judged.oracles,
    )


def main_table(judged: Judged) -> pd.DataFrame:
    """One row for each place and label but twins, in the order of summary.csv.

    dataset … unlearner, role, seeds (of the shown number that has fewest), the means of `MEANS` that exist; for each
    oracle `gap_<oracle>` (`Judged.measure`), its `_half` interval, `_floor` and `_verdict`, and `change_<oracle>`, by
    which the gap is larger on the sparse model than on the dense, with `_half`, `_floor`, `_least` (the smallest that
    the first of its two tests shows) and `_verdict`; `unchanged`, the most seeds on which the method returned the
    model.
    """
    summary, keys = judged.summary, list(GROUP)
    table = summary.drop_duplicates(keys)[[*keys, "role"]].set_index(keys)
    shown = [m for m in (*MEANS, *map(judged.measure, judged.oracles)) if m in set(summary["metric"])]
    # a row with none of them has the seeds of its other metrics
    table["seeds"] = summary[summary["metric"].isin(shown)].groupby(keys)["n"].min()
    table["seeds"] = table["seeds"].fillna(summary.groupby(keys)["n"].max()).astype(int)
    for metric in MEANS:
        if metric in shown:
            table[metric] = summary[summary["metric"] == metric].set_index(keys)["mean"]
    for oracle in judged.oracles:
        levels, changes = judged.levels(oracle).set_index(keys), judged.changed(oracle).set_index(keys)
        for end in OF_GAP:
            table[f"gap_{oracle}{end}"] = levels[end.removeprefix("_") or "gap"]
        names = {"": "change", "_floor": "floor_of_mean"}
        for end in OF_CHANGE:
            column = names.get(end, end.removeprefix("_"))
            table[f"change_{oracle}{end}"] = changes[column] if column in changes else float("nan")
    still = summary["unchanged"] if "unchanged" in summary else pd.Series(0, index=summary.index)
    table["unchanged"] = summary.assign(unchanged=still).groupby(keys)["unchanged"].max()
    return table.reset_index()
