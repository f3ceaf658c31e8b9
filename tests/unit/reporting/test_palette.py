"""Colours that the colour-blind can tell apart, and looks that do not depend on who else is drawn."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from lacuna.reporting.palette import COLOURS, PATHS, Look, Palette, look_of, shades, sparsities

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB
VIEWS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
GRID = {
    "unlearners": {
        "retrain": {"method": "retrain"},
        "ft": {"method": "ft"},
        "retrain_b": {"method": "retrain"},
        "ga": {"method": "ga"},
        "untouched": {"method": "original"},
        "rl": {"method": "rl"},
    },
    "unprune": {"unprune.ft.p10.r3": {"method": "unprune"}},
    "scenarios": {
        "cat": {"method": "class", "forget_class": 1},
        "two": {"method": "class", "forget_class": ["dog", 0]},
        "random": {"method": "random", "fraction": 0.1},
    },
}
RECORD = {"grid": GRID, "judging": {"oracles": ["retrain"], "twins": {"retrain_b": "retrain"}}}


def linear(colour):
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b* of linear RGB."""
    t = np.clip(rgb, 0, 1) @ TO_XYZ.T / TO_XYZ.sum(1)
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def difference(first, second):
    """CIEDE2000 (Sharma, Wu & Dalal 2005)."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    hue, light, chroma = (h1 + turn / 2) % 360, (l1 + l2) / 2, (c1 + c2) / 2
    waves = [(-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63)]
    t = 1 + sum(share * np.cos(np.radians(times * hue + shift)) for share, times, shift in waves)
    dl = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    dc = (c2 - c1) / (1 + 0.045 * chroma)
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    fade = 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    fade *= np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    return float(np.sqrt(dl**2 + dc**2 + dh**2 - fade * dc * dh))


def seen(colour, view):
    return lab(linear(colour) @ np.array(VIEWS[view]).T)


def contrast(colour):
    return 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05)


def test_difference_is_that_of_the_paper():
    """Of Sharma's test data."""
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ]
    for first, second, expected in pairs:
        assert difference(first, second) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("view", VIEWS)
def test_colours_differ_to_every_eye(view):
    """From each other and from the black of `original`; below about 10 two thin lines are taken for one colour."""
    for a, b in itertools.combinations((*COLOURS, "#000000"), 2):
        assert difference(seen(a, view), seen(b, view)) > 14, (a, b)


def test_lines_stand_out_from_the_paper():
    """3 to 1, as WCAG 2.1 asks of what carries meaning."""
    assert min(map(contrast, COLOURS)) >= 3


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("count", [2, 3, 5])
def test_shades_darken_with_sparsity(view, count):
    colours = [seen(shade, view) for shade in shades(count)]
    assert all(a[0] - b[0] > 5 for a, b in itertools.pairwise(colours))
    assert all(difference(a, b) > 8 for a, b in itertools.pairwise(colours))


def test_forty_methods_are_told_apart_without_colour_or_without_dash():
    looks = [look_of(i) for i in range(168)]
    assert len(set(looks)) == 168
    assert len({(look.colour, look.marker) for look in looks[:42]}) == 42
    assert len({(look.marker, look.dash) for look in looks[:28]}) >= 24, "in greys"
    assert all(a.colour != b.colour and a.marker != b.marker for a, b in itertools.pairwise(looks))


def test_a_look_depends_on_the_experiment_alone():
    palette = Palette.of(RECORD)
    assert palette.methods == ("untouched", "ft", "ga", "rl", "unprune.ft.p10.r3")
    assert [palette.look(label) for label in palette.methods[1:]] == [look_of(i) for i in range(4)]
    reserved = [palette.look(label) for label in ("untouched", "retrain", "retrain_b")]
    assert len({*reserved, *(look_of(i) for i in range(168))}) == 171
    assert {look.colour for look in reserved}.isdisjoint(COLOURS)
    without = {"unlearners": {k: v for k, v in GRID["unlearners"].items() if k != "untouched"}}
    assert Palette.of(RECORD | {"grid": without}).look("ga") == palette.look("ga")


def test_the_order_is_that_of_the_file_though_json_is_sorted():
    order = {"unlearners": ["rl", "ga", "retrain", "ft", "untouched", "retrain_b"], "unprune": []}
    palette = Palette.of(RECORD | {"order": order})
    assert palette.methods == ("untouched", "rl", "ga", "ft", "unprune.ft.p10.r3")


def test_forgotten_classes_have_names_where_the_dataset_has():
    palette = Palette.of(RECORD, {"pets": ["bird", "cat", "dog"], "digits": ()})
    assert palette.forgotten == {"pets": {"cat": "cat", "two": "dog, bird"}}


def test_four_oracles_are_told_apart():
    oracles = ["retrain", "retrain_exact", "retrain_fresh", "retrain_rewind"]
    assert len({Palette((), tuple(oracles)).look(oracle) for oracle in oracles}) == 4


def test_order_is_that_of_the_grid():
    palette = Palette.of(RECORD)
    assert palette.ordered(["new", "retrain_b", "rl", "retrain", "ft", "untouched", "ft"]) == [
        "untouched",
        "ft",
        "rl",
        "retrain",
        "retrain_b",
        "new",
    ]
    assert sparsities(["0.90", "0.50", "dense", "0.95", "0.90"]) == ["dense", "0.50", "0.90", "0.95"]
    assert sparsities(["0.90", "0.00"]) == ["0.00", "0.90"]


def test_every_marker_has_an_outline():
    palette = Palette.of(RECORD)
    looks = [*(look_of(i) for i in range(7)), *(palette.look(label) for label in palette.methods), Look("#000000")]
    assert {look.marker for look in looks} == set(PATHS)


def test_a_report_needs_no_matplotlib_for_it():
    code = "import lacuna.reporting.palette, sys; print(sorted({'matplotlib', 'torch', 'pandas'} & set(sys.modules)))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "[]\n"
