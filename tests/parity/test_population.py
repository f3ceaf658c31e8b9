"""KLOM and the ε-score against formulas and reference code."""

import numpy as np
import pytest

from lacuna.evaluation.population.distance import epsilon, epsilon_score, forget_score, klom
from lacuna.predictions import margin


def test_klom(reference):
    file = reference("07_klom")
    found = klom(file["margin_unlearned"], file["margin_oracle"])
    np.testing.assert_allclose(found, file["klom"], rtol=1e-9, atol=1e-12)
    assert found.mean() == pytest.approx(float(file["klom_mean"]), rel=1e-9)
    assert np.percentile(found, 95) == pytest.approx(float(file["klom_p95"]), rel=1e-9)


def test_klom_does_not_share_the_defect_of_the_reference(reference):
    """The reference drops the samples at the joint maximum."""
    file = reference("07_klom")
    found = klom(file["margin_unlearned"], file["margin_oracle"])
    assert np.abs(found - file["klom_reference"]).max() > 0.05
    assert abs(found.mean() - file["klom_reference_mean"]) > 1e-3
    assert abs(np.percentile(found, 95) - file["klom_reference_p95"]) > 1e-3


def test_margin_is_the_margin_and_the_logit_of_the_confidence(reference):
    file = reference("07_klom")
    found = margin(file["margin_check/logits"], file["margin_check/y"])
    np.testing.assert_allclose(found, file["margin_check/margin"], rtol=1e-9)
    file = reference("07_epsilon_score")
    found = margin(file["logit_confidence/logits"], file["logit_confidence/y"])
    np.testing.assert_allclose(found, file["logit_confidence/value"], rtol=1e-9)


@pytest.mark.parametrize("key", ["epsilon", "epsilon_reference_f32"])
def test_epsilon_of_each_sample(reference, key):
    file = reference("07_epsilon_score")
    found = epsilon(file["conf_unlearned"], file["conf_retrained"], file.hp.delta)
    np.testing.assert_allclose(found, file[key], rtol=0, atol=2e-5)


def test_score(reference):
    file = reference("07_epsilon_score")
    u, r = file["conf_unlearned"], file["conf_retrained"]
    assert forget_score(epsilon(u, r, file.hp.delta), len(u)) == pytest.approx(float(file["forget_score"]), rel=1e-9)
    retain, test = ((float(file[f"{x}_unlearned"]), float(file[f"{x}_retrained"])) for x in ("RA", "TA"))
    found = epsilon_score(u, r, retain, test, file.hp.delta)
    assert found == pytest.approx(float(file["final_score"]), rel=1e-9)
