"""Figures are read by others too: SVG, PDF and PNG say where they belong, and whether they are as they were made."""

import struct
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lacuna.artifacts.drawings import check_pdf, check_png, check_svg
from lacuna.reporting.style import save

CHECKS = {"svg": check_svg, "pdf": check_pdf, "png": check_png}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Two figures of one experiment, in every format."""
    monkeypatch.chdir(tmp_path)
    for name in ("gap", "time"):
        figure = Figure(figsize=(1, 1))
        figure.subplots().set_title(name)
        save(figure, *(f"results/figures/tiny/{name}.{suffix}" for suffix in CHECKS))
    return Path("results/figures/tiny")


@pytest.mark.parametrize("suffix", CHECKS)
def test_every_changed_byte_of_a_figure_is_seen(drawn, suffix):
    path = drawn / f"gap.{suffix}"
    content, place = path.read_bytes(), f"figures/tiny/gap.{suffix}"
    CHECKS[suffix](path, place)
    for at in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        # a damaged file may raise whatever its reader raises: `lacuna verify` takes all of these
        with pytest.raises((ValueError, SyntaxError, OSError, struct.error)):
            CHECKS[suffix](path, place)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception, match=r".") as error:
        CHECKS[suffix](path, place)
    assert type(error.value).__name__ in ("ValueError", "ParseError", "error")


@pytest.mark.parametrize("suffix", CHECKS)
def test_a_figure_in_the_place_of_another_is_seen(drawn, suffix):
    (drawn / f"time.{suffix}").rename(drawn / f"gap.{suffix}")
    with pytest.raises(ValueError, match=rf"it is the file of figures/tiny/time\.{suffix}"):
        CHECKS[suffix](drawn / f"gap.{suffix}", f"figures/tiny/gap.{suffix}")


@pytest.mark.parametrize(
    ("suffix", "words"),
    [("svg", "it carries no checksum"), ("pdf", "it carries no checksum"), ("png", "it names no place")],
)
def test_a_figure_of_somebody_else_is_none_of_the_tree(drawn, suffix, words):
    Figure(figsize=(1, 1)).savefig(drawn / f"gap.{suffix}")
    with pytest.raises(ValueError, match=words):
        CHECKS[suffix](drawn / f"gap.{suffix}", f"figures/tiny/gap.{suffix}")
