"""Accuracies, gaps, tug of war and their intervals, against plain formulas."""

import pytest

from lacuna.evaluation import METRICS, Cell, evaluate
from lacuna.evaluation.statistics import t_interval

RUNS = range(5)


def cell(file, which, run):
    """The stored logits as a cell; the attack's score is given, not computed."""
    parts = {p: (file[f"logits/{which}/{p}"][run], file[f"y/{p}"]) for p in ("retain", "forget", "test")}
    made = Cell.of(**parts)
    made.cache["MIA"] = 100 * float(file[f"mia_efficacy/{which}"][run])
    return made


@pytest.mark.parametrize("which", ["unlearned", "retrained"])
@pytest.mark.parametrize("run", RUNS)
def test_accuracies(reference, run, which):
    file = reference("07_accuracy_tow")
    found = evaluate(cell(file, which, run), metrics=["UA", "RA", "TA"])
    assert found == {m: pytest.approx(file[f"{m}/{which}"][run], rel=1e-12) for m in ("UA", "RA", "TA")}


def test_gaps(reference):
    file = reference("07_accuracy_tow")
    gaps = []
    for run in RUNS:
        own, oracle = cell(file, "unlearned", run), cell(file, "retrained", run)
        each = [abs(METRICS[m](own) - METRICS[m](oracle)) for m in ("UA", "RA", "TA", "MIA")]
        assert each == pytest.approx(file["gaps_UA_RA_TA_MIA"][run].tolist(), rel=1e-9, abs=1e-9)
        gaps.append(evaluate(own, {"retrain": oracle}, ["avg_gap"])["avg_gap/retrain"])
    assert gaps == pytest.approx(file["avg_gap"].tolist(), rel=1e-12)
    mean, half = float(file["avg_gap/mean"]), float(file["avg_gap/ci95_halfwidth"])
    assert t_interval(gaps) == pytest.approx((mean, mean - half, mean + half), rel=1e-9)


@pytest.mark.parametrize("metric", ["ToW", "ToW_MIA"])
def test_tug_of_war(reference, metric):
    file = reference("07_accuracy_tow")
    found = [
        evaluate(cell(file, "unlearned", run), cell(file, "retrained", run), [metric])[f"{metric}/oracle"]
        for run in RUNS
    ]
    assert found == pytest.approx(file[metric].tolist(), rel=1e-12)
    mean, half = float(file[f"{metric}/mean"]), float(file[f"{metric}/ci95_halfwidth"])
    assert t_interval(found) == pytest.approx((mean, mean - half, mean + half), rel=1e-9)
