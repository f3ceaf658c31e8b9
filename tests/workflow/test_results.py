"""What one run leaves: every cell and figure, files that say how they came about, and the same bytes in every clone."""

import base64
import gzip
import json
import math
import re
import subprocess
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch

from lacuna.__main__ import main
from lacuna.artifacts.drawings import check_page
from lacuna.artifacts.files import read_npz, read_tensors, stored_checksum, unpack_bits
from lacuna.artifacts.journal import journal_at, read_run
from lacuna.data.batches import Augment, UnlearningData
from lacuna.evaluation import METRICS, default_metrics
from lacuna.experiment.feasibility import Question, answer
from lacuna.experiment.jobs import RULES
from lacuna.experiment.limits import memory_mb, minutes
from lacuna.models.files import load_state, new_model
from lacuna.sparsity.files import load_mask
from lacuna.sparsity.mask import prunable
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import unlearn

from .project import DRAWN, STATES, UNLEARNERS, Project, changed

ORACLES = ("retrain", "retrain_exact")
COORDINATES = ["dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner"]
MODELS = "models/digits/resnet8/brief/seed0"
CELLS = "cells/digits/resnet8/brief/seed0/class"
# Wall-clock seconds and what is made of them, and memory: all that two runs may differ in.
TIMES = ("time_s", "speedup", "inference_ms", "peak_memory_mb")


def table(project: Project, name: str) -> pd.DataFrame:
    """A table with its labels as they stand in the file."""
    labels = dict.fromkeys(COORDINATES, str)
    return pd.read_csv(project / "results/tables/tiny" / name, dtype=labels, keep_default_na=False, na_values=[""])


def job_files(project: Project) -> dict[str, dict]:
    """Every job.json by its folder."""
    return {str(Path(name).parent): json.loads(path.read_text()) for name, path in project.made("**/job.json").items()}


def expected_metrics(unlearner: str) -> set[str]:
    """All but those on request; what takes no time has no speed-up, a CPU tells no energy, digits have no backdoor."""
    names = set()
    for name in default_metrics():
        names |= {f"{name}/{oracle}" for oracle in ORACLES} if METRICS[name].about["oracle"] else {name}
    return {
        name for name in names - {"energy_j", "SA", "ASR"} if unlearner != "original" or not name.startswith("speedup")
    }


def test_status_of_a_finished_run_is_done(
    finished: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the journal that it left, by its files alone, and by its folder."""
    journal = journal_at(finished / "results", "tiny")
    run = read_run(journal)
    assert run is not None and run.end == "done" and set(run.finished) == set(run.planned) and not run.failed
    monkeypatch.chdir(finished.folder)
    jobs = len(run.planned)
    for where in ("experiment.yaml", "results"):
        assert main(["status", where]) == 0
        assert capsys.readouterr().out.startswith(f"tiny: 8 of 8 cells done; {jobs} of {jobs} jobs\n"), where


def test_every_log_begins_with_its_job_and_ends_with_its_result(finished: Project) -> None:
    logs = finished.made("logs/**/*.log")
    assert logs
    for name, path in logs.items():
        lines = path.read_text().splitlines()
        assert lines[0].partition(" ")[0].rstrip(",") in RULES, name
        assert any(line.startswith("device: ") for line in lines), name
        assert re.match(r"done in \d+\.\d s: .", lines[-1]), (name, lines[-1])
    (original,) = (path for name, path in logs.items() if name.endswith("dense/original.log"))
    assert re.search(r"no steps; UA [\d.]+, RA [\d.]+, TA [\d.]+$", original.read_text().rstrip())


def test_cells_are_complete(finished: Project) -> None:
    """cells.csv has every metric of every cell of the grid once, finite, and nothing else."""
    cells = table(finished, "cells.csv")
    assert list(cells.columns) == [*COORDINATES, "config_hash", "metric", "value", "unchanged", "note"]
    assert np.isfinite(cells["value"]).all()
    found = {key: list(rows["metric"]) for key, rows in cells.groupby(COORDINATES)}
    states = {"dense": ("dense", "0.00"), "omp-0.90": ("omp", "0.90")}
    assert set(found) == {
        ("digits", "resnet8", "brief", "0", "class", *states[state], unlearner)
        for state in STATES
        for unlearner in UNLEARNERS
    }
    for key, metrics in found.items():
        assert Counter(metrics) == Counter(expected_metrics(key[-1])), key


def test_metrics_are_in_their_range(finished: Project) -> None:
    """Every value lies within the range that its metric declares."""
    for name, value in table(finished, "cells.csv")[["metric", "value"]].itertuples(index=False):
        about = METRICS[name.partition("/")[0]].about
        assert about["low"] is None or value >= about["low"], name
        assert about["high"] is None or value <= about["high"], name


def test_an_oracle_is_at_no_distance_from_itself(finished: Project) -> None:
    """The gap of an oracle to itself is 0, its masks overlap wholly, its speed-up is 1."""
    cells = table(finished, "cells.csv")
    for oracle in ORACLES:
        own = cells[cells["unlearner"] == oracle]
        for metric, value in (("avg_gap", 0.0), ("KL_test", 0.0), ("ToW", 1.0), ("mask_iou", 1.0), ("speedup", 1.0)):
            values = own[own["metric"] == f"{metric}/{oracle}"]["value"]
            assert len(values) == len(STATES)
            assert (values == value).all()


def test_what_has_no_value_has_a_reason(finished: Project) -> None:
    """A cell's metrics file names every metric that was asked for, with its value or with why there is none."""
    asked = {
        full
        for name in default_metrics()
        for full in ([f"{name}/{o}" for o in ORACLES] if METRICS[name].about["oracle"] else [name])
    }
    stored = finished.made(f"{CELLS}/*/*/metrics/tiny.json")
    assert len(stored) == len(STATES) * len(UNLEARNERS)
    for name, path in stored.items():
        result = json.loads(path.read_text())
        assert set(result["metrics"]) | set(result["absent"]) == asked, name
        assert not set(result["metrics"]) & set(result["absent"]), name
        assert result["absent"]["energy_j"] == "a cpu does not report its energy"


def test_predictions_say_what_they_are_of(finished: Project) -> None:
    """Every cell's predictions carry the digest of the images and of its split: the same ones in all cells."""
    dataset = json.loads((finished / "results/data/digits/meta.json").read_text())["sha256"]
    origins = set()
    for path in finished.made(f"{CELLS}/*/*/predictions.npz").values():
        arrays = read_npz(path, "predictions")
        assert str(arrays["origin/dataset"]) == dataset
        origins.add(str(arrays["origin/split"]))
    assert len(origins) == 1
    assert len(origins.pop()) == 64


def test_sparse_oracle_is_trained_from_the_initialisation_of_the_original(finished: Project) -> None:
    """Its job read the file of θ_0, and the library ends with the same bits from there; a dense one reads none."""
    jobs = job_files(finished)
    initial = f"results/{MODELS}/dense/initial.safetensors"
    assert initial not in jobs[f"{CELLS}/dense/retrain"]["inputs"]
    assert jobs[f"{CELLS}/dense/retrain"]["parameters"]["unlearner"]["start"] == "fresh"
    job = jobs[f"{CELLS}/omp-0.90/retrain"]
    assert initial in job["inputs"]
    given = {k: v for k, v in job["parameters"]["unlearner"].items() if k != "method"}
    assert given["start"] == "theta0"
    results = finished / "results"
    arrays, meta = read_tensors(results / "data/digits/images.safetensors", "images")[0], "data/digits/meta.json"
    meta = json.loads((results / meta).read_text())
    parts = read_npz(results / "splits/digits/seed0/forget/class.npz", "split")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        outcome = unlearn(
            "retrain",
            new_model(job["parameters"]["model"], meta, torch.device("cpu")),
            UnlearningData.from_arrays(arrays, meta, parts, augment=Augment(given["crop"], given["flip"])),
            seed=job["random_stream"],
            mask=load_mask(results / MODELS / "omp-0.90/mask.npz"),
            origin=StartingPoint(initial=load_state(finished / initial)),
            **given,
        )
    finally:
        torch.set_num_threads(threads)
    stored = load_state(results / CELLS / "omp-0.90/retrain/model.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in outcome.model.state_dict().items())


def test_summary_is_of_the_cells(finished: Project) -> None:
    """summary.csv has the mean of each group, its gap to each oracle, and says that one seed gives no interval."""
    cells, summary = table(finished, "cells.csv"), table(finished, "summary.csv")
    groups = [c for c in COORDINATES if c != "seed"]
    ends = ("", "_low", "_high", "_p_unadjusted", "_p", "_least_sd", "_least", "_distance", "_floor", "_floor_of_mean")
    ends += ("_excess_p", "_verdict")
    gaps = [f"gap_{oracle}{end}" for oracle in ORACLES for end in ends]
    numbers = ["mean", "ci_low", "ci_high", "n", *gaps]
    assert list(summary.columns) == [*groups, "config_hash", "role", "metric", *numbers, "unchanged", "note"]
    merged = summary.merge(
        cells.drop(columns=["unchanged", "note"]), on=[*groups, "config_hash", "metric"], validate="one_to_one"
    )
    assert len(merged) == len(summary) == len(cells)
    assert (merged["mean"] == merged["value"]).all()
    assert (summary["n"] == 1).all()
    assert summary["note"].str.startswith("1 seed: no interval, no test").all()
    assert summary[["ci_low", "ci_high"]].isna().all(axis=None)
    where = [c for c in [*groups, "metric"] if c != "unlearner"]
    for oracle in ORACLES:
        reference = summary[summary["unlearner"] == oracle].set_index(where)["mean"]
        for row in summary.to_dict("records"):
            gap = row[f"gap_{oracle}"]
            if "/" in row["metric"]:  # already a comparison
                assert math.isnan(gap)
            else:
                assert gap == row["mean"] - reference[tuple(row[c] for c in where)]


def test_figures_are_images(finished: Project) -> None:
    """Every figure of the experiment is there as well-formed SVG, as PDF and as PNG."""
    made = finished.made("figures/tiny/*")
    assert {Path(name).name for name in made} == {
        f"{figure}.{kind}" for figure in DRAWN for kind in ("svg", "pdf", "png")
    }
    for path in made.values():
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        elif path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF-")
        else:
            content = path.read_bytes()
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert content.endswith(b"IEND\xaeB`\x82")


def test_layers_are_in_the_order_of_the_network(finished: Project) -> None:
    """The rows of layers.csv follow the network of every cell, not the alphabet."""
    meta, entry = {"classes": 10, "shape": [1, 8, 8]}, {"method": "resnet8", "width": 4}
    network = list(prunable(new_model(entry, meta, torch.device("cpu"))))
    layers = pd.read_csv(finished / "results/tables/tiny/layers.csv")
    assert list(layers["layer"].unique()) == network != sorted(network)


def test_models_load_and_are_as_sparse_as_their_masks(finished: Project) -> None:
    """Every model has finite weights, exactly 0 where the mask beside it is 0; that is 90 % where the path says so."""
    models = finished.made("**/model.safetensors")
    assert set(models) == {f"{MODELS}/{state}/model.safetensors" for state in STATES} | {
        f"{CELLS}/{state}/{unlearner}/model.safetensors" for state in STATES for unlearner in UNLEARNERS
    }
    for name, path in models.items():
        weights, _ = read_tensors(path, "model")
        mask = unpack_bits(read_npz(path.with_name("mask.npz"), "mask"))
        assert all(np.isfinite(w).all() for w in weights.values()), name
        assert all((weights[layer][~kept] == 0).all() for layer, kept in mask.items()), name
        removed, total = sum(int((~kept).sum()) for kept in mask.values()), sum(kept.size for kept in mask.values())
        assert removed == (round(0.9 * total) if "omp-0.90" in name else 0), name


def test_an_unlearner_keeps_the_mask_that_it_was_given(finished: Project) -> None:
    """Every cell of a sparse state has the mask of that state, but for the oracle that finds its own."""
    given = finished.made(f"{MODELS}/omp-0.90/mask.npz").popitem()[1].read_bytes()
    for unlearner in UNLEARNERS:
        own = finished.made(f"{CELLS}/omp-0.90/{unlearner}/mask.npz").popitem()[1].read_bytes()
        assert (own == given) == (unlearner != "retrain_exact")


def test_job_files_say_what_happened(finished: Project) -> None:
    """job.json has the method's cost, the seed, device, commit, versions and every hyper-parameter of the job."""
    facts = job_files(finished)
    assert len(facts) == len(STATES) * (1 + len(UNLEARNERS))
    for place, job in facts.items():
        assert job["cell"]["seed"] == "0", place
        assert 0 < job["seconds"] < math.inf, place
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", job["commit"]), place
        assert set(job["versions"]) >= {"lacuna", "python", "torch", "numpy"}, place
        assert job["threads"] == 1, place
        assert job["device"], place
        assert job["peak_memory_mb"] > 0, place
        assert job["parameters"]["model"] == {"method": "resnet8", "width": 4}, place
        assert job["parameters"]["recipe"]["weight_decay"] == 5e-4, place  # a default, not in the experiment
        for count in ("steps", "samples", "forwards", "backwards"):
            assert (job[count] > 0) == (not place.endswith("/original")), place
        if place.startswith("cells"):
            assert job["energy_j"] is None and job["energy_j_absent"], place
    ga = facts[f"{CELLS}/omp-0.90/ga"]
    assert ga["parameters"]["unlearner"]["lr"] == 1e-3
    assert ga["parameters"]["unlearner"]["epochs"] == 2
    forgotten = read_npz(finished / "results/splits/digits/seed0/forget/class.npz", "split")["forget"]
    assert ga["steps"] == 2 * math.ceil(len(forgotten) / ga["parameters"]["unlearner"]["batch_size"])
    assert ga["samples"] == 2 * len(forgotten)
    assert ga["forwards"] == ga["backwards"] == ga["steps"]
    assert len({job["random_stream"] for job in facts.values()}) == len(facts)


def test_an_exact_oracle_costs_its_dense_training_too(finished: Project) -> None:
    """The seconds and passes of a sparse retrain_exact include those of the dense one that it was pruned from."""
    facts = job_files(finished)
    for cost in ("seconds", "steps", "samples", "forwards", "backwards"):
        dense, sparse = (facts[f"{CELLS}/{state}/retrain_exact"][cost] for state in STATES)
        assert sparse > dense, cost


def test_experiment_is_stored_as_it_was_resolved(finished: Project) -> None:
    """experiment.json beside the tables has every axis with its defaults filled in."""
    stored = json.loads((finished / "results/tables/tiny/experiment.json").read_text())
    assert stored["seeds"] == [0]
    assert stored["states"] == list(STATES)
    assert stored["grid"]["recipes"]["brief"]["momentum"] == 0.9
    assert list(stored["grid"]["unlearners"]) == sorted(UNLEARNERS)


def test_jobs_keep_far_within_their_limits(finished: Project) -> None:
    """What each job took, libraries included, is well below what it would have asked of a cluster."""
    images = (finished / "results/data/digits/images.safetensors").stat().st_size / 1e6
    (network,) = answer([Question({"method": "resnet8", "width": 16}, {"classes": 10, "shape": [1, 8, 8]})])
    for name, job in job_files(finished).items():
        assert job["peak_memory_mb"] < 0.9 * memory_mb(network, images, gpu=False), name
        assert job["seconds"] < 0.5 * 60 * minutes(network, images, epochs=2, gpu=False), name


def test_every_row_can_be_traced(finished: Project) -> None:
    """provenance.csv has a row for each cell, with what its job and its files say; other tables join it."""
    origin = table(finished, "provenance.csv").set_index(COORDINATES)
    assert origin.index.is_unique
    head = ["git", "-C", str(finished.folder), "rev-parse", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True, check=True)
    for _, row in origin.iterrows():
        job = json.loads((finished / row["job"]).read_text())
        assert row["commit"].removesuffix("-dirty") == commit.stdout.strip() == row["evaluated_at_commit"][:40]
        assert (row["seconds"], row["threads"], row["device"]) == (job["seconds"], job["threads"], job["device"])
        assert (row["torch"], row["random_stream"]) == (job["versions"]["torch"], job["random_stream"])
        folder = (finished / row["job"]).parent
        assert row["model_sha256"] == stored_checksum(folder / "model.safetensors")[1]
        assert row["predictions_sha256"] == stored_checksum(folder / "predictions.npz")[1]
    assert origin["config_hash"].is_unique, "one seed: each cell has its own"
    for name in ("cells.csv", "summary.csv"):
        joined = table(finished, name).merge(origin.reset_index(), on=[c for c in COORDINATES if c != "seed"])
        assert len(joined) == len(table(finished, name))
        assert (joined["config_hash_x"] == joined["config_hash_y"]).all()


def test_the_page_is_sealed_and_has_every_cell(finished: Project) -> None:
    """One page, whose checksum is right, with every cell of the tables and no file of a cell that it could not read."""
    path = finished / "results/report/tiny.html"
    check_page(path, "report/tiny.html")
    text = path.read_text(encoding="utf-8")
    packed = re.search(r'id="cell-files">([^<]*)<', text)
    assert packed is not None
    cells = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert len(cells) == len(table(finished, "provenance.csv")) and all(cell["gaps"] == [] for cell in cells)


def test_report_holds_tables_and_captioned_figures(finished: Project, tmp_path: Path) -> None:
    """snakemake --report makes one page, offline, with every table and a caption of its own for every figure."""
    project = finished.view(tmp_path / "clone")
    done = project.run("--report", "report.html")
    assert done.code == 0, done.output
    page = (project / "report.html").read_text(encoding="utf-8")
    tables = ("cells", "layers", "summary", "ranks", "disagreement", "sparsity", "missing", "provenance")
    for name in (*(f"{table}.csv" for table in tables), *(f"{figure}.svg" for figure in DRAWN)):
        assert name in page
    for words in (
        "in long form",
        "95 % t interval",
        "Kendall's W",
        "the reverse",
        "Does a sparse model forget better?",
        "leave out",
        "The job behind each cell",
        "dense beside sparse",
        "against sparsity",
        "Samples that the method read",
        "The share of removed weights in each layer",
    ):
        assert words in page


def test_no_debris_and_nothing_pickled(finished: Project) -> None:
    """Results are of known kinds, none of them pickled, and no temporary file is left."""
    made = finished.made("**/*")
    kinds = {
        ".safetensors",
        ".npz",
        ".json",
        ".csv",
        ".svg",
        ".pdf",
        ".png",
        ".log",
        ".tsv",
        ".jsonl",
        ".html",
        ".md",
        ".tex",
    }
    assert {Path(name).suffix for name in made} == kinds
    assert not [name for name in made if Path(name).name.startswith(".")]


def test_two_clones_give_the_same_bytes(finished: Project, second: Project) -> None:
    """In two clones every model is the same file, and every metric but time is the same number."""
    for pattern in ("**/model.safetensors", "**/rewind.safetensors", "data/*/*", "**/mask.npz"):
        ours, theirs = ({k: v.read_bytes() for k, v in clone.made(pattern).items()} for clone in (finished, second))
        assert ours, pattern
        assert ours == theirs, pattern
    ours, theirs = (table(clone, "cells.csv") for clone in (finished, second))
    timed = ours["metric"].str.startswith(TIMES)
    assert timed.any()
    pd.testing.assert_frame_equal(ours[~timed], theirs[~timed], check_exact=True)
    pd.testing.assert_frame_equal(ours[timed].drop(columns="value"), theirs[timed].drop(columns="value"))


@pytest.mark.parametrize(
    ("grid", "planned"),
    [
        pytest.param(
            {"sparsities": [0.9]},
            {"train": 1, "prune": 1, "unlearn": 2, "retrain": 1, "retrain_exact_dense": 1, "retrain_exact": 1},
            id="no dense state",
        ),
        pytest.param(
            {"sparsities": ["dense"], "pruners": None},
            {"train": 1, "unlearn": 2, "retrain": 1, "retrain_exact_dense": 1},
            id="no sparse state",
        ),
    ],
)
def test_a_grid_needs_no_dense_and_no_sparse_state(fresh: Project, tmp_path: Path, grid: dict, planned: dict) -> None:
    """A grid of sparse states alone, or of the dense one alone, plans what its cells need and no other cell."""
    project = fresh.view(tmp_path / "clone")
    project.choose(changed(**grid))
    plan = project.plan()
    assert plan.code == 0, plan.output
    always = {"ingest": 1, "split": 1, "choose_forget_set": 1, "random_init": 1, "evaluate": 4}
    always |= {"aggregate": 1, "table": 5, "record": 1, "answer": 1}
    # sparsity by layer is of sparse states
    always |= {"figure": len(DRAWN) - ("pruners" in grid), "html_report": 1}
    assert plan.counts == planned | always


def test_a_forked_run_is_one_of_its_own(fresh: Project, tmp_path: Path) -> None:
    """It plans the same jobs and ends as a process from the start does, whether all is well or not."""
    project = fresh.view(tmp_path / "clone")
    for target, code in (("tables", 0), ("no/such/file", 1)):
        forked, started = project.plan(target), project.ended(project.start("--dry-run", target))
        assert forked.code == started.code == code, forked.output
        assert (forked.jobs, forked.counts) == (started.jobs, started.counts)
        assert bool(forked.jobs) == ("no/such/file" not in forked.output) == ("no/such/file" not in started.output)


def test_lint_is_clean(fresh: Project) -> None:
    """snakemake --lint has nothing to say about the default experiment."""
    done = fresh.run("--lint", "--configfile", "config/config.yaml")
    assert done.code == 0, done.output


def test_recipes_are_compared_where_there_are_two(finished: Project, tmp_path: Path) -> None:
    """A second recipe adds its cells and the table that compares; an experiment with one has no such table."""
    assert not finished.made("tables/*/recipes.csv")
    project = finished.view(tmp_path / "clone")
    project.choose(changed(recipes={"quick": {"method": "fast", "epochs": 2}}))
    planned = project.plan()
    assert "table recipes of tiny" in planned.jobs, planned.output
    assert "train resnet8 on digits, quick, seed 0" in planned.jobs
    assert not [job for job in planned.jobs if "brief" in job]
