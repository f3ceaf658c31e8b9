"""Limits of jobs grow with what a job does and with each attempt, and hold what real jobs took."""

import pytest

from lacuna.experiment.limits import A_DAY, memory_mb, minutes, time_limit

SMALL = {"parameters": 80_000, "multiplications_per_pixel": 1e3}
LARGE = {"parameters": 25_000_000, "multiplications_per_pixel": 5e5}
HOW = {"images_mb": 150.0, "epochs": 30, "gpu": False}


@pytest.mark.parametrize("models", [1, 4, 8])
def test_shadow_models_take_their_turns(models):
    """A job trains its models one after the other: as many times the time of one, and no more memory at once."""
    assert minutes(LARGE, **HOW, models=models) == pytest.approx(models * minutes(LARGE, **HOW))
    assert time_limit(minutes(SMALL, **HOW, models=models)) == pytest.approx(models * minutes(SMALL, **HOW), abs=0.5)


@pytest.mark.parametrize("more", [{"images_mb": 300.0}, {"epochs": 60}])
def test_more_work_is_given_more_time(more):
    start = minutes(LARGE, **HOW | {"epochs": 0})
    assert minutes(LARGE, **HOW | more) - start == pytest.approx(2 * (minutes(LARGE, **HOW) - start))
    assert minutes(LARGE, **HOW) > minutes(SMALL, **HOW) > start
    assert minutes(LARGE, **HOW | {"gpu": True}) < minutes(LARGE, **HOW)


def test_memory_holds_libraries_images_and_an_optimizer_s_states():
    for network in (SMALL, LARGE):
        weights = 4e-6 * network["parameters"]
        for gpu in (False, True):
            # weights, gradient, two moments, a checkpoint of them, and as much again
            assert memory_mb(network, 1000.0, gpu) >= 1500 + 2 * 1000 + 8 * weights
    assert memory_mb(SMALL, 100.0, True) > memory_mb(SMALL, 100.0, False), "CUDA's libraries are large"


def test_each_attempt_may_take_longer_but_no_limit_is_more_than_a_day():
    assert [time_limit(20.2, attempt) for attempt in (1, 2, 3)] == [20, 40, 61]
    assert time_limit(A_DAY * 0.4, 2) < A_DAY and time_limit(A_DAY * 0.4, 3) == A_DAY == time_limit(1e9)
