"""Where a scenario cannot tell methods apart."""

import pandas as pd
import pytest

from lacuna.reporting.tables.record import original_of
from unit.reporting.tables.contests import summary


@pytest.mark.parametrize(
    ("untouched", "said"),
    [
        ([95.0, 97.0, 99.0], "original has UA 97.0 and retrain 98.0: there was next to nothing to forget"),
        ([3.0, 2.0, 1.0], None),
    ],
)
def test_original_that_never_knew_the_forget_set_is_told(untouched, said):
    values = {"original": untouched, "ft": [50.0, 60.0, 70.0], "retrain": [97.0, 98.0, 99.0]}
    values |= {"retrain_b": [98.0, 98.0, 98.5]}
    notes = summary(values, oracles=["retrain"])["note"].fillna("")
    assert notes["ft"] == (said or "")
    assert notes.str.contains("nothing to forget").all() == bool(said), "said of the place, in each of its rows"
    assert pd.isna(summary(values, oracles=["retrain"], metric="RA")["note"]["ft"]), "of UA alone"


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_mia_that_tells_no_model_from_another_is_told(value):
    values = {"ft": [value] * 3, "ga": [value] * 3, "retrain": [value] * 3}
    said = f"MIA is {value:.0f} for every model here: it tells no method from another"
    assert summary(values, metric="MIA", oracles=["retrain"])["note"].str.contains(said).all()
    values["ga"] = [value, 50.0, value]
    assert not summary(values, metric="MIA", oracles=["retrain"])["note"].str.contains("every model").any()


def test_the_untouched_model_is_found_by_its_method():
    assert original_of({"unlearners": {"b": {"method": "original"}, "a": {"method": "ga"}}}) == "b"
    both = {"a": {"method": "original"}, "original": {"method": "original"}}
    assert original_of({"unlearners": both}) == "original" == original_of({"unlearners": {}})
