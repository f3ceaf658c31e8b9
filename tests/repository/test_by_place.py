"""bench/by_place.py: every place has its own values, and the tables of a page are those of the CSV files beside it."""

import importlib.util
import itertools
import json
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from places import ROOT

from lacuna.experiment import catalogue
from lacuna.experiment.config import load
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table

FILE = ROOT / "config/experiments/memorising.yaml"
_SPEC = importlib.util.spec_from_file_location("by_place", ROOT / "bench/by_place.py")
by_place = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(by_place)
PAGES = [page for page in sorted(by_place.PAGES.glob("*.md")) if by_place.MARKS[0] in page.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def experiment():
    return by_place.read_yaml(FILE)


def test_each_place_is_an_experiment_with_its_own_values(experiment, tmp_path):
    names = list(by_place.places(experiment))
    study = {"best": 1, "trials": [{"values": {"lr": 0.05}}, {"values": {"lr": 0.2, "schedule": "constant"}}]}
    known, files = json.loads(json.dumps(catalogue.describe())), []
    for name in names:
        made = by_place.at_place(experiment, name, [0, 1], {names[2]: {"ft": study}})
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(by_place.as_yaml(made, ""), encoding="utf-8")
    schema = ROOT / "workflow/schemas/config.schema.yaml"
    loaded = [load([ROOT / "config/config.yaml", file], {}, schema, known) for file in files]
    assert [(*e.axes["scenarios"], *e.states) for e in loaded] == [
        *itertools.product(["random", "class"], ["dense", "omp-0.90", "omp-0.95"])
    ]
    for number, one in enumerate(loaded):
        oracles = ["original", "retrain", "retrain_exact", "retrain_b", "retrain_exact_b"]
        # a place without values has no method yet, and no other's
        assert list(one.axes["unlearners"]) == oracles + (["ft_tuned"] if number == 2 else [])
    tuned = loaded[2].entry("unlearners", "ft_tuned")
    assert (tuned.method, tuned.values["lr"], tuned.values["schedule"]) == ("ft", 0.2, "constant")
    assert tuned.values["epochs"] == experiment["grid"]["unlearners"]["ft"]["epochs"]


def test_the_search_of_a_place_is_of_its_scenario_and_sparsity_alone(experiment):
    made = by_place.at_place(experiment, "memorising_class_0.95", None, {})
    assert made["tuning"] == experiment["tuning"]
    assert list(made["grid"]["scenarios"]) == ["class"] and made["grid"]["sparsities"] == ["0.95"]
    assert not set(made["tuning"]["seeds"]) & set(made["grid"]["seeds"])
    assert made["grid"]["unlearners"] == experiment["grid"]["unlearners"]


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_its_jobs_before_this_process(kind, tmp_path):
    """The stand-in for Snakemake has a job that notes the signal; neither outlives the one who started them."""
    job = f"import signal, sys, pathlib, time; noted = pathlib.Path({str(tmp_path / 'noted')!r})\n"
    job += "signal.signal(signal.SIGTERM, lambda *_: (noted.write_text('told'), sys.exit(1)))\n"
    job += f"pathlib.Path({str(tmp_path / 'there')!r}).touch(); time.sleep(60)"
    (tmp_path / "snakemake.py").write_text(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {job!r}])")
    main = f"import sys; sys.path.insert(0, {str(ROOT / 'bench')!r}); import by_place, pathlib\n"
    main += f"by_place.ROOT = pathlib.Path({str(tmp_path)!r}); by_place.Runs(1)({{'name': 'x'}}); print('went on')"
    started = subprocess.Popen([sys.executable, "-c", main], stdout=subprocess.PIPE, cwd=tmp_path)
    while not (tmp_path / "there").exists():
        assert started.poll() is None
        time.sleep(0.02)
    started.send_signal(kind)
    try:
        out, _ = started.communicate(timeout=60)
    finally:
        started.kill()
    assert (started.returncode, out) == (128 + kind, b"")
    assert (tmp_path / "noted").read_text() == "told"


def cells(seeds, labels):
    """Values that differ in every coordinate, of one scenario, dense and 0.90."""
    rows = []
    for (s, state), seed, (u, label) in itertools.product(
        enumerate([("dense", "0.00"), ("omp", "0.90")]), seeds, enumerate(labels)
    ):
        where = ("d", "m", "r", seed, "class", *state, label)
        for m, metric in enumerate([*by_place.ACCURACIES, "avg_gap/retrain"]):
            value = 10 * m + u + 0.3 * s + (0.1 * u + 0.1) * seed * (1 + s)
            rows.append((*where, metric, 0.0 if metric == f"avg_gap/{label}" else value))
    columns = ["dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def page_of(seeds):
    contest = Contest(
        cells(seeds, ["original", "retrain", "retrain_b", "ft_tuned"]), ["retrain"], {"retrain_b": "retrain"}
    )
    better = dict.fromkeys(by_place.ACCURACIES, "oracle") | {"avg_gap": "lower"}
    return by_place.page_tables(summary_table(contest), sparsity_table(contest, better))


def test_a_page_without_intervals_has_means_alone():
    page = page_of([0, 1])
    # seed 0 and 1: 3 + 0 and 3 + 0.4 dense; 3.3 + 0 and 3.3 + 0.8
    assert "| `ft` | 3.2 / 13.2 / 23.2 / 33.2 | 3.7 / 13.7 / 23.7 / 33.7 |" in page
    assert "| `ft` | 43.2 | 43.7 | +0.5 |" in page and "±" not in page and "[" not in page


def test_a_page_with_three_seeds_has_intervals():
    # deviations 0.4 and 0.8 around seed 1; t of two degrees of freedom is 4.303; / √3
    assert "| `ft` | 43.4 ± 1.0 | 44.1 ± 2.0 | +0.7 [-0.3, +1.7] |" in page_of([0, 1, 2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_those_of_its_csv(page):
    """Read from the page, number by number, beside the tables that the page is of."""
    text = page.read_text(encoding="utf-8")
    text = text[slice(*(text.index(mark) for mark in by_place.MARKS))].removeprefix(by_place.MARKS[0])
    if not (page.with_suffix("") / "summary.csv").exists():
        assert not text.strip(), "tables of no cells"
        return
    summary = read_table(page.with_suffix("") / "summary.csv")
    changes = read_table(page.with_suffix("") / "sparsity.csv")
    read = 0
    for part in text.split("### ")[1:]:
        head, _, table = part.partition("\n")
        scenario, what = re.fullmatch(r"(\w+): (.*)", head).groups()
        lines = [[field.strip() for field in line.strip("|").split("|")] for line in table.strip().split("\n")]
        oracle = re.search("`(.*)`", what)
        metrics = [f"avg_gap/{oracle[1]}"] if oracle else by_place.ACCURACIES
        for label, *fields in lines[2:]:
            for state, field in zip(lines[0][1:], fields, strict=True):
                sparsity = state.split(" ")[0].replace("dense", "0.00")
                rows = changes if "−" in state else summary
                method = rows["unlearner"].str.removesuffix("_tuned") == label.strip("`")
                rows = rows[method & (rows["scenario"] == scenario) & (rows["sparsity"] == sparsity)]
                rows = rows.set_index("metric").loc[[m for m in metrics if m in set(rows["metric"])]]
                if "−" in state:
                    names = ["change", "change_low", "change_high"]
                    expected = rows[names].to_numpy().ravel()
                elif oracle:
                    expected = [*rows["mean"], *(rows["ci_high"] - rows["mean"])]
                else:
                    expected = [*rows["mean"]]
                expected = [value for value in expected if not pd.isna(value)]
                found = [float(number) for number in re.findall(r"[+-]?\d+\.\d+", field)]
                assert found == pytest.approx(expected, abs=0.0501), (head, label, state)
                read += len(found)
    assert read >= 2 * len(by_place.ACCURACIES)


def test_the_sizes_that_were_tried_are_those_of_the_csv():
    page = (by_place.PAGES / "memorising.md").read_text(encoding="utf-8")
    tried = pd.read_csv(by_place.PAGES / "memorising/sizing.csv")
    rows = re.findall(r"^\| (\d+ \| \d+ \|.*) \|$", page, flags=re.MULTILINE)
    found = [[float(n) for n in re.findall(r"[\d.]+", row)] for row in rows]
    assert found == [[v for v in row if not pd.isna(v)] for row in tried.to_numpy().tolist()] and len(found) == 6
