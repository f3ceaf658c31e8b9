"""Tables for a paper: what is bold, what is marked, and which published number stands behind which of ours."""

import csv
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lacuna.errors import LacunaError
from lacuna.reporting.answer import answer_of
from lacuna.reporting.columns import PLACE
from lacuna.reporting.paper import (
    _ARROWS,
    _Layout,
    _rules,
    _seeds,
    answer_in_markdown,
    blocks_of,
    paper_tables,
    reading_of,
)
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.typeset import Value, latex, plain
from unit.reporting.fabricated import near_retraining, results, retold, tables, with_gaps

LABELS = ("original", "retrain", "retrain_b", "good", "as_good", "bad")


def good_and_bad(scenario, state, label, noise):
    values = np.array(near_retraining(scenario, state, label, noise))
    return tuple(values - (40 if label == "bad" else 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = with_gaps(results(good_and_bad, LABELS, seeds=6), ["retrain"])
    return tables(tmp_path_factory.mktemp("t") / "paper", found)


def bold(table):
    column = table.block.heads.index("avg_gap/retrain")
    return {(row[0], row[1]) for row in table.block.rows if row[column].bold}


def test_bold_are_the_best_and_those_that_no_test_tells_from_them(folder):
    for table in paper_tables(folder):
        assert bold(table) == {(s, m) for s in ("dense", "omp-0.90") for m in ("good", "as_good")}
        assert "the smallest mean distance per seed from retrain. Bold too: those that no" in table.caption
        assert all(not field.bold for row in table.block.rows for field in row[2:] if row[1] in ("original", "retrain"))


@pytest.mark.parametrize(
    ("seeds", "labels"),
    [
        (2, LABELS),
        (6, ("original", "retrain", "retrain_b", "good", "as_good")),
        (6, ("original", "retrain", "retrain_b", "good")),
    ],
)
def test_nothing_is_bold_where_the_seeds_tell_no_method_from_the_best(tmp_path, seeds, labels):
    found = with_gaps(results(good_and_bad, labels, seeds, scenarios=("class",), states=("dense",)), ["retrain"])
    (table,) = paper_tables(tables(tmp_path / "x", found), ["avg_gap"])
    assert bold(table) == set() and "Bold" not in table.caption
    assert ("No mean is bold" in table.caption) == (seeds >= 3)
    assert ("interval" in table.caption.replace("no interval", "")) == (seeds >= 3)


def test_without_cells_nothing_is_bold_and_nothing_is_said_of_it(folder, tmp_path):
    found = with_gaps(results(good_and_bad, LABELS, 6, scenarios=("class",), states=("dense",)), ["retrain"])
    bare = tables(tmp_path / "bare", found)
    (bare / "cells.csv").unlink()
    (table,) = paper_tables(bare)
    assert bold(table) == set() and "bold" not in table.caption.lower()


def test_daggers_and_arrows_are_those_of_the_table(folder):
    summary = read_table(folder / "summary.csv").set_index(["scenario", "pruner", "unlearner", "metric"])
    marked = 0
    for table in paper_tables(folder):
        scenario = re.search(r"forgetting (\w+)", table.caption)[1]
        for row in table.block.rows:
            for head, field in zip(table.block.heads[2:], row[2:], strict=True):
                its = summary.loc[(scenario, row[0].partition("-")[0], row[1], head)]
                assert field.value == its["mean"]
                method = its["role"] == "method"
                assert field.below == bool(method and its["gap_retrain_distance"] < its["gap_retrain_floor"])
                if head == "avg_gap/retrain" and method:
                    assert field.verdict == its["gap_retrain_verdict"]
                marked += field.below + (field.verdict == "farther")
        assert ("†:" in table.caption) == any(f.below for row in table.block.rows for f in row[2:])
    assert marked


def test_metrics_are_columns_in_the_given_order_and_avg_gap_is_one_for_each_oracle(folder):
    (table, _) = paper_tables(folder, ["MIA", "avg_gap", "UA"])
    assert table.block.heads == ("state", "method", "MIA", "avg_gap/retrain", "UA")
    (table, _) = paper_tables(folder)
    assert table.block.heads == ("state", "method", "UA", "RA", "TA", "MIA", "avg_gap/retrain")
    with pytest.raises(
        LacunaError, match=r"--metrics: no 'UAA' in the tables of paper \(did you mean 'UA'\?\); allowed"
    ):
        paper_tables(folder, ["UAA"])


def test_different_numbers_of_seeds_are_a_column(tmp_path):
    found = results(scenarios=("class",), states=("dense",), lacking=lambda c: c["unlearner"] == "ga" and c["seed"] < 2)
    folder = tables(tmp_path / "x", with_gaps(found, ["retrain"]))
    (table,) = paper_tables(folder)
    assert table.block.heads[-1] == "seeds" and "over 2 to 4 seeds" in table.caption
    assert {row[1]: row[-1] for row in table.block.rows} == {"original": "4", "retrain": "4", "ft": "4", "ga": "2"}
    (block,) = blocks_of(answer_of(folder))
    assert block.heads[-1] == "seeds" and "seeds" not in block.title


def test_every_table_has_a_label_of_its_own(folder):
    labels = [table.label for table in paper_tables(folder)]
    assert labels == ["tab:paper-digits-net-short-class", "tab:paper-digits-net-short-random"]


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "theirs.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["scenario", "sparsity", "method", "metric", "mean", "std", "n", "unit", "source", "pruner"])
        writer.writerow(
            ["class forget_class=3", "0.90", "good", "UA", "58.1", "0.5", "10", "%", "A & B_1, Table 3", "omp"]
        )
        writer.writerow(["class forget_class=3", "0.90", "bad", "UA", "12.5", "", "", "%", "A & B_1, Table 3", "omp"])
    return path


def test_published_numbers_stand_behind_ours(folder, published):
    of_class, of_random = paper_tables(folder, ["UA", "RA"], published)
    assert of_class.block.heads == ("state", "method", "UA", "UA, published", "RA")
    theirs = {(row[0], row[1]): row[3] for row in of_class.block.rows}
    assert str(theirs["omp-0.90", "good"]) == "58.10 ± 0.50" and str(theirs["omp-0.90", "bad"]) == "12.50"
    assert all(math.isnan(value.value) for key, value in theirs.items() if key[0] == "dense")
    assert "Published: mean ± deviation as printed in A & B_1, Table 3." in of_class.caption
    assert r"A \& B\_1, Table 3" in latex(of_class.block, of_class.caption, of_class.label)
    assert of_random.block.heads == ("state", "method", "UA", "RA")
    assert "No published number is of this table." in of_random.caption


def test_the_main_table_fits_eighty_columns_and_explains_its_marks(folder):
    answer = answer_of(folder)
    blocks = blocks_of(answer)
    assert len(blocks) == 2
    fields = [f for block in blocks for row in block.rows for f in row if isinstance(f, Value)]
    for block in blocks:
        assert all(len(line) <= 80 for line in plain(block, 80).splitlines())
        assert block.title.endswith("6 seeds")
    legend = "\n".join(reading_of(answer))
    for mark, there in (
        ("Δ", True),
        ("†", any(f.below for f in fields)),
        ("↑", any(f.verdict == "farther" for f in fields)),
    ):
        assert (mark in legend) == there


def test_the_page_of_an_answer_holds_all_of_it(folder):
    answer = answer_of(folder)
    page = answer_in_markdown(answer)
    assert page.startswith("# paper\n\n**Does sparsity help as\\_good, bad and good to forget ")
    assert page.count("| state | method |") == 2
    assert page.count("\n* ") == len(answer.sentences) + len(reading_of(answer, wide=True)) + len(answer.notes)
    assert "| gap to retrain | Δ gap to retrain |" in page and "retrain: gap to that oracle" not in page


@pytest.mark.parametrize(("metric", "better"), [("klom", "lower"), ("MIA_auc", "oracle"), ("time_s", "cost")])
def test_tables_of_one_metric_that_is_none_of_the_usual(tmp_path, metric, better):
    found = results(scenarios=("class",))
    for i, each in enumerate(found):
        each["metrics"] = {metric: 0.001 * (i % 7)}
    folder = tables(tmp_path / "x", found)
    direction, costs = ("lower", [metric]) if better == "cost" else (better, [])
    retold(folder, {"better": {metric: direction}, "costs": costs})
    made = paper_tables(folder)
    assert [table.block.heads for table in made] == ([] if better == "cost" else [("state", "method", metric)])
    page = answer_in_markdown(answer_of(folder))
    assert "nan" not in page and "4 seeds" in page
    if better != "cost":
        assert re.search(r"\| 0\.00[1-6]\d* ", page), "small numbers have figures"


def test_a_setting_without_the_metrics_has_no_table(tmp_path):
    found = with_gaps(results(), ["retrain"])
    for each in found:
        if each["cell"]["scenario"] == "random":
            each["metrics"] = {"klom": 1.0}
    (table,) = paper_tables(tables(tmp_path / "x", found), ["UA"])
    assert "forgetting class" in table.caption


def test_no_bold_where_methods_are_left_out(folder):
    assert all(bold(table) for table in paper_tables(folder, only={"scenario": ["class"]}))
    for table in paper_tables(folder, only={"method": ["bad", "as_good"]}):
        assert not bold(table) and "bold" not in table.caption.lower()


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_daggers_begin_with_three_seeds(tmp_path, seeds):
    found = results(scenarios=("class",), states=("dense",), seeds=seeds)
    for each in found:
        if each["cell"]["unlearner"] == "ft":  # the oracle itself
            each["metrics"] = next(o["metrics"] for o in found if o["cell"] == each["cell"] | {"unlearner": "retrain"})
    folder = tables(tmp_path / "x", with_gaps(found, ["retrain"]))
    answer = answer_of(folder)
    assert ("†" in answer_in_markdown(answer)) == (seeds >= 3)
    assert ("†" in str(paper_tables(folder)[0].block) or "†" in paper_tables(folder)[0].caption) == (seeds >= 3)


@pytest.mark.parametrize("verdict", ["farther", "closer"])
def test_the_words_of_an_arrow_are_those_of_its_verdict(verdict):
    assert re.search(rf"{Value(1.0, verdict=verdict).marks}: {verdict}\b", _ARROWS)


def layout(best=None):
    return _Layout(SimpleNamespace(oracles=("a", "b")), None, [], best, None)


def row(metric, role="method", **more):
    place = dict.fromkeys(PLACE, "x")
    near = {"gap_a_distance": 1.0, "gap_a_floor": 9.0, "gap_a_verdict": "closer"}
    far = {"gap_b_distance": 5.0, "gap_b_floor": 1.0, "gap_b_verdict": "farther"}
    told = {"metric": metric, "mean": 5.0, "ci_low": 4.0, "ci_high": 8.0, "n": 3, "role": role, "unlearner": "ft"}
    return {**place, **told, **near, **far, **more}


@pytest.mark.parametrize(
    ("metric", "marks"), [("avg_gap/a", "†↓"), ("avg_gap/b", "↑"), ("UA", "†"), ("avg_gap/other", "†")]
)
def test_a_column_is_read_against_its_own_oracle_or_the_first(metric, marks):
    """And has a verdict of its own oracle alone."""
    value = layout()._ours(row(metric), 2)
    assert value.marks == marks and value.number == "5.00 ± 2.00"


def test_bold_and_daggers_are_of_methods_with_seeds_enough():
    best = {(*("x" for _ in PLACE), "UA", "a"): frozenset({"ft"})}
    bold = {role: layout(best)._ours(row("UA", role), 2).bold for role in ("method", "oracle")}
    assert bold == {"method": True, "oracle": False}
    assert not layout(best)._ours(row("RA"), 2).bold and not layout()._ours(row("UA"), 2).bold
    assert layout()._ours(row("UA", "oracle"), 2).marks == "" == layout()._ours(row("UA", n=2), 2).marks
    assert layout()._ours(row("UA", gap_a_floor=math.nan), 2).marks == ""


def test_lines_between_states_and_words_of_seeds():
    states = pd.DataFrame(
        {"pruner": [*("dense", "dense", "omp", "snip")], "sparsity": [*("0.00", "0.00", "0.90", "0.90")]}
    )
    assert _rules(states) == {2, 3}
    assert [_seeds(of) for of in ([1, 1], [3, 3.0], [2, 3])] == ["1 seed", "3 seeds", "2 to 3 seeds"]
