"""Tables for people: plain text that fits a terminal, Markdown, and LaTeX with booktabs."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Greek letters in the order of the alphabet; iota, omicron and upsilon look like Latin ones
_SMALL = (
    *("alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi"),
    *("pi", "rho", "sigma", "tau", "varphi", "chi", "psi", "omega"),
)
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega")
# what LaTeX takes for more than the sign itself, or has no letter for
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^{\dagger}$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "…": r"\dots{}",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "√": r"$\surd$",
    "∈": r"$\in$",
    "·": r"$\cdot$",
    "²": "$^{2}$",
    "³": "$^{3}$",
    **{sign: f"$\\{name}$" for sign, name in zip("αβγδεζηθκλμνξπρστφχψω", _SMALL, strict=True)},
    **{sign: f"$\\{name}$" for sign, name in zip("ΓΔΘΛΞΠΣΦΨΩ", _CAPITALS, strict=True)},
}
# the first sign behind Latin letters with accents
_BEYOND = "\u0180"
# behind a number, and in LaTeX's mathematics
_SIGNS = {"†": r"\dagger", "↑": r"\uparrow", "↓": r"\downarrow"}
_MARKS = {"farther": "↑", "closer": "↓"}


@dataclass(frozen=True)
class Value:
    """A number in a table. half: half its interval, or a deviation; NaN if unknown. below: it is below its floor.

    verdict: farther and closer have an arrow. signed: what is above 0 has a plus.
    """

    value: float
    half: float = math.nan
    decimals: int = 2
    bold: bool = False
    below: bool = False
    verdict: Any = None
    signed: bool = False

    def __str__(self) -> str:
        return f"{self.number}{self.marks}"

    @property
    def number(self) -> str:
        """mean ± half, with the true minus."""
        if math.isnan(self.value):
            return ""
        told = _fixed(self.value, self.decimals)
        told = f"+{told}" if self.signed and float(f"{self.value:.{self.decimals}f}") > 0 else told
        return told if math.isnan(self.half) else f"{told} ± {_fixed(self.half, self.decimals)}"

    @property
    def marks(self) -> str:
        return f"{'†' if self.below else ''}{_MARKS.get(self.verdict, '')}" if self.number else ""


def _fixed(value: float, decimals: int) -> str:
    told = f"{value:.{decimals}f}"
    # "-0.00" is no number below 0
    return told.lstrip("-") if not float(told) else told.replace("-", "−")


def decimals_for(values: Iterable[float]) -> int:
    """Decimals that a column of numbers is told with: 2, more where they are all small, none of thousands."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=1.0)
    if largest >= 0.1 or largest == 0:
        return 0 if largest >= 1000 else 2
    return min(6, 1 - math.floor(math.log10(largest)))


Field = str | Value


@dataclass(frozen=True)
class Block:
    """A table under a title. heads: of the columns, of which the first `keys` say what a row is of. rules: positions of
    rows with a line above them."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Field, ...], ...]
    keys: int = 1
    rules: frozenset[int] = frozenset()


# ---- plain text -----------------------------------------------------------------------------------------------------


def plain(block: Block, width: int = 80, caption: str = "") -> str:
    """The block as text of at most `width` signs a line, where its widest column allows it.

    Columns that do not fit go into further parts below, each with the keys first.
    """
    sizes = [max(len(str(line[i])) for line in (block.heads, *block.rows)) for i in range(len(block.heads))]
    lines = [block.title] if block.title else []
    for number, part in enumerate(_parts(sizes, block.keys, width)):
        lines += [""] if number else []
        for position, row in enumerate((block.heads, *block.rows)):
            lines += [""] if position - 1 in block.rules else []
            lines.append("  ".join(("", *(str(row[i]).ljust(sizes[i]) for i in part))).rstrip())
    lines += textwrap.wrap(caption, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _parts(sizes: Sequence[int], keys: int, width: int) -> Iterator[list[int]]:
    """Positions of the columns of each part."""
    first = [*range(keys)]
    part, used = [*first], sum(sizes[:keys]) + 2 * keys
    start = used
    for i in range(keys, len(sizes)):
        if used + sizes[i] + 2 > width and len(part) > keys:
            yield part
            part, used = [*first], start
        part, used = [*part, i], used + sizes[i] + 2
    yield part


# ---- Markdown -------------------------------------------------------------------------------------------------------


def markdown(block: Block, caption: str = "") -> str:
    """The block as a table of GitHub's Markdown; best in bold."""
    lines = [f"**{markdown_text(block.title)}**", ""] if block.title else []
    # numbers stand right, names left
    right = [any(isinstance(row[i], Value) for row in block.rows) for i in range(len(block.heads))]
    lines += [_piped(map(markdown_text, block.heads)), _piped("---:" if r else "---" for r in right)]
    lines += [_piped(map(_marked_down, row)) for row in block.rows]
    lines += ["", markdown_text(caption)] if caption else []
    return "\n".join(lines) + "\n"


def markdown_text(text: str) -> str:
    """A text with nothing in it that Markdown or HTML would read as more."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", text)
    # at its beginning it would be a heading or an item of a list
    text = re.sub(r"^(?=[#+-])", r"\\", text)
    return re.sub(r"^(\d+)(?=[.)](\s|$))", r"\1\\", text)


def _piped(fields: Iterable[str]) -> str:
    return f"| {' | '.join(fields)} |"


def _marked_down(field: Field) -> str:
    if isinstance(field, str):
        return markdown_text(field)
    return f"**{field.number}**{field.marks}" if field.bold and field.number else str(field)


# ---- LaTeX ----------------------------------------------------------------------------------------------------------


def latex(block: Block, caption: str, label: str) -> str:
    """The block as a LaTeX table, which needs the package booktabs. caption: plain text, escaped here."""
    right = [any(isinstance(row[i], Value) for row in block.rows) for i in range(len(block.heads))]
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{latex_text(caption)}}}",
        f"  \\label{{{re.sub(r'[^A-Za-z0-9:.-]+', '-', label)}}}",
        f"  \\begin{{tabular}}{{{''.join('r' if r else 'l' for r in right)}}}",
        r"    \toprule",
        _row(map(latex_text, block.heads)),
        r"    \midrule",
    ]
    for position, row in enumerate(block.rows):
        lines += [r"    \midrule"] if position in block.rules else []
        lines.append(_row(map(_typeset, row)))
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]) + "\n"


def latex_text(text: str) -> str:
    """A text with nothing in it that LaTeX would read as a command; line breaks are spaces.

    A sign that no text font of pdflatex has is told by its number: "U+2603".
    """
    return "".join(
        _LATEX.get(sign, sign if sign < _BEYOND else f"U+{ord(sign):04X}") for sign in " ".join(text.split())
    )


def _row(fields: Iterable[str]) -> str:
    return f"    {' & '.join(fields)} \\\\"


def _typeset(field: Field) -> str:
    if isinstance(field, str):
        return latex_text(field)
    if not field.number:
        return "--"
    mean, _, half = field.number.replace("−", "-").partition(" ± ")
    mean = rf"\mathbf{{{mean}}}" if field.bold else mean
    half = rf" \pm {half}" if half else ""
    marks = " ".join(_SIGNS[sign] for sign in field.marks)
    return f"${mean}{half}^{{{marks}}}$" if marks else f"${mean}{half}$"
