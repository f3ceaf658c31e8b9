"""The SVC membership attack against the reference code."""

import numpy as np
import pytest

from lacuna.evaluation import svm
from lacuna.evaluation.metrics import membership

FEATURES = {
    "correctness": membership.correctness,
    "confidence": membership.confidence,
    "entropy": membership.entropy,
    "m_entropy": membership.modified_entropy,
    "prob": membership.probabilities,
}
SETS = ("members", "nonmembers", "forget")
TARGETS = ("target_members", "target_nonmembers")


def features(file, feature):
    return {s: FEATURES[feature](file[f"prob/{s}"], file[f"y/{s}"]) for s in (*SETS, *TARGETS)}


@pytest.mark.parametrize("subset", SETS)
@pytest.mark.parametrize("feature", [f for f in FEATURES if f != "prob"])
def test_feature_of_each_sample(reference, feature, subset):
    file = reference("05_svc_mia")
    found = features(file, feature)[subset]
    assert found.shape == (len(file[f"y/{subset}"]), 1)
    np.testing.assert_allclose(found[:, 0], file[f"feature/{feature}/{subset}"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("feature", FEATURES)
def test_scores_are_the_reference_fractions(reference, feature, plain):
    """The share of D_f called non-member, and (TPR + TNR)/2 on samples that the attack did not learn from."""
    file = reference("05_svc_mia")
    of = features(file, feature)
    decision = svm.fit(of["members"], of["nonmembers"], plain=plain)
    assert (decision(of["forget"]) < 0).mean() == pytest.approx(float(file[f"efficacy/{feature}"]), abs=1e-12)
    privacy = membership.balanced_accuracy(*(decision(of[target]) for target in TARGETS))
    assert privacy / 100 == pytest.approx(float(file[f"privacy/{feature}"]), abs=1e-12)


@pytest.mark.parametrize("subset", SETS)
def test_modified_entropy_does_not_share_the_defect_of_the_reference(reference, subset):
    file = reference("05_svc_mia")
    found = features(file, "m_entropy")[subset][:, 0]
    assert np.abs(found - file[f"feature/m_entropy_reference/{subset}"]).max() > 0.1
    assert file["efficacy/m_entropy"] != file["efficacy_reference/m_entropy"]
