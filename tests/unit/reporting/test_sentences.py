"""Sentences of an answer: every count in them is one of rows, and what is not counted is not told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from lacuna.reporting import sentences
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.verdicts import NOT_SHOWN, TELLS_NOTHING, VOID


def judged(**more: Any) -> Any:
    """What sentences ask of the tables."""
    known = {"original": "original", "methods": ["ft", "ga"], "doubts": {}, "oracles": ("retrain",)}
    known |= {"decimals": lambda oracle: 2, "measure": lambda oracle: f"avg_gap/{oracle}"}
    known |= {"place": lambda row: f"{row['scenario']}/{row['sparsity']}"}
    return SimpleNamespace(**(known | more))


def rows(*values: tuple[Any, ...], columns: tuple[str, ...]) -> pd.DataFrame:
    """Rows at places of their own."""
    place = dict.fromkeys(PLACE, "x")
    return pd.DataFrame(
        [{**place, "scenario": f"s{i}", **dict(zip(columns, each, strict=True))} for i, each in enumerate(values)]
    )


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([("ga", "no room")], "1 cell is missing; a method without"),
        ([("ga", "no room"), ("ft", "no room")], "2 cells are missing; a method without"),
        ([("ga", "x diverged"), ("ga", "diverged")], "2 cells are missing because ga diverged; a method"),
        (
            [("ga", "diverged"), ("ft", "diverged"), ("rl", "no room")],
            "3 cells are missing, 2 of them because ga and ft diverged; a method",
        ),
    ],
)
def test_missing_cells_are_counted_and_those_that_diverged_apart(cells: list[tuple[str, str]], told: str) -> None:
    missing = pd.DataFrame(cells, columns=["unlearner", "reason"])
    (said,) = sentences._missing(judged(missing=missing))
    assert said.startswith(told)
    assert list(sentences._missing(judged(missing=missing.iloc[:0]))) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([-1.0], "the gap is smaller on the sparse model in 1 comparison with the dense one (change of −1.00 points)"),
        (
            [-1.0, -3.0],
            "is smaller on the sparse model in all 2 comparisons with the dense one (changes of −3.00 to −1",
        ),
        ([2.0, -1.0, 4.0], "is smaller on the sparse model in 1 of 3 comparisons with the dense one, larger in 2 ("),
        ([0.0, 2.0], "is larger on the sparse model in 1 of 2 comparisons with the dense one, the same in 1 ("),
    ],
)
def test_untested_changes_are_counted_by_their_sign(changes: list[float], told: str) -> None:
    of = rows(*((change, 0.5) for change in changes), columns=("change", "p"))
    said = sentences._untested(judged(), of, "the gap", "retrain")
    assert told in said and "adjusted p" not in said
    below = sentences._untested(judged(), of.assign(p=[0.01, *of["p"][1:]]), "the gap", "retrain")
    assert "; in 1 of them the adjusted p is below 0.05" in below


def test_what_a_test_could_have_shown_is_of_the_changes_that_are_not_shown() -> None:
    of = rows(
        *(("ft", NOT_SHOWN, 1.0), ("ft", NOT_SHOWN, 2.0), ("ga", NOT_SHOWN, 9.0)),
        *(("ga", "closer", 0.1), ("original", NOT_SHOWN, 0.2)),
        columns=("unlearner", "verdict", "least"),
    )
    said = sentences._power(judged(changed=lambda oracle: of), "retrain")
    assert said.endswith("had to be at least 1.00 to 9.00 points, in the median 2.00")
    one = sentences._power(judged(changed=lambda oracle: of.iloc[2:]), "retrain")
    assert one.endswith("had to be at least 9.00 points")
    assert sentences._power(judged(changed=lambda oracle: of.iloc[3:]), "retrain") == ""


def test_the_untouched_model_is_told_with_its_own_changes() -> None:
    of = rows(
        *(("original", "closer", -5.0), ("original", NOT_SHOWN, 2.0), ("ft", "closer", -9.0)),
        columns=("unlearner", "verdict", "change"),
    )
    said = sentences._untouched(judged(changed=lambda oracle: of), "retrain")
    assert said == "; original, which forgets nothing, ends closer too at s0/x"
    said = sentences._untouched(judged(changed=lambda oracle: of.iloc[1:]), "retrain")
    assert said == "; original, which forgets nothing, changes by +2.00 points"
    assert sentences._untouched(judged(changed=lambda oracle: of.iloc[2:]), "retrain") == ""


def test_methods_that_returned_the_model_are_told_with_their_places() -> None:
    """A place counts once, however many metrics its rows have; the untouched model is meant to."""
    of = rows(*(("ga", 2), ("ga", 0), ("ft", 0), ("original", 3)), columns=("unlearner", "unchanged"))
    (said,) = sentences._still(judged(summary=pd.concat([of, of])))
    assert said == "the model was returned unchanged by ga at 1 of 2 places"
    assert list(sentences._still(judged(summary=of.assign(unchanged=0)))) == []


def test_places_of_doubt_are_counted_by_what_is_doubted() -> None:
    doubts = {
        "a": [f"original has UA 50.0 and retrain 51.0: {VOID}"],
        "b": [f"MIA is 0 for every model here: {TELLS_NOTHING}"],
        "c": [f"MIA is 100 for every model here: {TELLS_NOTHING}"],
        "d": ["D_f has 3 samples"],
        "e": ["D_f has 4 samples"],
        "f": ["D_f has 5 samples"],
    }
    summary = rows(*((i,) for i in range(7)), columns=("seed",))
    void, other, flat = sentences._void(judged(doubts=doubts, summary=summary))
    assert (
        void.startswith("at 1 of 7 places original has about the UA of an oracle or more")
        and "(original has UA" in void
    )
    assert other.startswith("3 of 7 places can hardly tell methods apart: d (D_f has 3 samples); e (") and (
        other.endswith(" and 1 more")
    )
    assert flat.startswith("MIA is 0 or 100 for every model at b and c,")


def test_rows_beyond_those_that_are_listed_are_counted() -> None:
    of = rows(*((i,) for i in range(sentences.LISTED + 2)), columns=("n",))
    said = sentences._listed_rows(of, lambda row: str(row["n"]))
    assert said == "; ".join([*map(str, range(sentences.LISTED)), "and 2 more"])
    assert sentences._listed_rows(of.head(sentences.LISTED), lambda row: "x").count("x") == sentences.LISTED
    assert "more" not in sentences._listed_rows(of.head(sentences.LISTED), lambda row: "x")


def test_rows_of_the_average_gap_are_counted_once_per_state_and_method() -> None:
    note = "its MIA hangs on the draw of members"
    of = rows(
        *(("ft", "avg_gap/retrain", "method", note), ("ft", "MIA", "method", note)),
        *(("ga", "avg_gap/retrain", "method", None), ("retrain", "avg_gap/retrain", "oracle", note)),
        columns=("unlearner", "metric", "role", "note"),
    )
    twice = pd.concat([of, of.replace({"avg_gap/retrain": "avg_gap/retrain_exact"})])
    (said,) = sentences.draw_of_members(twice)
    assert said.startswith("in 1 of 2 rows the average gap hangs on which members the attack drew: ")
    assert list(sentences.draw_of_members(of.iloc[1:3])) == []
