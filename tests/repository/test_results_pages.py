"""The tables of docs/results are those of the CSV files next to them, and no sentence of a study has lost its page."""

import json
import math
import re
import sys

import pandas as pd
import pytest
from places import ROOT

sys.path.insert(0, str(ROOT))

from bench.by_recipe import differences
from lacuna.commands.findings import read_findings
from lacuna.errors import LacunaError
from lacuna.experiment.config import load
from lacuna.experiment.foresight import limits_of
from lacuna.reporting.tables.files import read_table

RESULTS = ROOT / "docs/results"
STATES = {"dense": "0.00", "0.90": "0.90", "0.95": "0.95"}


def tables_of(page):
    """Every Markdown table: the heading or paragraph before it, its header, and its rows of cells."""
    text = (RESULTS / page).read_text(encoding="utf-8")
    found = []
    for block in re.finditer(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE):
        before = text[: block.start()].strip().rpartition("\n\n")[2]
        rows = [[c.strip() for c in line.strip("|").split("|")] for line in block[0].strip().splitlines()]
        found.append((before, rows[0], rows[2:]))
    return found


def numbers(text):
    return [float(n) for n in re.findall(r"[+-]?\d+(?:\.\d+)?", text.replace("−", "-").replace("`", ""))]


def one(table, **where):
    """The row with these values."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, where
    return table.iloc[0]


def same(shown, value, decimals=1):
    assert abs(shown - value) <= 0.5 * 10**-decimals + 1e-9, (shown, value)
    return 1


def test_three_seeds():
    """Mean gaps to both oracles, the arrows of their verdicts, and the twins' row."""
    summary = read_table(RESULTS / "three_seeds/summary.csv")
    before, header, rows = tables_of("default.md")[1]
    assert "second run" in before
    states = ["dense", "0.90", "0.95"] * 2
    read = 0
    for label, *cells in rows[:-1]:  # the last row, Kendall's W, is of ranks.csv
        for position, (state, cell) in enumerate(zip(states, cells, strict=True)):
            place = {"scenario": "class" if position < 3 else "random", "sparsity": STATES[state]}
            for oracle, shown in zip(("retrain", "retrain_exact"), cell.split("/"), strict=True):
                who = f"{oracle}_b" if label.startswith("second") else label
                row = one(summary, unlearner=who, metric=f"avg_gap/{oracle}", **place)
                read += same(*numbers(shown), row["mean"], decimals=2)
                assert ("↑" in shown) == (row[f"gap_{oracle}_verdict"] == "farther"), (label, position)
    assert read == 72 and header[1] == "class: dense"


def test_mia_sensitivity():
    """Both kinds of table, dense and 0.95."""
    summary = read_table(RESULTS / "mia_sensitivity/summary.csv")
    read = 0
    for before, header, rows in tables_of("mia_sensitivity.md"):
        sparsity = "0.95" if "0.95 sparse" in before else "0.00"
        for label, *cells in rows:
            for column, cell in zip(header[1:], cells, strict=True):
                where = {"unlearner": label.strip("`"), "sparsity": sparsity}
                if "%" in column:
                    share = f"random_{numbers(column)[0] / 100:.3f}"
                    row = one(summary, metric="MIA", scenario=share, **where)
                    mean, half = numbers(cell)
                    read += same(mean, row["mean"]) + same(half, row["ci_high"] - row["mean"])
                else:
                    row = one(summary, metric=f"MIA_ratio_{column}", scenario="random_0.100", **where)
                    read += same(*numbers(cell), row["mean"], decimals=0)
    assert read == 2 * 25 + 4 * 25


def test_cifar10_small():
    """The changes from dense to sparse against exact retraining, and what stands behind the gaps."""
    changes = read_table(RESULTS / "cifar10_small/sparsity.csv")
    summary = read_table(RESULTS / "cifar10_small/summary.csv")
    read = 0
    for before, header, rows in tables_of("cifar10_small.md"):
        named = re.findall("class|random", header[0]) or re.findall(r"MIA, (class|random)", before)
        scenario = named[0] if named else ""
        for label, *cells in rows:
            who = {"unlearner": label.strip("`"), "scenario": scenario}
            if header[-1] == "0.95 − dense":
                for state, cell in zip(("0.90", "0.95"), cells[3:], strict=True):
                    row = one(changes, sparsity=state, metric="avg_gap/retrain_exact", **who)
                    found = numbers(cell.partition(" (")[0])
                    expected = [row["change"], row["change_low"], row["change_high"]][: len(found)]
                    read += sum(same(*pair) for pair in zip(found, expected, strict=True))
            elif scenario and header[1:] == ["dense", "0.90", "0.95"]:
                for state, cell in zip(header[1:], cells, strict=True):
                    for metric, shown in zip(("UA", "RA", "TA", "MIA"), numbers(cell), strict=True):
                        read += same(shown, one(summary, sparsity=STATES[state], metric=metric, **who)["mean"], 0)
    assert read > 2 * (7 * 2 * 3 - 2) + 9 * 3 * 4


def test_memorising_precision():
    """Both tables of bfloat16 against float32, from the differences and the CPU seconds; these from the cells."""
    folder = RESULTS / "memorising_precision"
    changes, cells = read_table(folder / "differences.csv"), read_table(folder / "cells.csv")
    study = read_table(RESULTS / "memorising/cells.csv")
    pd.testing.assert_frame_equal(
        differences(cells, "by_heart", "by_heart_fp32"), changes, check_dtype=False, atol=2e-4, rtol=0
    )
    seconds = pd.read_csv(folder / "cpu.csv", dtype={"state": str})
    seconds = seconds.pivot(index=["state", "what", "seed"], columns="recipe", values="cpu_seconds").dropna()
    read = 0
    for _, header, rows in tables_of("memorising.md"):
        for label, *found in rows:
            who, _, state = label.replace("`", "").partition(", ")
            if label.startswith("second run"):
                place = {"seed": 0, "scenario": "random", "sparsity": STATES[state.partition(" ")[0]]}
                for metric, cell in zip(header[1:], found, strict=True):
                    runs = (one(study, unlearner=run, metric=metric, **place) for run in ("retrain_b", "retrain"))
                    second, first = (run["value"] for run in runs)
                    read += same(*numbers(cell), second - first)
            elif header[1:] == ["UA", "RA", "TA", "MIA"]:
                for metric, cell in zip(header[1:], found, strict=True):
                    row = one(changes, unlearner=who, sparsity=STATES[state], metric=metric)
                    expected = [row["change"], row["change_low"], row["change_high"]]
                    read += sum(same(*pair) for pair in zip(numbers(cell), expected, strict=True))
            elif header[1] == "trainings":
                place = (state.replace("0.95", "omp-0.95"), who.replace("retrain", "oracle"))
                both = seconds.loc[place]
                ours, theirs = both["by_heart"].mean(), both["by_heart_fp32"].mean()
                assert numbers(found[0]) == [len(both)]
                read += same(*numbers(found[1]), ours) + same(*numbers(found[2]), theirs)
                read += same(*numbers(found[3]), ours / theirs, decimals=2)
    assert read == 4 * 4 * 3 + 4 * 3 + 2 * 4


def test_population_digits():
    """Values and differences from the twin, number by number; what the CSV has no value of is an empty field."""
    table = read_table(RESULTS / "population_digits/population.csv").set_index(["unlearner", "sparsity", "metric"])
    read = 0
    for _, header, rows in tables_of("population_digits.md"):
        if header[0] not in ("value", "more than the twin"):
            continue
        names = ["value", "low", "high"] if header[0] == "value" else ["more", "more_low", "more_high"]
        for label, *cells in rows:
            for head, cell in zip(header[1:], cells, strict=True):
                metric, _, state = head.partition(", ")
                key = (label.strip("`"), STATES[state], metric)
                row = table.loc[key] if key in table.index else dict.fromkeys(names, math.nan)
                assert bool(cell) != math.isnan(row[names[0]]), key
                decimals = 2 if metric.startswith("klom") else 3
                for name, shown in zip(names, numbers(cell), strict=False):
                    read += same(shown, row[name], decimals)
    assert read == 3 * table[["value", "more"]].notna().sum().sum() > 0


def test_backdoor_wide():
    """The steps that were timed."""
    timed = pd.read_csv(RESULTS / "backdoor_wide/steps.csv")
    (rows,) = [rows for before, header, rows in tables_of("backdoor_wide.md") if header[0] == "network"]
    for row, (name, *cells) in zip(timed.itertuples(index=False), rows, strict=True):
        assert name == f"`{row.model}`, width {row.width}"
        shown = [float(cell.replace(",", "")) for cell in cells]
        assert shown == [row.parameters, row.bf16_s, row.fp32_s]


@pytest.mark.parametrize("row", read_findings(RESULTS / "findings.csv"), ids=lambda row: row["question"][:60])
def test_a_finding_has_its_page_and_its_experiment(row):
    page = RESULTS / f"{row['study']}.md"
    assert page.exists()
    for name in re.findall(r"config/experiments/\w+\.yaml", row["command"]):
        assert (ROOT / name).exists()
    assert row["setting"] and row["command"], "how was it made?"
    if row["kind"] == "reported" and row["effect"]:
        # the page that reports it has the number
        text = page.read_text(encoding="utf-8").replace("−", "-").replace(",", "")
        shown = [row["effect"], *filter(None, (row["low"], row["high"]))]
        assert all(number in text for number in shown), shown


def test_a_study_of_the_first_version_says_so():
    """Its page begins with it, or the table does."""
    for row in read_findings(RESULTS / "findings.csv"):
        if row["state"] == "withdrawn":
            text = (RESULTS / f"{row['study']}.md").read_text(encoding="utf-8")
            assert "0.1" in text.split("\n\n")[1], row["study"]


def test_means_lie_in_their_intervals():
    """What every committed table owes its readers."""
    for path in sorted(RESULTS.rglob("summary.csv")):
        table = pd.read_csv(path)
        known = table.dropna(subset=["mean", "ci_low", "ci_high"])
        # a study with fewer seeds has no interval
        assert len(known) or (table["n"] < 3).all(), path
        assert ((known["ci_low"] <= known["mean"] + 1e-9) & (known["mean"] <= known["ci_high"] + 1e-9)).all()
        assert not known["mean"].map(math.isinf).any()


def test_the_tutorial_shows_the_numbers_of_the_default_experiment():
    """Its screen of `lacuna answer` has the gaps of docs/results/default.md, which another run made."""
    screen = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    rows = {row[0]: row[1:4] for row in tables_of("default.md")[0][2]}
    read = 0
    for position, state in enumerate(("dense", "omp-0.90", "omp-0.95")):
        for label in ("original", "ft", "ga", "rl", "l1_sparse"):
            line = re.search(rf"^  {state} +{label} +(\d[^±]*)$", screen, flags=re.MULTILINE)[1]
            gaps = [float(n) for n in re.findall(r"(?<![+\d.])\d+\.\d\d", line.replace("−", "+"))]
            gaps = gaps if len(gaps) == 2 else [g for g in gaps if g][:2]
            assert gaps == numbers(rows[label][position]), (label, state)
            read += 1
    assert read == 15


def test_the_tutorials_experiment_is_in_order(known, tmp_path):
    """What `lacuna check` and the plan print of it, and of its mistake, is what the page shows."""
    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(re.search(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)[1], encoding="utf-8")
    ask = ([ROOT / "config/config.yaml", file], {}, ROOT / "workflow/schemas/config.schema.yaml", known)
    experiment = load(*ask)
    assert f"{experiment.name}: in order, {sum(1 for _ in experiment.cells())} cells" in page
    assert all(f"note: {note}" in page for note in limits_of(experiment))
    file.write_text(file.read_text().replace("ft: {batch_size", "ft: {batchsize"))
    with pytest.raises(LacunaError) as error:
        load(*ask)
    assert str(error.value).partition("grid.")[2].partition("; allowed")[0] in page


# rows of speed.md: the part and the two ways of speed.json
SPEED = {
    "epoch of training, fp32": ("train", "plain", "fp32"),
    "epoch of training, bf16": ("train", "plain", "bf16"),
    "evaluation of a cell": ("evaluate", "plain", "lacuna"),
    "batches of an epoch": ("data", "plain", "lacuna"),
    "logits: batches of 1,000": ("predict", "batches of 1,000", "lacuna"),
}


def test_speed():
    """Every row of the comparison with plain code, the machine, and the shares of its limits are of one run."""
    run = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))["speed"]
    before, header, rows = tables_of("speed.md")[0]
    assert header[1:] == ["plain, s", "lacuna, s", "times as fast (least to greatest of five)"] and run["repeats"] == 5
    read = 0
    for (label, *cells), (name, (part, plain, ours)) in zip(rows, SPEED.items(), strict=True):
        assert label.startswith(name)
        kinds, times = run["parts"][part]["seconds"], run["parts"][part]["times as fast"][ours]
        for shown, way in zip(cells, (plain, ours), strict=False):
            read += same(*numbers(shown), kinds[way]["median"], len(shown.partition(".")[2]))
        decimals = len(cells[2].split()[0].partition(".")[2])
        for shown, kind in zip(numbers(cells[2]), ("median", "min", "max"), strict=True):
            read += same(shown, times[kind], decimals)
    assert read == 5 * 5
    text = (RESULTS / "speed.md").read_text(encoding="utf-8")
    load, torch = re.search(r"load (\d+)", before), re.search(r"PyTorch ([\d.]+)", before)
    assert load and float(load[1]) == round(run["machine"]["load"])
    assert torch and run["machine"]["torch"].startswith(torch[1])
    limits, share = run["limits"], run["parts"]["train"]["share of the convolution's rate"]
    shown = re.search(
        r"(\d+) GFLOP/s in fp32 and (\d+) in bf16.*?(\d+) % in fp32, (\d+) % in bf16.*?(\d+) %", text, re.S
    )
    assert shown
    expected = [limits[f"convolution, {kind}, GFLOP/s"] for kind in ("fp32", "bf16")]
    expected += [100 * share[way] for way in ("fp32", "bf16", "plain")]
    assert sum(same(float(a), b, 0) for a, b in zip(shown.groups(), expected, strict=True)) == 5
