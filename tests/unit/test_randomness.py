"""Random streams are named, stable and unrelated."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lacuna
from lacuna.randomness import derive, numpy_generator


def test_published_seeds_never_change():
    assert derive(0, "train", "digits", "resnet8") == 5362896880919574544
    assert numpy_generator(0, "split", "digits").bit_generator.random_raw() == 6059883131581860850


def test_seed_does_not_depend_on_the_process():
    code = "from lacuna.randomness import derive; print(derive(3, 'a', 'b'))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": salt, "PYTHONPATH": str(Path(lacuna.__file__).parents[1])},
        ).stdout.strip()
        for salt in ("1", "2")
    }
    assert answers == {str(derive(3, "a", "b"))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", "b"), ("a, b",)),
        ((1,), ("1",)),
        ((1, 23), (12, 3)),
        ((0, "train"), (0, "prune")),
        (("a",), ("a", "")),
        ((0, "a"), ("a", 0)),
    ],
)
def test_other_parts_give_another_stream(one, other):
    assert derive(*one) != derive(*other)


def test_seeds_fit_everywhere_and_do_not_collide():
    seeds = [derive(seed, "stage", step) for seed in range(100) for step in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)
    # the high half is as busy as the low half: these are spread over the whole range
    assert np.mean(np.array(seeds) >= 2**62) == pytest.approx(0.5, abs=0.02)


def test_streams_repeat_and_are_uncorrelated():
    a, b = (numpy_generator(seed, "x").standard_normal(20_000) for seed in (0, 1))
    np.testing.assert_array_equal(a, numpy_generator(0, "x").standard_normal(20_000))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_global_random_state_is_left_alone():
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    numpy_generator(1, "x").random(100)
    assert np.random.random() == expected  # noqa: NPY002
