"""A configuration has one name whatever the seed, another for every other value; what is mixed is said."""

import copy
import subprocess
from pathlib import Path

import pytest

from lacuna.artifacts.machine import commit_of, processor, switches
from lacuna.artifacts.provenance import FACTS, config_hash, facts_of
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.configs import with_config
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.tables.provenance import inconsistent_provenance, provenance_table

GRID = {
    "datasets": {"d": {"method": "npz", "path": "a.npz"}},
    "models": {"m": {"method": "resnet8", "width": 4}},
    "recipes": {"r": {"method": "sgd", "lr": 0.1}},
    "scenarios": {"class": {"method": "class", "forget_class": 3}},
    "pruners": {"omp": {"method": "omp"}, "imp": {"method": "imp", "rate": 0.2}},
    "unlearners": {"ga": {"method": "ga", "lr": 1e-3}, "ft": {"method": "ft", "lr": 1e-2}, "ga2": {"method": "ga"}},
    "unprune": {"u": {"method": "unprune", "unlearner": "ft", "p": 0.1}},
}
CELL = {
    "dataset": "d",
    "model": "m",
    "recipe": "r",
    "seed": 0,
    "scenario": "class",
    "pruner": "omp",
    "sparsity": "0.90",
    "unlearner": "ga",
}
JOB = {
    "commit": "c0ffee",
    "random_stream": 7,
    "versions": {"lacuna": "1", "python": "3", "torch": "2", "numpy": "2"},
    "device": "cpu",
    "threads": 1,
    "slurm_job": None,
    "seconds": 1.5,
    "outputs": {"model": "m0", "predictions": "p0", "mask": "x"},
    "parameters": {},
}


def changed(*path, value):
    grid = copy.deepcopy(GRID)
    inner = grid
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return grid


def test_seeds_and_the_order_of_keys_share_a_configuration():
    backwards = {axis: dict(reversed(entries.items())) for axis, entries in reversed(GRID.items())}
    backwards["datasets"] = {"d": dict(reversed(GRID["datasets"]["d"].items()))}
    assert config_hash(GRID, CELL) == config_hash(backwards, CELL | {"seed": 5})
    assert len(config_hash(GRID, CELL)) == 16


@pytest.mark.parametrize(
    "path",
    [
        ("datasets", "d", "path"),
        ("models", "m", "width"),
        ("recipes", "r", "lr"),
        ("scenarios", "class", "forget_class"),
        ("pruners", "omp", "method"),
        ("unlearners", "ga", "lr"),
    ],
)
def test_any_option_of_its_entries_makes_another_configuration(path):
    assert config_hash(changed(*path, value="other"), CELL) != config_hash(GRID, CELL)


def test_options_of_other_entries_do_not():
    for path in (("pruners", "imp", "rate"), ("unlearners", "ft", "lr"), ("unprune", "u", "p")):
        assert config_hash(changed(*path, value=0.5), CELL) == config_hash(GRID, CELL)


def test_every_place_and_method_has_its_own():
    """Labels count too: they name the random stream, so a twin is no copy."""
    cells = [CELL | {"unlearner": u, "sparsity": s} for u in ("ga", "ga2", "ft", "u") for s in ("0.90", "0.95")]
    cells += [CELL | {"pruner": "imp"}, CELL | {"pruner": "dense", "sparsity": "0.00"}]
    same = changed("unlearners", "ga2", value=GRID["unlearners"]["ga"])
    assert len({config_hash(same, cell) for cell in cells}) == len(cells)


def test_unpruning_depends_on_what_it_is_around():
    cell = CELL | {"unlearner": "u"}
    assert config_hash(changed("unlearners", "ft", "lr", value=1.0), cell) != config_hash(GRID, cell)
    assert config_hash(changed("unlearners", "ga", "lr", value=1.0), cell) == config_hash(GRID, cell)


def result(**job):
    cell = CELL | {k: job.pop(k) for k in [*job] if k in COORDINATES}
    return {
        "cell": cell,
        "metrics": {"UA": 1.0, "RA": 2.0},
        "origin": facts_of(JOB | job),
        "evaluated_at_commit": "beef",
        "job": f"results/{cell['unlearner']}/job.json",
    }


def test_provenance_tells_each_cell_s_job():
    table = provenance_table([result(), result(seed=1, seconds=2.5, slurm_job="17")], GRID)
    assert list(table.columns) == [*COORDINATES, "config_hash", *FACTS, "evaluated_at_commit", "job"]
    assert table["seconds"].tolist() == [1.5, 2.5] and table["slurm_job"][1] == "17"
    assert table["model_sha256"].tolist() == ["m0", "m0"] and table["predictions_sha256"].tolist() == ["p0", "p0"]
    assert table["torch"].tolist() == ["2", "2"] and table["commit"].tolist() == ["c0ffee", "c0ffee"]
    assert table["config_hash"].nunique() == 1, "seeds share it"


def test_each_row_of_cells_finds_its_job_by_configuration_and_seed():
    results = [result(unlearner=u, seed=s) for u in ("ga", "ft") for s in (0, 1)]
    cells = with_config(cells_table(results), GRID)
    joined = cells.merge(provenance_table(results, GRID), on=["config_hash", "seed"], validate="many_to_one")
    assert len(joined) == len(cells) == 8
    assert (joined["unlearner_x"] == joined["unlearner_y"]).all()


def test_labels_and_versions_are_read_back_as_texts(tmp_path):
    """Beside a job without one a SLURM job would become 17.0, and version 1.10 of anything 1.1."""
    made = provenance_table([result(), result(seed=1, slurm_job="17")], GRID)
    made["torch"] = "1.10"
    made.to_csv(tmp_path / "provenance.csv", index=False)
    table = read_table(tmp_path / "provenance.csv")
    assert table["slurm_job"].isna().tolist() == [True, False] and table["slurm_job"][1] == "17"
    assert table["torch"].tolist() == ["1.10", "1.10"] and table["random_stream"].tolist() == [7, 7]


def test_a_job_that_lacks_a_fact_leaves_it_empty():
    assert set(facts_of({}).values()) == {None}


@pytest.mark.parametrize("fact", ["commit", "device", "torch"])
def test_what_is_compared_though_made_differently_is_said(fact):
    other = {"versions": JOB["versions"] | {"torch": "3"}} if fact == "torch" else {fact: "another"}
    elsewhere = [result(sparsity="0.95"), result(sparsity="0.95", seed=1)]
    (said,) = inconsistent_provenance(provenance_table([result(), result(unlearner="ft", **other), *elsewhere], GRID))
    assert said.startswith(f"{fact} differs within 1 of 2 places") and said.endswith("d/m/r/class/omp/0.90")


def test_other_places_may_be_made_differently():
    results = [result(), result(unlearner="ft"), result(sparsity="0.95", commit="another", seconds=9.0)]
    assert inconsistent_provenance(provenance_table(results, GRID)) == []


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one tracked source."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/ga.py").write_text("rate = 1\n")
    git(tmp_path, "init", "--quiet", "--template=")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_commit_is_the_full_hash_whatever_a_tag_says(repository: Path) -> None:
    git(repository, "tag", "--annotate", "--message", "a release", "v1")
    assert commit_of(repository) == git(repository, "rev-parse", "HEAD")
    assert len(commit_of(repository)) == 40


def test_changed_and_untracked_sources_are_said(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    (repository / "experiment.yaml").write_text("name: mine\n")  # no source
    assert commit_of(repository) == head
    (repository / "src/mine.py").write_text("rate = 2\n")
    assert commit_of(repository) == f"{head}-dirty"
    (repository / "src/mine.py").unlink()
    (repository / "src/ga.py").write_text("rate = 3\n")
    assert commit_of(repository) == f"{head}-dirty"


def test_no_commit_of_a_repository_around_or_named_by_a_hook(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = repository / "unpacked"
    (inner / "src").mkdir(parents=True)
    assert commit_of(inner) == "unknown"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert commit_of(elsewhere) == "unknown"
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert commit_of(elsewhere) == "unknown"
    git(elsewhere, "init", "--quiet", "--template=")
    assert commit_of(elsewhere) == "unknown"  # no commit yet


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse4_2 avx2 smep amx_tile\n\n"
            "processor\t: 1\nmodel name\t: another\n",
            ("Some CPU @ 2 GHz", ["amx_tile", "avx2", "sse4_2"]),
        ),
        ("processor\t: 0\nFeatures\t: fp asimd sve2\nModel\t: A board\n", ("A board", ["asimd", "sve2"])),
    ],
)
def test_processor_by_model_and_vectors(tmp_path: Path, text: str, told: tuple[str, list[str]]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor(tmp_path / "cpuinfo") == told
    assert processor(tmp_path / "none")[0] and processor(tmp_path / "none")[1] == []


def test_switches_of_libraries_and_no_other_variables() -> None:
    environment = {"MKL_CBWR": "AVX2", "HOME": "/home/me", "DNNL_MAX_CPU_ISA": "AVX2", "MY_TOKEN": "x"}
    assert switches(environment) == {"DNNL_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"}
