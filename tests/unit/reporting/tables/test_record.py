"""What the record of an experiment tells the tables: who is the untouched model, and which metrics judge."""

import pytest

from lacuna.reporting.tables.record import original_of, told_of


def grid(**unlearners):
    return {"unlearners": {label: {"method": method} for label, method in unlearners.items()}}


@pytest.mark.parametrize(
    ("of", "label"),
    [
        (grid(ft="ft", untouched="original"), "untouched"),
        (grid(zero="original", again="original"), "again"),
        (grid(zero="original", again="original", original="original"), "original"),
        # a label alone makes no untouched model
        (grid(original="ft", zero="original"), "zero"),
        (grid(ft="ft"), "original"),
        ({}, "original"),
    ],
)
def test_the_untouched_model_is_known_by_its_method_and_of_several_by_its_name(of, label):
    assert original_of(of) == label


def test_costs_have_a_direction_but_do_not_judge():
    better = {"UA": "oracle", "time_s": "lower", "klom": "lower"}
    judging = {"oracles": ["retrain"], "twins": {"retrain_b": "retrain"}, "better": better, "costs": ["time_s"]}
    of = grid(ft="ft", untouched="original")
    assert told_of({"judging": judging, "grid": of}) == {
        "oracles": ["retrain"],
        "twins": {"retrain_b": "retrain"},
        "original": "untouched",
        "better": better,
        "judged": {"UA": "oracle", "klom": "lower"},
        "grid": of,
    }
