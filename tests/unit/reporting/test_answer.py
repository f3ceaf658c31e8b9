"""The answer of an experiment: sentences say what the tables carry, and no more."""

import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from places import ROOT

from lacuna.errors import LacunaError
from lacuna.reporting.answer import answer_of
from lacuna.reporting.paper import paper_tables
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.words import number
from unit.reporting import fabricated
from unit.reporting.fabricated import near_retraining, results, retold, tables, with_gaps

REAL = ROOT / "docs/results/three_seeds"
VERDICTS = ("closer", "farther", "not shown")


def sparse_is_near(scenario, state, label, noise):
    """ft is 20 points off on the dense model, and near on the sparse ones; ga the other way round."""
    values = np.array(near_retraining(scenario, state, label, noise))
    if (label, state == "dense") in {("ft", True), ("ga", False)}:
        values[0] -= 20
    return tuple(values)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tables of every kind."""
    base = tmp_path_factory.mktemp("tables")
    labels = ("original", "retrain", "ft", "ga")
    many = ("original", "retrain", "retrain_b", *(f"method_{i}" for i in range(37)))
    gone = [{"dataset": "digits", "unlearner": "ga", "scenario": "class", "reason": "x; its log ends: ga: diverged"}]
    made = {
        "usual": results(),
        "mixed": results(sparse_is_near),
        "one_seed": results(seeds=1),
        "two_seeds": results(seeds=2),
        "no_twin": results(labels=labels),
        "no_twin_one_seed": results(labels=labels, seeds=1),
        "no_oracle": results(labels=("original", "ft", "ga")),
        "one_sparsity": results(states=("omp-0.90",)),
        "dense": results(states=("dense",)),
        "two_datasets": results(datasets=("digits", "photos"), scenarios=("class",)),
        "many": results(labels=many, scenarios=("class",), seeds=3),
        "lacking": results(lacking=lambda cell: cell["unlearner"] == "ga" and cell["seed"] < 2),
        "no_methods": results(labels=("retrain", "retrain_b")),
        "oracle_lacks": results(lacking=lambda cell: cell["unlearner"] == "retrain" and cell["scenario"] == "class"),
    }
    for name, found in made.items():
        twins = {"retrain_b": "retrain"} if any(r["cell"]["unlearner"] == "retrain_b" for r in found) else {}
        oracles = [] if name == "no_oracle" else ["retrain"]
        tables(base / name, with_gaps(found, oracles), twins, oracles, gone if name == "lacking" else [])
    # avg_gap is not among the metrics
    tables(base / "no_gap", results())
    return base


KINDS = (
    *("usual", "mixed", "one_seed", "two_seeds", "no_twin", "no_twin_one_seed", "no_oracle", "one_sparsity", "dense"),
    *("two_datasets", "many", "lacking", "no_methods", "oracle_lacks", "no_gap"),
)


def text_of(answer):
    return " ".join(answer.sentences)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_every_kind_have_an_answer(folders, kind):
    answer = answer_of(folders / kind)
    assert answer.name == kind
    assert answer.question.endswith("?")
    assert 2 <= len(answer.sentences) <= 5
    for sentence in (*answer.sentences, *answer.notes):
        assert "nan" not in sentence and "None" not in sentence and "  " not in sentence and "unknown" not in sentence
        assert sentence.strip()
    assert all(sentence.endswith(".") and not sentence.endswith("..") for sentence in answer.sentences)
    assert not answer.rows.duplicated(list(answer.rows.columns[:7])).any()
    assert set(answer.rows["role"]) <= {"method", "oracle"}, "twins are the floor, not rows"


def rows_of_methods(folder, table):
    rows = read_table(folder / f"{table}.csv")
    rows = rows[~rows["unlearner"].isin(["original", "retrain", "retrain_b"])]
    return rows[rows["metric"] == "avg_gap/retrain"]


def told_counts(sentence):
    """How many have each verdict, at its first mention: one that nothing has goes without saying."""
    bare = re.sub(r" \([^()]*\)", "", sentence)
    if match := re.search(r"of (\d+) \w+.*? none is shown(?:.*?(\d+) (?:is|are) not tested)?", bare, re.IGNORECASE):
        return {v: int(match[1]) - int(match[2] or 0) if v == "not shown" else 0 for v in VERDICTS}
    found = {v: re.search(rf"{v} in (\d+)|(\d+) (?:is |are )?{v}", bare) for v in VERDICTS}
    return {v: int(match[1] or match[2]) if match else 0 for v, match in found.items()}


@pytest.mark.parametrize("kind", ["usual", "mixed", "two_datasets", "many", "lacking", "oracle_lacks"])
def test_the_counts_of_verdicts_are_those_of_the_tables(folders, kind):
    sentences = answer_of(folders / kind).sentences
    for start, table, column in (
        (("Shown", "Not shown", "Mixed", "The reverse"), "sparsity", "verdict"),
        ("Of ", "summary", "gap_retrain_verdict"),
    ):
        (sentence,) = (s for s in sentences if s.startswith(start))
        known = rows_of_methods(folders / kind, table)[column]
        assert told_counts(sentence) == {v: int((known == v).sum()) for v in VERDICTS}
        untested = re.search(r"(\d+) (?:is|are) not tested", sentence)
        if table == "sparsity":
            assert int(untested[1] if untested else 0) == known.isna().sum()


def test_what_is_shown_is_named_with_its_numbers(folders):
    answer = answer_of(folders / "mixed")
    (sentence,) = (s for s in answer.sentences if s.startswith("Mixed"))
    changes = read_table(folders / "mixed/sparsity.csv")
    changes = changes[(changes["metric"] == "avg_gap/retrain") & changes["verdict"].isin(["closer", "farther"])]
    assert len(changes) == 4, "ft closer and ga farther, in two scenarios"
    for row in changes.to_dict("records"):
        item = f"{row['unlearner']} at {row['scenario']}/omp-{row['sparsity']}: "
        item += f"{'+' if row['change'] > 0 else ''}{number(row['change'])} points "
        assert item in sentence.replace("95 % interval ", "")
        ends = (
            f"{number(row['change_low'])}, {number(row['change_high'])}], chance alone {number(row['floor_of_mean'])}"
        )
        assert ends in sentence


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_is_called_more_than_its_table_says(folders, kind):
    """A method named behind "closer" or "farther" has that verdict; without verdicts the words do not occur."""
    folder, answer = folders / kind, answer_of(folders / kind)
    known = {v: set() for v in VERDICTS}
    for table, column in (("sparsity", "verdict"), ("summary", "gap_retrain_verdict")):
        rows = read_table(folder / f"{table}.csv")
        for row in rows.to_dict("records") if column in rows else ():
            if isinstance(row[column], str) and (row["metric"] == "avg_gap/retrain" or kind == "no_gap"):
                known[row[column]].add(row["unlearner"])
    for sentence in answer.sentences:
        for verdict, items in re.findall(
            r"(closer|farther)(?: from \S+ than its second run)?(?: in \d+)? \(([^()]*)\)", sentence
        ):
            named = re.findall(r"(?:^|; )([\w.]+) at ", items)
            assert named and set(named) <= known[verdict]
    if not any(known.values()):
        assert "closer" not in text_of(answer) and "farther" not in text_of(answer)


@pytest.mark.parametrize("kind", ["one_seed", "two_seeds", "no_twin_one_seed"])
def test_with_few_seeds_the_lack_of_intervals_is_told_once_and_there_are_none(folders, kind):
    answer = answer_of(folders / kind)
    text = " ".join((answer.question, *answer.sentences, *answer.notes))
    assert text.count("interval") == 1 and text.count("no interval, no test, no verdict") == 1
    assert "[" not in text and "95 %" not in text
    assert answer.rows.filter(regex="_half$|_verdict$").isna().all(axis=None)


@pytest.mark.parametrize(
    ("kind", "lack"),
    [
        ("no_twin", "No second retrain: no noise floor and no verdict"),
        ("no_twin_one_seed", "; no second retrain, so how far one run"),
    ],
)
def test_a_lacking_twin_is_told_once(folders, kind, lack):
    answer = answer_of(folders / kind)
    assert text_of(answer).count("no second retrain") + text_of(answer).count("No second retrain") == 1
    assert lack in text_of(answer)
    assert "floor " not in text_of(answer).replace("noise floor", "")


def test_numbers_of_the_main_table_are_fields_of_the_tables(folders):
    answer, summary = answer_of(folders / "mixed"), read_table(folders / "mixed/summary.csv")
    changes = read_table(folders / "mixed/sparsity.csv")
    keys = ["scenario", "pruner", "sparsity", "unlearner"]
    for row in answer.rows.to_dict("records"):
        own = summary[(summary[keys] == pd.Series(row)[keys]).all(axis=1)].set_index("metric")
        for metric in ("UA", "RA", "TA", "MIA"):
            assert row[metric] == own.loc[metric, "mean"]
        gap = own.loc["avg_gap/retrain"]
        same(row["gap_retrain"], gap["mean"])
        same(row["gap_retrain_half"], gap["ci_high"] - gap["mean"])
        same(row["gap_retrain_floor"], gap["gap_retrain_floor"])
        assert row["seeds"] == gap["n"]
        its = changes[(changes[keys] == pd.Series(row)[keys]).all(axis=1) & (changes["metric"] == "avg_gap/retrain")]
        same(row["change_retrain"], its["change"].iloc[0] if len(its) else math.nan)
        same(row["change_retrain_half"], its["change_high"].iloc[0] - its["change"].iloc[0] if len(its) else math.nan)


def test_seeds_are_those_of_the_number_that_has_fewest(tmp_path):
    """An oracle that lacks two seeds leaves two of four for the gap."""
    found = results(scenarios=("class",), lacking=lambda cell: cell["unlearner"] == "retrain" and cell["seed"] < 2)
    rows = answer_of(tables(tmp_path / "x", with_gaps(found, ["retrain"]))).rows
    assert set(rows["seeds"]) == {2}


def same(a, b):
    assert (pd.isna(a) and pd.isna(b)) or a == pytest.approx(b)


@pytest.mark.parametrize("kind", ["mixed", "many", "two_datasets"])
def test_the_order_of_rows_in_the_files_changes_nothing(folders, kind, tmp_path):
    folder = shutil.copytree(folders / kind, tmp_path / kind)
    before = answer_of(folder)
    for name in ("summary", "sparsity", "cells"):
        table = pd.read_csv(folder / f"{name}.csv", dtype=str)
        table.sample(frac=1, random_state=7).to_csv(folder / f"{name}.csv", index=False)
    after = answer_of(folder)
    assert (after.question, after.sentences, after.notes) == (before.question, before.sentences, before.notes)
    pd.testing.assert_frame_equal(after.rows, before.rows)


def test_missing_and_diverged_cells_are_told(folders, tmp_path):
    assert "1 cell is missing because ga diverged" in text_of(answer_of(folders / "lacking"))
    place = {"dataset": "digits", "scenario": "class"}
    gone = [place | {"unlearner": "ga", "reason": "diverged"}, place | {"unlearner": "ft", "reason": "not tried"}]
    told = text_of(answer_of(tables(tmp_path / "two", with_gaps(results(), ["retrain"]), missing=gone)))
    assert "2 cells are missing, 1 of them because ga diverged; a method" in told
    answer = answer_of(folders / "usual")
    assert "missing" not in text_of(answer).replace("No cell is missing", "")


def test_a_scenario_that_tells_nothing_is_called_so(tmp_path):
    def void(scenario, state, label, noise):
        return 1.0 + noise.normal(0, 0.1), 99.0 + noise.normal(0, 0.1), 98.0 + noise.normal(0, 0.1), 0.0

    text = text_of(answer_of(tables(tmp_path / "void", with_gaps(results(void), ["retrain"]))))
    assert "t 4 of 4 places original has about the UA of an oracle or more, so UA shows no forgetting there: " in text
    assert "there: class/dense (original has UA 1.0 and retrain 1.0); class/omp-0.90 (" in text
    assert "can hardly tell methods apart" not in text, "the gaps of the other metrics may well"
    assert "MIA is 0 for every model at 4 places, where it tells no method from another" in text
    assert "original, which forgets nothing, is not shown to differ from retrain in any metric either" in text
    assert "The smallest mean" not in text, "no place is worth it"
    assert "from the dense to a sparse model (4 of them at places of doubt), none is shown;" in text


def test_few_samples_and_chance_accuracy_of_the_original_are_told(tmp_path):
    found = with_gaps(results(scenarios=("class",), states=("dense",)), ["retrain"])
    for each in found:
        if each["cell"]["unlearner"] in ("original", "ga"):
            each["notes"] = {"UA": "D_f has 4 samples: one is 25 points"}
            each["notes"] |= {"MIA": "draws disagree"}
            each["notes"] |= {"TA": "no better than always naming one class (10 %)"}
    text = text_of(answer_of(tables(tmp_path / "few", found)))
    assert "1 of 1 place can hardly tell methods apart: dense (original: " in text
    assert "draws disagree" not in text, "a note that is not about the experiment"
    assert "ga:" not in text, "an accuracy that a method ruined is its own"


def test_gaps_that_hang_on_the_draw_of_members_are_told(tmp_path):
    """Rows of methods: of the oracle itself the gap is 0 whatever the draw."""
    found = with_gaps(results(), ["retrain"])
    for each in found:
        if each["cell"]["unlearner"] in ("ga", "retrain") and each["cell"]["scenario"] == "class":
            each["notes"] = {
                "avg_gap/retrain": "the oracle's MIA hangs on the draw of members",
                "MIA": "draws disagree",
            }
    folder = tables(tmp_path / "drawn", found)
    answer, told = (
        answer_of(folder),
        "n 2 of 12 rows the average gap hangs on which members the attack drew: read UA, RA",
    )
    assert told in text_of(answer) and "No cell is missing" not in text_of(answer)
    assert 2 <= len(answer.sentences) <= 5
    by_class, at_random = paper_tables(folder)
    told_there = (
        "In 2 of 6 rows the average gap hangs on which members the attack drew: read UA, RA and TA on their own."
    )
    assert told_there in by_class.caption and "hangs" not in at_random.caption
    assert all("hangs" not in table.caption for table in paper_tables(folder, ["UA"])), "no such row is shown"


def test_a_floor_is_set_off_from_the_setting_alone(folders, tmp_path):
    found = with_gaps(results(scenarios=("class",), states=("dense",), seeds=2), ["retrain"])
    for folder in (tables(tmp_path / "one", found), folders / "two_seeds"):
        (nearest,) = (said for said in answer_of(folder).sentences if said.startswith("The smallest mean"))
        assert "floor" in nearest and ", (" not in nearest
        assert len(re.findall(r"floor [\d.]+, for ", nearest)) == nearest.count(" for ")


def test_methods_that_did_nothing_are_told(tmp_path):
    found = with_gaps(results(), ["retrain"])
    for each in found:
        each["unchanged"] = each["cell"]["unlearner"] == "ga" and each["cell"]["scenario"] == "class"
    assert "the model was returned unchanged by ga at 2 of 4 places" in text_of(
        answer_of(tables(tmp_path / "still", found))
    ).replace("The model", "the model")


def test_filters_leave_out_rows_and_keep_oracles_and_the_original(folders):
    whole, part = answer_of(folders / "mixed"), answer_of(folders / "mixed", {"method": ["ft"], "scenario": ["class"]})
    assert set(part.rows["unlearner"]) == {"original", "retrain", "ft"} and set(part.rows["scenario"]) == {"class"}
    assert "Shown: of 1 change in the average gap to retrain" in text_of(part)
    assert "ga" not in part.question
    kept = whole.rows[whole.rows["unlearner"].isin(["original", "retrain", "ft"]) & (whole.rows["scenario"] == "class")]
    pd.testing.assert_frame_equal(part.rows, kept.reset_index(drop=True)[list(part.rows)], check_dtype=False)


def test_wrong_labels_and_folders_are_one_sentence(folders, tmp_path):
    with pytest.raises(LacunaError, match=r"--method: no 'fft' in .*usual \(did you mean 'ft'\?\); allowed: original"):
        answer_of(folders / "usual", {"method": ["fft"]})
    with pytest.raises(LacunaError, match=r"--scenario: no 'clas' in .*\(did you mean 'class'\?\)"):
        answer_of(folders / "usual", {"scenario": ["clas"]})
    with pytest.raises(LacunaError, match=r"no summary.csv there; allowed: a folder of results/tables"):
        answer_of(tmp_path)


def test_a_summary_of_an_earlier_version_is_refused(tmp_path):
    with pytest.raises(LacunaError, match=r"its summary\.csv is of an earlier version"):
        answer_of(ROOT / "docs/results/cifar10_small")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "class", "forget_class": [3, 5]}, "classes 3 and 5 of digits"),
        ({"method": "class", "forget_class": [3]}, "class 3 of digits"),
        ({"method": "subclass", "super_class": 1, "fine_class": 4}, "fine class 4 of class 1 of digits"),
        ({"method": "random", "fraction": 0.125}, "a random 12.5 % of digits"),
        ({"method": "memorised", "fraction": 0.05}, "the most memorised 5 % of digits"),
        ({"method": "hardest", "fraction": 0.05, "pick": "lowest"}, "the 5 % of lowest loss of digits"),
        ({"method": "backdoor"}, "the poisoned samples of digits"),
        ({"method": "indices", "path": "x.npy"}, "the samples of 'class' of digits"),
    ],
)
def test_the_question_says_what_is_forgotten(tmp_path, monkeypatch, options, words):
    monkeypatch.setitem(fabricated.OPTIONS, "class", options)
    folder = tables(tmp_path / "x", with_gaps(results(scenarios=("class",), seeds=1), ["retrain"]))
    assert answer_of(folder).question == f"Does sparsity help ft and ga to forget {words}?"


def test_real_tables_that_are_committed_have_an_answer():
    answer = answer_of(REAL)
    assert (answer.name, answer.oracles) == ("three_seeds", ("retrain", "retrain_exact"))
    assert 3 <= len(answer.sentences) <= 5
    assert len(answer.rows) == 2 * 3 * 7


def only(names):
    """Values of some metrics alone, each cell's by a function of its label and noise."""
    found = results(scenarios=("class",), seeds=4)
    for each in found:
        cell = each["cell"]
        noise = np.random.default_rng([*map(ord, f"{cell['pruner']}{cell['unlearner']}"), cell["seed"]])
        each["metrics"] = {name: value(cell["unlearner"], noise) for name, value in names.items()}
    return found


def test_the_original_is_called_no_different_only_where_no_metric_tells_it_apart(tmp_path):
    """Its UA is far off by itself; its average gap is that of the oracle's second run, which is noisy in RA."""

    def values(scenario, state, label, noise):
        second = noise.normal(0, 60) if label == "retrain_b" else noise.normal(0, 0.1)
        return 10.0 + noise.normal(0, 0.1) - 3 * (label == "original"), 60.0 + second, 90.0, 50.0

    folder = tables(tmp_path / "x", with_gaps(results(values, scenarios=("class",), states=("dense",)), ["retrain"]))
    text = text_of(answer_of(folder))
    assert "any metric either" not in text
    assert "is not shown to be farther from retrain than its second run in the average gap" in text
    assert "though it differs in UA" in text


def test_the_size_of_a_change_is_told_as_that_of_the_first_test(folders):
    (sentence,) = (s for s in answer_of(folders / "usual").sentences if s.startswith("Not shown"))
    assert "; for the first of its two tests (80 % power) a change had to be at least " in sentence
    assert "to be shown" not in sentence


def test_a_place_of_doubt_is_not_crowned(tmp_path):
    """In class the original has the oracle's UA and every method is at 0 gap; random is honest."""

    def values(scenario, state, label, noise):
        return (1.0, 99.0, 98.0, 50.0) if scenario == "class" else near_retraining(scenario, state, label, noise)

    text = text_of(answer_of(tables(tmp_path / "x", with_gaps(results(values, seeds=2), ["retrain"]))))
    crowned = re.search(r"The smallest mean average gap to retrain without the places of doubt is (.*?)\.(?: |$)", text)
    assert "random" in crowned[1] and "class" not in text[crowned.start() : crowned.end()]
    assert "that is a mean, not the result of a test" in text and "no test compares" not in text


def test_what_is_shown_says_over_which_tests_chance_is_kept_down(folders):
    (mixed,) = (s for s in answer_of(folders / "mixed").sentences if s.startswith("Mixed"))
    assert "the sparse model is closer in 2 (ft at " in mixed and ", farther in 2 (" in mixed.replace(" and f", ", f")
    assert "; tests are adjusted within each place, not over the 2 places" in mixed
    assert "adjusted" not in answer_of(folders / "usual").sentences[0]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_counted_of_which_none_is_there(folders, kind):
    assert not re.search(
        r"(?<![\d.])0 (?:is |are )?(?:closer|farther|not|of)|in 0\b", text_of(answer_of(folders / kind))
    )


def test_costs_and_metrics_without_a_direction_are_no_distance(tmp_path):
    names = {"samples": lambda label, noise: 100.0, "AIN": lambda label, noise: noise.normal(1, 0.1)}
    folder = retold(
        tables(tmp_path / "x", only(names)), {"better": {"samples": "lower", "AIN": "none"}, "costs": ["samples"]}
    )
    answer = answer_of(folder)
    assert answer.sentences[0].startswith("No metric of the tables has a distance from an oracle: nothing says")
    assert set(answer.rows["seeds"]) == {4}
    assert answer.rows["gap_retrain"].isna().all()
    # a folder without a record: by what the metrics say of themselves
    (folder / "experiment.json").unlink()
    assert answer_of(folder).rows["gap_retrain"].isna().all()


def test_a_plain_number_has_no_unit_and_small_ones_have_figures(tmp_path):
    names = {"MIA_auc": lambda label, noise: 0.5 + noise.normal(0, 0.002)}
    folder = retold(tables(tmp_path / "x", only(names)), {"better": {"MIA_auc": "oracle"}})
    text = " ".join((*answer_of(folder).sentences, *answer_of(folder).notes))
    assert not re.search(r"\d 1(?!\d)[ );,.\[]| in 1\b", text)
    assert re.search(r"distance in MIA_auc from retrain is 0\.00\d\d", text)


def test_rows_stand_in_the_order_of_the_experiments_file(tmp_path):
    folder = tables(tmp_path / "x", with_gaps(results(), ["retrain"]))
    order = {"unlearners": ["ga", "original", "ft", "retrain", "retrain_b"], "scenarios": ["random", "class"]}
    retold(folder, order=order)
    rows = answer_of(folder).rows
    assert [*dict.fromkeys(rows["unlearner"])] == ["original", "retrain", "ga", "ft"]
    assert [*dict.fromkeys(rows["scenario"])] == ["random", "class"]


def test_rows_without_a_shown_metric_have_the_seeds_of_the_others(tmp_path):
    found = with_gaps(results(scenarios=("class",)), ["retrain"])
    for each in found:
        if each["cell"]["unlearner"] == "ga":
            each["metrics"] = {"klom": 1.0}
    seeds = answer_of(tables(tmp_path / "x", found)).rows["seeds"]
    assert seeds.dtype.kind == "i" and set(seeds) == {4}


def test_two_seeds_are_runs(folders):
    assert "the numbers describe these runs alone" in text_of(answer_of(folders / "two_seeds"))
    assert "the numbers describe this run alone" in text_of(answer_of(folders / "one_seed"))


@pytest.mark.parametrize("kind", ["usual", "mixed", "two_datasets"])
def test_no_distance_has_an_interval_below_nought(folders, kind):
    for sentence in answer_of(folders / kind).sentences:
        if sentence.startswith(("The smallest", "Of ")):
            assert "[−" not in sentence and "interval −" not in sentence


def test_the_average_gap_is_defined(folders):
    assert "average gap: the mean of the distances in UA, RA, TA and MIA" in answer_of(folders / "usual").notes
    assert not any(note.startswith("average gap: the") for note in answer_of(folders / "no_gap").notes)


def test_doubts_are_looked_up_once(folders, monkeypatch):
    """Of many places the notes are read once, not once for each sentence."""
    calls = []
    monkeypatch.setattr("lacuna.reporting.judged.doubts_in", lambda note: calls.append(note) or [])
    answer_of(folders / "lacking")
    noted = read_table(folders / "lacking/summary.csv").query("role != 'twin'")["note"].notna().sum()
    assert 0 < len(calls) == noted


def test_a_summary_without_any_gap_has_an_answer(tmp_path):
    folder = tables(tmp_path / "x", results(scenarios=("class",)))
    summary = pd.read_csv(folder / "summary.csv", dtype=str)
    summary[[c for c in summary if not c.startswith("gap_")]].to_csv(folder / "summary.csv", index=False)
    assert answer_of(folder).sentences[0].startswith("No metric of the tables has a distance from an oracle")
