"""What runs again: exactly the jobs that a change touches, in dry runs and in real ones on a finished tree."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import yaml

from .project import DRAWN, EXPERIMENT, PIPELINE, STATES, UNLEARNERS, Done, Project, changed, table_jobs

GRID = EXPERIMENT["grid"]
# A whole new method, in one new file.
SHRINK = '''"""Shrinking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.fields import Fraction
from lacuna.unlearning.base import EditUnlearner, RunOptions, register


@register("shrink")
@dataclass(frozen=True, kw_only=True)
class Shrink(EditUnlearner):
    """θ ← cθ for the weights of the classifier.

    factor: c.
    """

    factor: Fraction = 0.5

    @torch.no_grad()
    def edit(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> None:
        model.classifier.weight.mul_(self.factor)
'''

# ---- jobs, by their messages ----------------------------------------------------------------------------------------

FIGURE_JOBS = {f"figure {figure} of tiny" for figure in DRAWN}
PAGE = {"report of tiny"}
REPORT = table_jobs("tiny") | FIGURE_JOBS | PAGE
# what the third method makes possible
OF_THREE = {"figure metric_disagreement of tiny"}


def cells(*unlearners: str, states: tuple[str, ...] = STATES, seed: int = 0) -> set[str]:
    """The jobs that make these unlearners' models."""
    return {f"{unlearner}: class, {state}, digits, seed {seed}" for unlearner in unlearners for state in states}


def evaluations(*unlearners: str, states: tuple[str, ...] = STATES, seed: int = 0) -> set[str]:
    """The jobs that evaluate them."""
    return {f"evaluate {job}" for job in cells(*unlearners, states=states, seed=seed)}


def with_report(*unlearners: str, states: tuple[str, ...] = STATES, seed: int = 0) -> set[str]:
    """Cells, their evaluation, the tables and the figures."""
    place = {"states": states, "seed": seed}
    return cells(*unlearners, **place) | evaluations(*unlearners, **place) | REPORT


def origins(seed: int = 0, sparsity: str = "0.90", dense: bool = True) -> set[str]:
    """The jobs that make the models which saw everything."""
    untrained = f"predict with an untrained resnet8 on digits, brief, seed {seed}"
    trained = {f"train resnet8 on digits, brief, seed {seed}", untrained} if dense else set()
    return trained | {f"prune resnet8 to omp-{sparsity}, digits, seed {seed}"}


UNTRAINED = {"predict with an untrained resnet8 on digits, brief, seed 0"}


# ---- changes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A change to a finished tree, and the jobs that it must make run: those and no others."""

    name: str
    change: Callable[[Project], None]
    jobs: set[str]


def grid(**axes: object) -> Callable[[Project], None]:
    """Another grid."""
    return lambda project: project.choose(changed(**axes))


def text(change: Callable[[str], str]) -> Callable[[Project], None]:
    """The same experiment, written otherwise."""
    return lambda project: project.edit("experiment.yaml", change)


def code(path: str) -> Callable[[Project], None]:
    """One statement more in a source file: other code, the same result."""
    return lambda project: project.edit(path, lambda before: before + "\n_ANOTHER = 1\n")


def style_of_page(project: Project) -> None:
    """Another style of the report, which no import shows."""
    project.edit("src/lacuna/reporting/report/assets/page.css", lambda before: before + "p { margin: 0 }\n")


def words_only(project: Project) -> None:
    """Other comments, docstrings and layout in every kind of source file; nothing else."""

    def change(before: str) -> str:
        summary = before.index('"""') + 3
        return "# A comment.\n\n" + before[:summary] + "In other words: " + before[summary:] + "\n\n# The end.\n"

    for path in (
        "src/lacuna/unlearning/methods/ga.py",
        "src/lacuna/unlearning/base.py",
        "src/lacuna/training/loop.py",
        "src/lacuna/evaluation/metrics/accuracy.py",
        "src/lacuna/reporting/tables/summary.py",
        "src/lacuna/reporting/figures/time_vs_gap.py",
        "workflow/scripts/unlearn.py",
        "workflow/lib/lacuna_workflow/job.py",
    ):
        project.edit(path, change)
    project.edit("workflow/rules/unlearn.smk", lambda before: "# A comment.\n" + before)


def touched(project: Project) -> None:
    """The time stamps that a git checkout gives: now, for every source file."""
    project.own(*PIPELINE)
    for name in PIPELINE:
        for path in (project / name, *(project / name).rglob("*")):
            path.touch()


def keys_reordered(before: str) -> str:
    """The same mappings, each from its last key to its first, but for the labels of the grid."""

    def turn(value: object, depth: int) -> object:
        if not isinstance(value, dict):
            return value
        items = [(key, turn(inner, depth + 1)) for key, inner in value.items()]
        return dict(items if depth == 2 else reversed(items))

    return yaml.safe_dump(turn(yaml.safe_load(before), 0), sort_keys=False)


def numbers_respelled(before: str) -> str:
    """The same numbers in other words."""
    for old, new in (
        ("lr: 0.001", "lr: 1e-3"),
        ("lr: 0.1\n", "lr: 1.0e-1\n"),
        ("width: 4", "width: 4.0"),
        ("- 0.9\n", "- '0.90'\n"),
    ):
        assert old in before
        before = before.replace(old, new)
    return before


def new_method(project: Project) -> None:
    """A method that nobody knew, in one new file, and in the grid."""
    project.own("src")
    (project / "src/lacuna/unlearning/methods/shrink.py").write_text(SHRINK, encoding="utf-8")
    project.choose(changed(unlearners={"shrink": {}}))


def labels_reordered(project: Project) -> None:
    project.choose(changed() | {"grid": GRID | {"unlearners": dict(reversed(GRID["unlearners"].items()))}})


def metrics(*chosen: str) -> Callable[[Project], None]:
    """These metrics alone, and those that the default figures show."""
    return lambda project: project.choose(changed() | {"metrics": [*chosen, "sparsity"]})


def relearning(project: Project) -> None:
    """Another way to relearn."""
    project.choose(changed() | {"relearning": {"lr": 0.5}})


def experiment_beside(project: Project) -> None:
    """Another experiment on the same cells, with other metrics and one oracle less: it leaves the first's alone."""
    project.choose(
        EXPERIMENT
        | {
            "name": "beside",
            "metrics": ["UA", "avg_gap"],
            "figures": [],
            "grid": GRID | {"unlearners": {k: v for k, v in GRID["unlearners"].items() if k != "retrain_exact"}},
        }
    )


ALL_CELLS = with_report(*UNLEARNERS)
CASES = [
    Case("nothing", lambda project: None, set()),
    Case("comments, docstrings and layout", words_only, set()),
    Case("time stamps of all sources", touched, set()),
    Case("order of keys", text(keys_reordered), set()),
    Case("spelling of numbers", text(numbers_respelled), set()),
    # rows and legends follow the file
    Case("order of labels", labels_reordered, REPORT),
    Case(
        "a sparsity",
        grid(sparsities=["dense", 0.9, 0.95]),
        origins(sparsity="0.95", dense=False) | with_report(*UNLEARNERS, states=("omp-0.95",)),
    ),
    Case("a sparsity less", grid(sparsities=["dense"]), REPORT - {"figure layer_sparsity of tiny"}),
    Case(
        "a seed",
        grid(seeds=[0, 1]),
        {"split digits, seed 1", "choose the forget set: class of digits, seed 1"}
        | origins(seed=1)
        | with_report(*UNLEARNERS, seed=1),
    ),
    Case("a method", grid(unlearners={"ft": {"epochs": 1}}), with_report("ft") | OF_THREE),
    Case(
        "a method again under another label",
        grid(unlearners={"ga_strong": {"method": "ga", "lr": 1e-2}}),
        with_report("ga_strong") | OF_THREE,
    ),
    # a twin is compared with its oracle, and nothing with the twin
    Case("a second oracle", grid(unlearners={"retrain_b": {"method": "retrain"}}), with_report("retrain_b")),
    # a dense oracle has a draw of its own in any case
    Case(
        "another start of an oracle",
        grid(unlearners={"retrain": {"start": "fresh"}}),
        cells("retrain", states=("omp-0.90",)) | evaluations(*UNLEARNERS, states=("omp-0.90",)) | REPORT,
    ),
    Case("a method in a new file", new_method, with_report("shrink") | OF_THREE),
    Case("a value of one method", grid(unlearners={"ga": {"epochs": 2, "lr": 2e-3}}), with_report("ga")),
    Case("the code of one method", code("src/lacuna/unlearning/methods/ga.py"), with_report("ga")),
    # an untrained network's answers know no loop
    Case("the code of the training loop", code("src/lacuna/training/loop.py"), (origins() - UNTRAINED) | ALL_CELLS),
    Case(
        "the code of a pruner",
        code("src/lacuna/pruning/omp.py"),
        origins(dense=False) | with_report(*UNLEARNERS, states=("omp-0.90",)),
    ),
    Case("fewer metrics", metrics("UA", "avg_gap", "time_s"), evaluations(*UNLEARNERS) | REPORT),
    Case(
        "a metric with a need",
        metrics("UA", "AIN", "avg_gap", "time_s"),
        {f"relearn after {job}" for job in cells(*UNLEARNERS)} | evaluations(*UNLEARNERS) | REPORT,
    ),
    Case(
        "an experiment beside it",
        experiment_beside,
        evaluations(*(u for u in UNLEARNERS if u != "retrain_exact")) | table_jobs("beside") | {"report of beside"},
    ),
    Case("settings of a need that no metric has", relearning, set()),
    Case("the code of a metric", code("src/lacuna/evaluation/metrics/accuracy.py"), evaluations(*UNLEARNERS) | REPORT),
    Case("the code of a script", code("workflow/scripts/aggregate.py"), REPORT),
    Case(
        "the code of one table",
        code("src/lacuna/reporting/tables/ranks.py"),
        {"table ranks of tiny", "record of tiny", "answer of tiny", *PAGE},
    ),
    Case("the code of one figure", code("src/lacuna/reporting/figures/time_vs_gap.py"), {"figure time_vs_gap of tiny"}),
    Case("the code of the page", code("src/lacuna/reporting/report/page.py"), PAGE),
    Case("the style of the page", style_of_page, PAGE),
]


@pytest.fixture(scope="module", autouse=True)  # under way beside the dry runs
def real(finished: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """A real second run with a new method, and a third with no change."""

    def run() -> tuple[Project, list[Done], list[dict[str, int]]]:
        project = finished.copy(tmp_path_factory.mktemp("real") / "clone")
        new_method(project)
        runs, times = [], [project.times()]
        for _ in range(2):
            runs.append(project.run())
            times.append(project.times())
        return project, runs, times

    return workers.submit(run)


@pytest.fixture(scope="module")
def plans(
    request: pytest.FixtureRequest,
    finished: Project,
    workers: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Future[Done]]:
    """The dry runs of the selected cases, all under way at once, each on a changed view of the finished tree."""

    def plan(case: Case) -> Done:
        project = finished.view(tmp_path_factory.mktemp("changed") / "clone")
        case.change(project)
        return project.plan()

    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    cases = [call.params["case"] for call in calls if call and "case" in call.params]
    return {case.name: workers.submit(plan, case) for case in cases}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_reruns_what_it_touches(plans: dict[str, Future[Done]], case: Case) -> None:
    """The planned jobs are those that depend on what was changed."""
    plan = plans[case.name].result()
    assert plan.code == 0, plan.output
    assert plan.jobs == case.jobs
    assert plan.nothing_to_do == (not case.jobs)


def test_a_new_method_runs_without_touching_what_is_there(real: Future) -> None:
    """A method in a new file runs to the end; the files of every other cell and of the models stay as they are."""
    project, runs, times = real.result()
    assert runs[0].code == 0, runs[0].output
    assert runs[0].jobs == with_report("shrink") | OF_THREE
    before, after = times[0], times[1]
    kept = {name for name in before if not re.match(r"((logs|benchmarks)/)?(tables|figures|report)/|logs/runs/", name)}
    assert {name for name in kept if after[name] != before[name]} == set()
    new = set(after) - set(before)
    # the figure that three methods make possible, its log and its benchmark
    assert {name for name in new if "/shrink" not in name and "/metric_disagreement." not in name} == set()
    assert {f"cells/digits/resnet8/brief/seed0/class/{state}/shrink/metrics/tiny.json" for state in STATES} <= new
    assert re.search(r",shrink,\w+,UA,", (project / "results/tables/tiny/cells.csv").read_text())


def test_a_second_run_without_a_change_does_nothing(real: Future) -> None:
    """A real run on a finished tree starts no job and writes no file."""
    _, runs, times = real.result()
    assert runs[1].nothing_to_do, runs[1].output
    assert times[2] == times[1]
