"""Tables for people: they fit a terminal, and no text in them is read as a command."""

import math
import re

import pytest

from lacuna.reporting.typeset import Block, Value, decimals_for, latex, latex_text, markdown, markdown_text, plain

NASTY = r"""a_b & 50 % of $x$ #1 {c} ~ ^ \input{/etc/passwd} <b>"q"</b> | `code` [link](x) * under_score"""
BLOCK = Block(
    "digits, class",
    ("state", "method", "retrain", "UA"),
    (
        ("dense", "ft", Value(0.17, 0.4, below=True), Value(99.5)),
        ("dense", "ga", Value(28.318, 36.251, verdict="farther"), Value(-0.001, bold=True)),
        ("omp-0.90", NASTY, Value(math.nan), Value(12.0, 0.5, bold=True, verdict="closer", below=True)),
    ),
    2,
    frozenset({2}),
)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Value(1.005, 0.5), "1.00 ± 0.50"),
        (Value(-1.5), "−1.50"),
        (Value(-0.001), "0.00"),
        (Value(-0.001, signed=True), "0.00"),
        (Value(0.001, signed=True), "0.00"),
        (Value(1.5, signed=True), "+1.50"),
        (Value(math.nan, 1.0, below=True, verdict="farther"), ""),
        (Value(2.0, below=True, verdict="closer"), "2.00†↓"),
        (Value(2.0, verdict="not shown"), "2.00"),
        (Value(2.0, verdict=math.nan), "2.00"),
        (Value(1234.4, 1.0, decimals=0), "1234 ± 1"),
    ],
)
def test_a_number_is_told_with_its_interval_and_marks(value, told):
    assert str(value) == told


@pytest.mark.parametrize(
    ("values", "decimals"),
    [([99.5, 3.0], 2), ([0.5], 2), ([0.02, 0.001], 3), ([0.0004], 5), ([1e-12], 6), ([5000.0], 0), ([0.0], 2), ([], 2)],
)
def test_decimals_suit_the_largest_number_of_a_column(values, decimals):
    assert decimals_for([*values, math.nan]) == decimals


def test_plain_text_lines_up_and_parts_repeat_their_keys():
    block = Block("t", ("state", "method", *(f"metric_{i}" for i in range(9))), ((*("dense", "ft"), *["1.00"] * 9),), 2)
    text = plain(block, 60)
    lines = text.splitlines()
    assert all(len(line) <= 60 for line in lines)
    heads = [line.split() for line in lines if "state" in line]
    assert len(heads) == 3 and all(head[:2] == ["state", "method"] for head in heads)
    assert [name for head in heads for name in head[2:]] == [f"metric_{i}" for i in range(9)], "each once, in order"
    assert plain(block, 1000).count("state") == 1
    # a column that is wider than the terminal alone is there all the same
    assert plain(block, 5).count("metric_") == 9


def test_plain_columns_start_under_their_heads():
    lines = plain(BLOCK, 500).splitlines()
    starts = [lines[1].index(head) for head in BLOCK.heads]
    assert lines[0] == "digits, class" and lines[4] == ""
    for line, row in zip([lines[2], lines[3], lines[5]], BLOCK.rows, strict=True):
        for start, field in zip(starts, row, strict=True):
            assert line[start:].startswith(str(field))


def test_markdown_has_as_many_columns_in_every_row_whatever_the_labels():
    lines = [line for line in markdown(BLOCK).splitlines() if line.startswith("|")]
    columns = [re.sub(r"\\.", "", line).count("|") for line in lines]
    assert columns == [5] * 5
    assert "**12.00 ± 0.50**†↓" in lines[-1] and lines[1] == "| --- | --- | ---: | ---: |"


def test_markdown_texts_are_texts():
    told = markdown_text(NASTY)
    assert "<" not in told and ">" not in told and "&lt;b&gt;" in told
    for sign in "*_`[]|{}$~":
        assert not re.search(rf"(?<!\\){re.escape(sign)}", told), sign
    assert [markdown_text(f"{sign} x") for sign in "#+-"] == [f"\\{sign} x" for sign in "#+-"]
    assert markdown_text("(+1.0 points)") == "(+1.0 points)"


def bare(text: str) -> str:
    """LaTeX without the commands that lacuna writes."""
    ours = "textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|char34|dots"
    text = re.sub(rf"\\({ours})\{{\}}", "", text)
    return re.sub(r"\\[{}$&#%_]", "", text)


def test_latex_texts_hold_no_command_of_their_own():
    told = bare(latex_text(NASTY + "\nnew line\t% comment"))
    assert not set(told) & set('\\{}$&#%_^~<>|"\n\t')
    assert latex_text("50 % − 3 ± 1 ↑ †") == r"50 \% $-$ 3 $\pm$ 1 $\uparrow$ $^{\dagger}$"


def test_latex_is_a_booktabs_table_with_as_many_fields_in_every_row():
    told = latex(BLOCK, f"Caption {NASTY}", "tab:a_b/../x y")
    lines = told.splitlines()
    assert lines[0] == r"\begin{table}" and lines[-1] == r"\end{table}"
    assert [line.strip() for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert r"\label{tab:a-b-..-x-y}" in told and r"\begin{tabular}{llrr}" in told
    rows = [line for line in lines if line.endswith(r"\\")]
    assert [len(re.split(r"(?<!\\)&", row)) for row in rows] == [4] * 4
    assert r"$0.17 \pm 0.40^{\dagger}$" in rows[1] and r"$28.32 \pm 36.25^{\uparrow}$" in rows[2]
    assert r"& -- & $\mathbf{12.00} \pm 0.50^{\dagger \downarrow}$" in rows[3]
    # braces balance, and mathematics ends where it began
    plain_braces = re.sub(r"\\[{}$]", "", told)
    assert plain_braces.count("{") == plain_braces.count("}")
    assert all(re.sub(r"\\\$", "", line).count("$") % 2 == 0 for line in lines)
    assert told.isascii()


def test_latex_texts_hold_no_sign_that_pdflatex_stops_at():
    assert latex_text("Δ ρ α Ω λ 3² ≈ é") == r"$\Delta$ $\rho$ $\alpha$ $\Omega$ $\lambda$ 3$^{2}$ $\approx$ é"
    assert latex_text("☃ я") == "U+2603 U+044F"


def test_markdown_texts_begin_no_numbered_list():
    assert [markdown_text(t) for t in ("1. x", "12) x", "1.5 points", "2 x")] == [
        "1\\. x",
        "12\\) x",
        "1.5 points",
        "2 x",
    ]
