"""Directions and weights of gradient surgery on pairs of vectors, against closed forms computed without lacuna."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lacuna.fields import build
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.surgery import clip

HERE = Path(__file__).parent
DTYPES = {"f64": torch.float64, "f32": torch.float32}
# closed forms; in float32 relative to the largest entry, what cancellation of nearly opposite gradients leaves
TOLERANCE = {"f64": 1e-12, "f32": 2e-5}


def arrays(name):
    with np.load(HERE / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


EUPMU, MUNBA = arrays("06_eupmu"), arrays("06_munba")
CASES = range(len(EUPMU["names"]))


def case(file, i):
    return f"{i} {file['names'][i]}"


def gradients(file, i, dtype):
    return torch.from_numpy(file["g_f"][i]).to(dtype), torch.from_numpy(file["g_r"][i]).to(dtype)


def assert_close(found, expected, precision):
    expected = np.asarray(expected)
    scale = np.abs(expected).max() if precision == "f32" else np.abs(expected)
    np.testing.assert_array_less(np.abs(found.double().numpy() - expected), TOLERANCE[precision] * scale + 1e-12)


def direction(name, file, i, dtype, **options):
    g_f, g_r = gradients(file, i, dtype)
    nothing = torch.zeros((), dtype=dtype)
    return build(UNLEARNERS[name], options).combine(g_f, g_r, nothing, nothing, None)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("e", range(4), ids=lambda e: f"epsilon {EUPMU['eps'][e]}")
@pytest.mark.parametrize("i", CASES, ids=lambda i: case(EUPMU, i))
def test_unilateral_surgery(i, e, precision):
    dtype, epsilon = DTYPES[precision], float(EUPMU["eps"][e])
    g_f, g_r = gradients(EUPMU, i, dtype)
    multiplier = build(UNLEARNERS["ungrad"], {"epsilon": epsilon}).multiplier(g_f, g_r)
    d = direction("ungrad", EUPMU, i, dtype, epsilon=epsilon)
    if precision == "f64" or EUPMU["lambda"][i, e] > 1e-3:
        # in float32 a multiplier near 0 is a difference of nearly equal numbers
        assert_close(multiplier, EUPMU["lambda"][i, e], precision)
    assert_close(d, EUPMU["d"][i, e], precision)
    np.testing.assert_allclose(
        float(g_r @ d), EUPMU["inner_gr_d"][i, e], rtol=0, atol=1e-5 if precision == "f32" else 1e-12
    )


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("i", CASES, ids=lambda i: case(MUNBA, i))
def test_nash_bargaining(i, precision):
    dtype = DTYPES[precision]
    a_f, a_r = build(UNLEARNERS["munba"], {}).bargain(*gradients(MUNBA, i, dtype))
    assert_close(torch.stack([a_r, a_f]), MUNBA["alpha"][i], precision)
    d = direction("munba", MUNBA, i, dtype)
    assert_close(d, MUNBA["combined"][i], precision)
    clip([d], 1.0)
    assert_close(d, MUNBA["combined_clipped_norm1"][i], precision)


def test_nash_bargaining_succeeds_where_the_common_code_falls_back():
    lost = np.flatnonzero(~MUNBA["reference_bargaining_succeeded"])
    assert {str(MUNBA["names"][i]) for i in lost} == {
        "parallel",
        "exactly orthogonal",
        "small norms (about 0.05)",
        "tiny norms (about 0.005)",
    }
    for i in lost:
        np.testing.assert_allclose(MUNBA["reference_alpha_used"][i], [1.0, 0.1], rtol=1e-6)
        assert float(direction("munba", MUNBA, i, torch.float32).norm()) == pytest.approx(np.sqrt(2), rel=1e-5)


def test_fallback_is_that_of_the_common_code():
    """Opposite gradients have no bargain; the direction is the one that the code takes where its own form fails."""
    g_r = torch.from_numpy(MUNBA["g_r"][0])
    munba = build(UNLEARNERS["munba"], {})
    for g_f in (-g_r, -0.25 * g_r, 0 * g_r):
        a_f, a_r = munba.bargain(g_f, g_r)
        np.testing.assert_allclose([float(a_r), float(a_f)], MUNBA["reference_alpha_used"][7], rtol=1e-6)
    # and clipped as there
    i = 7
    g_f, g_r = gradients(MUNBA, i, torch.float64)
    a_r, a_f = MUNBA["reference_alpha_used"][i]
    d = a_r * g_r + a_f * g_f
    clip([d], 1.0)
    np.testing.assert_allclose(d.numpy(), MUNBA["reference_direction_after_clip"][i], rtol=1e-5, atol=1e-9)
