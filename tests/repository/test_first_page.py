"""README.md: short, with a picture, and every command, experiment and line of Python in it works."""

import re

import pytest
import yaml
from places import ROOT

import lacuna
from lacuna.commands import COMMANDS
from lacuna.experiment.config import load
from tests.repository.test_links import PAGES

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL))


def test_it_is_read_in_five_minutes():
    """450 to 650 words, code included, comments and addresses not."""
    shown = re.sub(r"\]\([^)]*\)", "]", re.sub(r"<!--.*?-->", "", TEXT))
    assert 450 <= len([word for word in shown.split() if re.search(r"\w", word)]) <= 650


def test_a_visitor_sees_picture_answer_and_commands_first():
    places = [TEXT.index(mark) for mark in ("![", "## The answer so far", "make run", "```yaml", "```python")]
    assert places == sorted(places)


def test_its_experiment_plans_and_has_a_floor(known, tmp_path):
    """Twelve lines of YAML, which a new user copies."""
    block = BLOCKS["yaml"]
    assert len(block.splitlines()) <= 12 and "method: retrain}" in block
    (tmp_path / "mine.yaml").write_text(block, encoding="utf-8")
    files = [ROOT / "config/config.yaml", tmp_path / "mine.yaml"]
    experiment = load(files, {}, ROOT / "workflow/schemas/config.schema.yaml", known)
    assert experiment.name == "mine" and len(experiment.seeds) >= 3
    # `datasets: {digits: {}}  # or cifar10, or …` offers what exists
    assert {"cifar10", "npz"} <= set(known["datasets"]) and "import" in known["models"]


def test_its_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", BLOCKS["sh"], flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_name_commands_that_exist(page):
    """`lacuna WORD` at the start of a line of code, or in code of its own, on every page but that of corrections."""
    text = page.read_text(encoding="utf-8")
    words = re.findall(r"(?:^|`)(?:\$ |\.venv/bin/)?lacuna ([a-z]+)\b", text, flags=re.MULTILINE)
    assert set(words) <= set(COMMANDS), page


def test_there_is_a_citation_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["title"].split(":")[0]) == (lacuna.__version__, "lacuna")
    assert "The lacuna developers" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert citation["authors"] == [{"name": "The lacuna developers"}]


def test_the_steps_of_the_public_checks_are_those_of_the_private_ones():
    """Both are one text: a job of ci.yml is a step of .ci/run."""
    steps = set(re.findall(r"^(\w+)\(\) \{$", (ROOT / ".ci/run").read_text(encoding="utf-8"), flags=re.MULTILINE))
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    # of a name that stands twice YAML takes the last; GitHub runs nothing then
    assert re.findall(r"^  (\w+):$", text.partition("\njobs:\n")[2], flags=re.MULTILINE) == list(jobs)
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert runs and all(".ci/run " in run for run in runs)
    assert {name for run in runs for name in run.split(".ci/run ")[1].split()} <= steps
    assert {"lint", "unit", "workflow", "report", "slurm"} <= set(jobs)
    assert jobs["unit"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def _grids():
    """Every grid of a page, with the page's name."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            told = yaml.safe_load(block)
            if isinstance(told, dict) and isinstance(told.get("grid"), dict):
                yield page.name, told["grid"]


def test_no_example_gives_a_label_of_the_default_experiment_another_meaning():
    """Cells lie under their labels: with other values it would take the place of what `make run` made."""
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))["grid"]
    shown = list(_grids())
    assert len(shown) > 2
    for page, grid in shown:
        for axis in ("datasets", "models", "recipes", "scenarios", "pruners", "unlearners"):
            for label, entry in (grid.get(axis) or {}).items():
                if label in default[axis]:
                    # lr 0.1 is the recipe's own default
                    ours = {"lr": 0.1, **(entry or {})} if axis == "recipes" else (entry or {})
                    assert ours == (default[axis][label] or {}), (page, axis, label)
