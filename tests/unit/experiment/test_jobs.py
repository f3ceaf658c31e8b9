"""What a change of code makes run again, by the digests of the jobs of a grid: exactly what is promised."""

from __future__ import annotations

import ast
import functools
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from places import ROOT

from lacuna.experiment import code_digest as codedigest
from lacuna.experiment.code_digest import code_digest
from lacuna.experiment.config import load
from lacuna.experiment.feasibility import modules_of
from lacuna.experiment.jobs import RULES, Code, Jobs, patterns_of

GRID = {
    "datasets": {"digits": {}},
    "models": {"resnet8": {"width": 4}},
    "recipes": {"sgd": {}, "fast": {}},
    "seeds": [0],
    "shadows": {},
    "scenarios": {"class": {"forget_class": 3}, "random": {"fraction": 0.1}},
    "pruners": {"omp": {}, "snip": {}, "taylor": {}, "filter_taylor": {"compact": True}},
    "sparsities": ["dense", 0.5],
    "unlearners": {"original": {}, "retrain": {}, "retrain_exact": {}, "ga": {}, "ft": {}, "ssd": {}},
}
EXPERIMENT = {"name": "rich", "device": "cpu", "grid": GRID, "tuning": {}, "transfer": {"targets": {"mnist": {}}}}
EXPERIMENT |= {"metrics": ["UA", "RA", "avg_gap", "AIN", "error_bound", "time_s", "sparsity"]}
# un-pruned around two methods, one of which is fine-tuned after it; no ft of its own
UNPRUNED = {
    **{axis: GRID[axis] for axis in ("datasets", "models", "seeds", "sparsities")},
    "recipes": {"sgd": {}},
    "scenarios": {"class": {"forget_class": 3}},
    "pruners": {"omp": {}},
    "unlearners": {"retrain": {}, "ga": {}, "rl": {}},
    "unprune": [{"unlearner": "ga"}, {"unlearner": "rl", "finetune_epochs": 1}],
}
SHADOWS = {"shadow_train", "shadow_prune", "shadow_unlearn", "shadow_retrain_exact_dense", "shadow_retrain_exact"}
UNLEARN = {"unlearn", "retrain", "retrain_exact_dense", "retrain_exact", "tune_unlearner"}
UNLEARN |= {rule for rule in SHADOWS if "un" in rule or "re" in rule} - {"shadow_prune", "shadow_train"}
PRUNE = {"prune", "retrain_exact", "shadow_prune", "shadow_retrain_exact"}
TABLES = "src/lacuna/reporting/tables"
ONE_MORE = "\n_ANOTHER = 1\n"
READ = codedigest._read.__wrapped__


class Tree:
    """A copy of the sources, and the digests of the jobs of the grid."""

    def __init__(self, folder: Path, code: Code, jobs: Jobs):
        self.folder = folder
        self._kept: dict[codedigest._Source, tuple] = {}
        # script and modules, by rule and the labels of the entries that it finds through registries
        self._runs = {}
        for job in jobs.reads:
            place = dict(job.wildcards)
            key = (job.rule, tuple(code.labels(job.rule, place).values()))
            states = self._runs.setdefault(key, {})
            states[RULES[job.rule].script, code.modules(job.rule, place)] = None

    def read(self, source: codedigest._Source) -> tuple:
        if source not in self._kept:
            self._kept[source] = READ(source)
        return self._kept[source]

    def digests(self) -> dict[tuple[str, tuple[str, ...]], list[str]]:
        """The digests of each rule and labels: where filters are taken out of some states, there are two."""
        scripts = self.folder / "workflow/scripts"
        of = {
            run: code_digest(scripts / run[0], *run[1]) for run in {run for each in self._runs.values() for run in each}
        }
        return {key: [of[run] for run in runs] for key, runs in self._runs.items()}

    @functools.cached_property
    def before(self) -> dict[tuple[str, tuple[str, ...]], list[str]]:
        return self.digests()

    def touched(self, change: Callable[[str], str], *files: str) -> set[tuple[str, tuple[str, ...]]]:
        """What has another digest while files are changed; they are as before then."""
        before, texts = self.before, {self.folder / file: (self.folder / file).read_text() for file in files}
        try:
            for path, text in texts.items():
                assert change(text) != text
                path.write_text(change(text))
            self.forget(*texts)
            after = self.digests()
        finally:
            for path, text in texts.items():
                path.write_text(text)
            self.forget(*texts)
        return {key for key in before if after[key] != before[key]}

    def forget(self, *paths: Path) -> None:
        """Read these files again, or all."""
        self._kept = {source: kept for source, kept in self._kept.items() if paths and source.path not in paths}

    def rules(self, file: str) -> set[str]:
        """The rules that one statement more in a file of the library touches."""
        return {rule for rule, _ in self.touched(lambda text: text + ONE_MORE, f"src/lacuna/{file}")}

    def labels(self, file: str) -> set[str]:
        """The labels of the entries that it touches, of the axis on which it does not touch all."""
        touched = self.touched(lambda text: text + ONE_MORE, f"src/lacuna/{file}")
        differing = set()
        for rule in {rule for rule, _ in touched}:
            every = [labels for each, labels in self.before if each == rule]
            some = [labels for each, labels in touched if each == rule]
            for mine, all_of in zip(zip(*some, strict=True), zip(*every, strict=True), strict=True):
                differing |= set(mine) if set(mine) != set(all_of) else set()
        return differing


def planned(folder, experiment, known):
    """The code and the jobs of an experiment."""
    (folder / "e.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))
    loaded = load([folder / "e.yaml"], {}, ROOT / "workflow/schemas/config.schema.yaml", known)
    return Code(loaded, known), Jobs(loaded, known)


@pytest.fixture(scope="module")
def tree(known, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree").resolve()
    for part in ("src/lacuna", "workflow"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    made = Tree(folder, *planned(folder, EXPERIMENT, known))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codedigest, "_SOURCES", folder / "src")
        patch.setattr(codedigest, "_read", made.read)
        yield made


def test_a_criterion_touches_the_pruners_that_use_it(tree):
    """The dense training is none of them."""
    assert tree.rules("pruning/criteria/taylor.py") == PRUNE
    assert tree.labels("pruning/criteria/taylor.py") == {"taylor", "filter_taylor"}
    assert tree.labels("pruning/criteria/magnitude.py") == {"omp"}


def test_a_pruner_touches_its_own_states(tree):
    assert tree.rules("pruning/snip.py") == PRUNE
    assert tree.labels("pruning/snip.py") == {"snip"}
    assert tree.rules("pruning/base.py") == PRUNE


def test_an_unlearner_touches_its_own_cells(tree):
    assert tree.rules("unlearning/methods/ga.py") == {"unlearn", "shadow_unlearn", "tune_unlearner"}
    assert tree.labels("unlearning/methods/ga.py") == {"ga"}
    assert tree.rules("unlearning/methods/retrain_exact.py") == {rule for rule in UNLEARN if "exact" in rule}
    assert tree.rules("unlearning/methods/scrub.py") == set(), "the grid has none"


def test_what_unlearners_share_trains_and_prunes_nothing(tree):
    assert tree.rules("unlearning/base.py") == UNLEARN


def test_a_recipe_touches_what_follows_it(tree):
    assert tree.labels("training/recipes/fast.py") == {"fast"}
    assert {"train", "prune", "unlearn", "retrain"} < tree.rules("training/recipes/fast.py")
    assert tree.rules("training/recipes/standard.py") == set(), "the grid has none"


def test_a_scenario_touches_its_own_forget_sets(tree):
    assert tree.labels("data/scenarios/random_fraction.py") == {"random"}
    assert tree.rules("data/scenarios/random_fraction.py") == {"choose_forget_set", "tune_unlearner"}


def test_a_metric_touches_evaluations_alone(tree):
    assert tree.rules("evaluation/metrics/accuracy.py") == {"evaluate"}
    assert tree.rules("evaluation/metrics/divergence.py") == set(), "the experiment has none"
    assert tree.rules("evaluation/population/attacks.py") == {"population"}
    assert tree.rules("measurement/relearning.py") == {"relearn"}
    assert tree.rules("measurement/curvature.py") == {"curvature"}


def test_a_figure_is_drawn_again_alone(tree):
    assert tree.rules("reporting/figures/time_vs_gap.py") == {"figure"}
    assert tree.labels("reporting/figures/time_vs_gap.py") == {"time_vs_gap"}


@pytest.mark.parametrize(
    ("table", "made"),
    [
        ("roc", {"roc"}),
        ("recipes", {"recipes"}),
        ("transfer", {"transfer"}),
        ("ranks", {"ranks"}),
        ("disagreement", {"disagreement"}),
        ("missing", {"missing"}),
        ("backdoor", set()),
        # a summary is made of probes too; probes are listed as cells are
        ("summary", {"summary", "transfer"}),
        ("probes", {"probes"}),
        ("verdicts", {"summary", "sparsity", "transfer"}),
        ("contest", {"summary", "ranks", "disagreement", "sparsity", "recipes", "transfer"}),
    ],
)
def test_a_table_is_made_again_alone(tree, table, made):
    """No cell is collected again for its wording, and no figure's code is another."""
    touched = tree.touched(lambda text: text + ONE_MORE, f"src/lacuna/reporting/tables/{table}.py")
    # in words, too, where its verdicts are
    told = {("answer", ()), ("html_report", ())} if table in ("verdicts", "contest") else set()
    assert touched == {("table", (name,)) for name in made} | told


@pytest.mark.parametrize("table", ["cells", "layers", "provenance"])
def test_what_lists_cells_collects_them_again(tree, table):
    touched = tree.touched(lambda text: text + ONE_MORE, f"src/lacuna/reporting/tables/{table}.py")
    # the page words what provenance.csv tells
    told = {("html_report", ())} if table == "provenance" else {("table", ("probes",))} if table == "cells" else set()
    assert touched == {("aggregate", ())} | told


def test_what_verify_expects_of_tables_touches_none(tree):
    assert tree.rules("reporting/tables/expected.py") == set()


def test_a_caption_touches_nothing(tree):
    assert tree.touched(lambda text: text.replace("Mean rank", "Average rank"), f"{TABLES}/ranks.py") == set()


def test_what_takes_filters_out_touches_compact_states_alone(tree):
    touched = tree.touched(lambda text: text + ONE_MORE, "src/lacuna/sparsity/compaction.py")
    assert {rule for rule, _ in touched} >= {"unlearn", "retrain", "prune"}
    assert tree.labels("sparsity/compaction.py") == {"filter_taylor"}
    assert not {"train", "evaluate", "choose_forget_set"} & {rule for rule, _ in touched}


@pytest.mark.parametrize("file", ["artifacts/records.py", "experiment/config.py", "commands/verify.py"])
def test_what_plans_and_commands_do_is_no_matter_of_jobs(tree, file):
    assert tree.rules(file) == set()


def without_words(text: str) -> str:
    """The same code without comments, docstrings, layout and the annotations of functions."""
    root = ast.parse(text)
    for node in ast.walk(root):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                argument.annotation = None
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return f"# Other words.\n{ast.unparse(root)}\n"


def test_words_and_type_hints_touch_nothing(tree):
    """In files of all rooms, and of the workflow."""
    library = ("unlearning/methods/ga", "unlearning/base", "training/loop", "training/recipe", "pruning/base")
    library += ("data/batches", "models/inference", "evaluation/metrics/gap", "evaluation/__init__", "fields")
    library += ("reporting/tables/summary", "reporting/style", "sparsity/mask", "artifacts/files", "randomness")
    files = [f"src/lacuna/{name}.py" for name in library]
    files += ["workflow/scripts/unlearn.py", "workflow/lib/lacuna_workflow/model_job.py"]
    assert tree.touched(without_words, *files) == set()


def test_un_pruning_runs_its_unlearner_and_what_it_fine_tunes_with(tree, known, monkeypatch):
    around = Tree(tree.folder, *planned(tree.folder, {"name": "grown", "device": "cpu", "grid": UNPRUNED}, known))
    monkeypatch.setattr(codedigest, "_read", around.read)
    assert around.rules("unlearning/methods/ft.py") == {"unprune"}
    assert around.labels("unlearning/methods/ft.py") == {"rl"}
    assert around.rules("unlearning/methods/ga.py") == {"unlearn", "unprune"}
    assert around.labels("unlearning/methods/ga.py") == {"ga"}
    assert around.rules("procedures/unpruning.py") == {"unprune"}


def test_what_is_asked_of_a_network_is_known_by_the_code_of_fine_tuning_too(known):
    inner = {"unlearner": {"method": "ga"}, "pruner": {"method": "omp"}}
    ft = known["unlearners"]["ft"]["module"]
    assert ft not in modules_of("unprune", {**inner, "finetune_epochs": 0}, known)
    assert ft in modules_of("unprune", {**inner, "finetune_epochs": 1}, known)


def test_an_exact_retraining_of_shadow_models_reads_no_other(tree, known):
    """It trains anew and prunes then: nothing of the dense one is kept to start from."""
    _, jobs = planned(tree.folder, EXPERIMENT, known)
    exact = [reads for job, reads in jobs.reads.items() if job.rule == "shadow_retrain_exact"]
    assert exact and {job.rule for reads in exact for job in reads} == {"ingest", "choose_forget_set"}


def test_a_new_file_of_a_registry_touches_nothing(tree):
    before, added = tree.before, []
    for like in (
        *("unlearning/methods/ga", "pruning/omp", "pruning/criteria/taylor", "training/recipes/fast"),
        *("evaluation/metrics/gap", "evaluation/population/attacks", "reporting/figures/time_vs_gap"),
        *("reporting/tables/ranks", "data/datasets/digits", "data/scenarios/subclass", "models/architectures/vgg"),
    ):
        path = tree.folder / f"src/lacuna/{like}.py"
        added.append(path.with_name("newcomer.py"))
        added[-1].write_text(path.read_text().replace("@register(", '@register("newcomer-" + '))
    try:
        tree.forget()
        assert tree.digests() == before
    finally:
        for path in added:
            path.unlink()


def test_every_rule_names_its_script_and_its_traces():
    """`RULES` says what a rule runs and where its traces lie; the rule says so too."""
    told, traces, rule = {}, {}, ""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.removesuffix(":").split()
            if line.startswith(("rule ", "use rule ")) and "*" not in words:
                rule = words[1] if words[0] == "rule" else words[4]
                if words[0] == "use":
                    told[rule], traces[rule] = told[words[2]], list(traces[words[2]])
            elif line.strip().startswith('"../scripts/'):
                told[rule] = Path(line.strip(' "')).name
            elif found := re.search(r'(?:log|benchmark)_of\("(\w+)"\)', line):
                traces[rule] = [*traces.get(rule, []), found[1]][-2:]
    for rule, names in traces.items():
        # of a rule that takes over another's log, both lie in one place
        assert [patterns_of(name)[:2] for name in names] == [patterns_of(rule)[:2]] * len(names), rule
    assert {rule: runs.script for rule, runs in RULES.items()} == told


def test_every_rule_makes_the_file_that_its_jobs_write_last():
    """Next to the log's name, `RULES` says by which file a finished job is known."""
    blocks: dict[str, str] = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.split(r"\n(?=(?:use )?rule )", path.read_text(encoding="utf-8")):
            if (found := re.match(r"(?:rule (\w+)|use rule (\w+) as (\w+) with):", block)) is not None:
                own = block.partition("    output:\n")[2].partition("    log:\n")[0]
                blocks[found[1] or found[3]] = own or blocks.get(found[2], "")
    for rule, runs in RULES.items():
        folder, made = runs.at.folder, runs.at.made
        if rule == "aggregate":  # a file for each table that the registry has of its kind
            made = made.replace("cells", "{table}")
            blocks[rule] = blocks[rule].replace('f"{table}.csv"', '"{table}.csv"')
        cell = f'cell_at("{made.removesuffix("/job.json")}")'
        assert f'at("{folder}", "{made}")' in blocks[rule] or cell in blocks[rule], rule
