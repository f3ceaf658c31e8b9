"""The pages read well on a forge: every link leads to a file and a heading, every picture has a text, none is lost."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest
from places import ROOT

PAGES = sorted(
    page for page in ROOT.rglob("*.md") if not {".venv", ".git", "results"} & set(page.relative_to(ROOT).parts[:1])
)
# on GitHub: a blank becomes a hyphen, letters of every language stay, other signs go
_GONE = re.compile(r"[^\w\- ]")


def prose(page: Path) -> str:
    """The page without its code, inline or in blocks."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"``.+?``|`[^`\n]+`", "code", text)


def links(page: Path) -> list[tuple[str, str, str]]:
    """ "!" for a picture, text and target of every link that stays in the repository."""
    found = re.findall(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+(?:\([^()]*\))?)\)", prose(page))
    return [link for link in found if not re.match(r"[a-z]+:", link[2])]


def anchors(page: Path) -> set[str]:
    """What a heading is called in a link; the second of the same name ends with -1."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    seen: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
        name = _GONE.sub("", plain.strip().lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


# files that a reader of a page writes, or has a command write
YOURS = {
    *("config/experiments/NAME.yaml", "config/experiments/mine.yaml", "config/tuned/", "config/tuned/mine.yaml"),
    *("src/lacuna/commands/seeds.py", "src/lacuna/data/datasets/bars.py", "src/lacuna/data/scenarios/per_class.py"),
    *("src/lacuna/evaluation/metrics/margin.py", "src/lacuna/models/architectures/plain.py"),
    *("src/lacuna/pruning/smallest.py", "src/lacuna/reporting/figures/margins.py"),
    *("src/lacuna/reporting/tables/best.py", "src/lacuna/unlearning/methods/neggrad.py"),
}
TOP = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"results", "logs"}


def paths(page: Path) -> set[str]:
    """The paths in the code of a page, inline or in blocks, that begin with a folder of the repository."""
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"^(?:```|~~~)[^\n]*\n(.*?)^(?:```|~~~)", text, flags=re.MULTILINE | re.DOTALL)
    inline = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    code += re.findall(r"`([^`\n]+)`", inline)
    # no part of an address, a pattern or a name with something to fill in
    found = re.findall(r"(?<![\w./<>*{-])\w[\w.-]*(?:/[\w.-]+)+/?(?![\w<>*{/])", "\n".join(code))
    return {path for path in found if path.partition("/")[0] in TOP}


def unknown_paths(page: Path) -> set[str]:
    """Those that are neither in the repository nor a reader's own."""
    return {path for path in paths(page) - YOURS if not any((base / path).exists() for base in (ROOT, page.parent))}


def broken(page: Path) -> list[str]:
    """The targets of a page that are not there."""
    wrong = []
    for _, _, target in links(page):
        path, _, anchor = target.partition("#")
        file = Path(os.path.normpath(page.parent / path)) if path else page
        if not file.exists() or (anchor and (file.suffix != ".md" or anchor not in anchors(file))):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    assert not broken(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_in_code_is_there(page):
    assert not unknown_paths(page)


def test_what_a_reader_writes_is_not_in_the_repository_and_on_a_page():
    assert set().union(*map(paths, PAGES)) >= YOURS
    assert not [path for path in YOURS if (ROOT / path).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_picture_has_a_text(page):
    assert all(len(text.split()) >= 3 for sign, text, _ in links(page) if sign)


def test_every_page_is_reached_from_the_index():
    """In one step or more."""
    reached, new = set(), {ROOT / "docs/README.md"}
    while new:
        page = new.pop()
        reached.add(page)
        targets = (Path(os.path.normpath(page.parent / t.partition("#")[0])) for _, _, t in links(page))
        new |= {target for target in targets if target.suffix == ".md" and target.exists()} - reached
    part = ROOT / "docs/results/gpu/remarks.md"  # of gpu.md
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - {part} <= reached


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("[a](b.md)", []),
        ("[a](b.md#two-words) and [a](#here)", []),
        ("[a](b.md#same-1)", []),
        ("[a](c.md)", ["c.md"]),
        ("[a](b.md#three)", ["b.md#three"]),
        ("[a](#there)", ["#there"]),
        ("![a](c.svg)", ["c.svg"]),
        ("`[a](c.md)` and [web](https://example.org/none)", []),
    ],
)
def test_a_broken_link_is_found(tmp_path, line, wrong):
    (tmp_path / "b.md").write_text("# Two: `words`\n\n## Same\n\n## Same\n")
    (tmp_path / "a.md").write_text(f"# Here\n\n{line}\n")
    assert broken(tmp_path / "a.md") == wrong


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("`workflow/rules/backdoor.smk`", {"workflow/rules/backdoor.smk"}),
        ("`lacuna run config/experiments/none.yaml --cores 2`", {"config/experiments/none.yaml"}),
        ("```sh\nlacuna check config/experiments/none.yaml\n```", {"config/experiments/none.yaml"}),
        ("`workflow/rules/train.smk`, `docs/`, `src/lacuna`", set()),
        ("`config/experiments/mine.yaml`, `results/tables/x.csv`, `mine/own.py`", set()),
        ("`src/lacuna/<room>/x.py`, `docs/*.html`, `https://x.org/docs/none.md`, docs/none.md", set()),
    ],
)
def test_a_path_that_is_not_there_is_found(tmp_path, line, unknown):
    (tmp_path / "a.md").write_text(f"{line}\n")
    assert unknown_paths(tmp_path / "a.md") == unknown
