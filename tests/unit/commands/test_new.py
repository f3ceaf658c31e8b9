"""lacuna new: a scaffold that is clean, fails until it is filled, and then is an entry like all others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lacuna.__main__ import main
from lacuna.commands import launch
from lacuna.commands.new import KINDS, scaffold
from lacuna.errors import LacunaError
from tests.places import ROOT

RUFF = str(Path(sys.executable).with_name("ruff"))
_IMPORT = "from torch import Tensor, nn\n"
_LOSS = """\
        forgotten = cross_entropy(model(forget.x), forget.y)
        return cross_entropy(model(retain.x), retain.y) - self.weight * forgotten
"""
# what a reader fills in, by kind: lines of the source by how they begin, and a word of the test
FILLED = {
    "unlearner": (
        [
            (_IMPORT, _IMPORT + "from torch.nn.functional import cross_entropy\n"),
            ("        raise NotImplementedError(", _LOSS + "        # ("),
        ],
        ("raise NotImplementedError(", "return float(-retain.mean() + weight * forget.mean())  # ("),
    ),
    "pruner": (
        [
            (
                "    raise NotImplementedError(f\"TODO: a tensor of its shape for each of {', '.join(weights)}\")",
                "    return {name: -w.detach().abs() for name, w in weights.items()}",
            )
        ],
        ("raise NotImplementedError(", "return -np.abs(weights)  # ("),
    ),
    "metric": (
        [
            (
                "    raise NotImplementedError(",
                '    return float(cell["forget"].probabilities.max(1).mean())  # (',
            )
        ],
        ("EXPECTED: float | None = None", "EXPECTED: float | None = 2 / 3"),
    ),
    "figure": (
        [
            (
                '        raise NotImplementedError("TODO: draw the part, and label both axes")',
                '        part = _part.pivot(index="unlearner", columns="sparsity", values="mean")\n'
                '        part.plot.bar(ax=ax, rot=0, legend=False, ylabel="UA (%)")',
            )
        ],
        ("TODO", "TODO"),
    ),
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a scaffold of each kind, as it is written."""
    root = tmp_path_factory.mktemp("new") / "clone"
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "tests").mkdir()
    for kind in KINDS:
        for path, text in scaffold(kind, f"tried_{kind}", root).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return root


def run_tests(root: Path) -> tuple[int, str]:
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_scaffold_is_clean(clone):
    files = [str(path) for path in clone.rglob("*tried_*.py")]
    assert len(files) == 2 * len(KINDS)
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([RUFF, *command, *files], cwd=clone, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_its_tests_fail_until_it_is_filled_and_then_pass(clone, tmp_path):
    status, out = run_tests(clone)
    assert status == 1 and " passed" not in out.splitlines()[-1], out
    filled = tmp_path / "clone"
    shutil.copytree(clone, filled)
    for kind, (changes, (old, new)) in FILLED.items():
        source, test = (filled / path.relative_to(ROOT) for path in scaffold(kind, f"tried_{kind}", ROOT))
        text = source.read_text(encoding="utf-8")
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        source.write_text(text.replace("TODO", "done"), encoding="utf-8")
        test.write_text(test.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    status, out = run_tests(filled)
    assert status == 0, out


def test_it_is_written_where_the_sources_are_and_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    assert main(["new", "metric", "Margin_2"]) == 0
    out = capsys.readouterr().out
    source, test = (tmp_path / place.format(name="margin_2") for place in (KINDS["metric"].file, KINDS["metric"].test))
    assert '@register("Margin_2", ' in source.read_text() and "def Margin_2(cell" in source.read_text()
    assert f"run: python -m pytest {test.relative_to(tmp_path).as_posix()}" in out
    assert "use it: metrics: [UA, Margin_2]" in out
    before = source.read_text()
    assert main(["new", "metric", "margin_2"]) == 2
    assert (
        "src/lacuna/evaluation/metrics/margin_2.py is there already; allowed: another name" in capsys.readouterr().err
    )
    assert source.read_text() == before


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("unlearner", "salun", "the unlearner 'salun' exists, in lacuna.unlearning.methods.salun; allowed: another"),
        ("metric", "UA", "the metric 'UA' exists, in lacuna.evaluation.metrics.accuracy"),
        ("metric", "klom", "the metric 'klom' exists, in lacuna.evaluation.population.distance"),
        ("pruner", "base", "src/lacuna/pruning/base.py is there already"),
        ("unlearner", "NegGrad", "'NegGrad' is not allowed; allowed: small letters, digits and _"),
        ("unlearner", "2fast", "'2fast' is not allowed"),
        ("unlearner", "a-b", "'a-b' is not allowed"),
        ("figure", "class", "'class' is not allowed; .* no word of Python"),
        ("figure", "../x", "'../x' is not allowed"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused(kind, name, said):
    with pytest.raises(LacunaError, match=f"^new: {said}"):
        scaffold(kind, name, ROOT)


def test_without_sources_nothing_is_written(tmp_path):
    with pytest.raises(LacunaError, match="holds no sources with tests; allowed: a clone of lacuna"):
        scaffold("unlearner", "mine", tmp_path)
