"""bench/study: what the parts and figures of a study's page say, computed by hand from cells of known values."""

import itertools
import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from places import ROOT

sys.path.insert(0, str(ROOT))

from bench import by_place
from bench.study import figures, page, seeds, tables
from lacuna.artifacts.files import write_json
from lacuna.reporting.published.compare import read_published
from lacuna.reporting.tables.files import read_table

ORACLES, TWINS = ["retrain", "retrain_exact"], {"retrain_b": "retrain", "retrain_exact_b": "retrain_exact"}
# of seeds 0 to 4, around 0
NOISE = np.array([-0.2, 0.1, 0.0, 0.3, -0.2])
STATES = [("dense", "0.00"), ("omp", "0.95")]


def cells(values):
    """One metric after the other of one scenario. values: by label, pruner and metric, one number for each seed."""
    rows = [
        ("d", "m", "r", seed, "class", pruner, dict(STATES)[pruner], label, metric, float(value), 0)
        for (label, pruner, metric), of in values.items()
        for seed, value in enumerate(of)
    ]
    names = ["dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner", "metric", "value"]
    return pd.DataFrame(rows, columns=[*names, "unchanged"])


def test_a_leak_is_what_lies_beyond_the_second_run_of_the_exact_oracle():
    gap = "avg_gap/retrain_exact"
    of = {("retrain_exact", "omp", gap): [0.0] * 5, ("retrain_exact_b", "omp", gap): 1.0 + NOISE}
    for extra, verdict in ((4.0, "farther"), (0.05, "not shown")):
        # more than the second run, seed by seed: extra ± 0.1
        more = extra + np.array([0.1, -0.1, 0.0, 0.1, -0.1])
        made = cells(of | {("retrain", "omp", gap): 1.0 + NOISE + more, ("ft", "omp", gap): [50.0] * 5})
        (row,) = tables.leak_table(made, ORACLES, TWINS).to_dict("records")
        assert (row["unlearner"], row[f"{gap.replace('avg_', '').replace('/', '_')}_verdict"]) == ("retrain", verdict)
        assert (row["mean"], row["gap_retrain_exact_floor"]) == (pytest.approx(1 + extra), pytest.approx(1.0))
    assert tables.leak_table(made, ["retrain"], {}).empty


def test_verdicts_of_a_leak_are_adjusted_over_the_sparse_places():
    """Four places with the same evidence each: p of one test would show it, four of them do not."""
    gap = "avg_gap/retrain_exact"
    more = np.array([0.4, 1.4, 0.9, 2.2, 0.4])
    of = {("retrain_exact", "omp", gap): [0.0] * 5, ("retrain_exact_b", "omp", gap): 1.0 + NOISE}
    one = cells(of | {("retrain", "omp", gap): 1.0 + NOISE + more})
    every = pd.concat([one.assign(sparsity=sparsity) for sparsity in ("0.00", "0.50", "0.75", "0.90", "0.95")])
    table = tables.leak_table(every, ORACLES, TWINS).set_index("sparsity")
    (alone,) = tables.leak_table(one, ORACLES, TWINS)["gap_retrain_exact_excess_p"]
    assert 0.0125 < alone < 0.05
    dense, *sparse = table["gap_retrain_exact_excess_p"]
    assert (dense, sparse) == (pytest.approx(alone), [pytest.approx(4 * alone)] * 4)
    assert list(table["gap_retrain_exact_verdict"]) == ["farther", *["not shown"] * 4]


def test_a_published_change_is_confirmed_refuted_or_open():
    ours = {"change": -3.0, "change_low": -4.0, "change_high": -2.0, "floor_of_mean": 1.9, "verdict": "closer"}
    assert tables.word_of(-1.0, ours) == "confirmed"
    assert tables.word_of(1.0, ours) == "refuted"
    # the near end lies inside the floor, or the interval over 0, or nothing is known of either
    assert tables.word_of(-1.0, ours | {"floor_of_mean": 2.0}) == "open"
    assert tables.word_of(-1.0, ours | {"change_high": 0.1}) == "open"
    assert tables.word_of(-1.0, ours | {"floor_of_mean": np.nan}) == "open"
    assert tables.word_of(-1.0, ours | {"change_low": np.nan, "change_high": np.nan}) == "open"
    # what is shown of one method alone is not shown of all of them
    assert tables.word_of(1.0, ours | {"verdict": "not shown"}) == "open (by its interval alone refuted)"
    farther = {"change": 3.0, "change_low": 2.0, "change_high": 4.0, "floor_of_mean": 1.9, "verdict": "farther"}
    assert (tables.word_of(-1.0, farther), tables.word_of(1.0, farther)) == ("refuted", "confirmed")


def test_published_and_own_changes_meet_by_what_they_are():
    """The published gaps of ft under class forgetting are 25.78 dense and 11.50 at 0.95."""
    row = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "one", "pruner": "omp", "sparsity": "0.95"}
    row |= {"unlearner": "tuned", "metric": "avg_gap/retrain", "change": -3.0, "change_low": -4.0, "change_high": -2.0}
    row |= {"floor_of_mean": 0.5, "p": 0.01, "verdict": "closer", "n": 5}
    others = [{"metric": "avg_gap/retrain_exact"}, {"metric": "UA"}, {"sparsity": "0.90"}, {"unlearner": "other"}]
    changes = pd.DataFrame([row, *({**row, **other} for other in others)])
    grid = {"scenarios": {"one": {"method": "class", "forget_class": 3}}}
    grid["unlearners"] = {"tuned": {"method": "ft", "lr": 0.1}, "other": {"method": "scrub"}}
    published = read_published(tables.CLAIMS)
    (claim,) = tables.claims_table(changes, grid, published, 5).to_dict("records")
    assert (claim["published_dense"], claim["published_sparse"], claim["published_change"]) == (25.78, 11.50, -14.28)
    assert (claim["unlearner"], claim["word"]) == ("tuned", "confirmed")
    (claim,) = tables.claims_table(changes, grid, published, 6).to_dict("records")
    assert claim["word"] == "no verdict: 5 of 6 seeds"
    # a fifth is another forget set than the published tenth
    grid["scenarios"]["one"] = {"method": "random", "fraction": 0.2}
    assert tables.claims_table(changes, grid, published, 5).empty


def test_a_network_counts_once_and_an_interrupted_job_by_all_of_its_seconds(tmp_path):
    places = [
        f"d/m/r/seed0/{scenario}/dense/{label}" for scenario in ("class", "random") for label in ("original", "ft")
    ]
    for path, cpu, wall, seconds in (
        ("models/d/m/r/seed0/dense", 1800.0, 2000.0, 1900.0),
        # its file has the second half alone
        (f"cells/{places[1]}", 360.0, 400.0, 800.0),
        (f"cells/{places[2]}", 0.0, 0.1, 0.0),
        (f"cells/{places[3]}", 360.0, 400.0, 390.0),
    ):
        file = tmp_path / "benchmarks" / f"{path}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\tcpu_time\n{wall}\t{cpu}\n")
        write_json(tmp_path / path / "job.json", {"seconds": seconds})
    rows = [dict(zip(("scenario", "unlearner"), place.split("/")[4::2], strict=True)) for place in places]
    where = {"dataset": "d", "model": "m", "recipe": "r", "seed": 0, "pruner": "dense", "sparsity": "0.00"}
    table = pd.DataFrame(rows).assign(**where, job=[f"results/cells/{place}/job.json" for place in places])
    (cost,) = tables.cost_table(seeds.with_cpu_seconds(table, tmp_path)).to_dict("records")
    # 1800 of the network, 2 · 360, 0 and 360; of the first `original` no file is left
    assert (cost["jobs"], cost["measured"], cost["cpu_hours"]) == (5, 4, pytest.approx(0.8))
    told = page.hours(pd.DataFrame([cost]))
    assert told.startswith("CPU time of 4 of 5 jobs: 0.8 hours")
    assert tables.cost_table(table)["measured"].tolist() == [0] and page.hours(tables.cost_table(table)) == ""


def test_an_un_pruned_mask_is_compared_with_the_fixed_one_it_went_around():
    iou = "mask_iou/retrain_exact"
    of = {("ft_tuned", "omp", iou): 0.10 + NOISE / 100, ("retrain_exact_b", "omp", iou): [0.12] * 5}
    nearer = cells(of | {("unprune.ft_tuned.p10.r3", "omp", iou): 0.13 + NOISE / 50})
    (row,) = tables.overlap_table(nearer, ORACLES, TWINS).to_dict("records")
    assert (row["base"], row["n"], row["verdict"], row["twin"]) == ("ft_tuned", 5, "closer", pytest.approx(0.12))
    # by hand: deviations of the differences are NOISE / 100; t of four degrees of freedom is 2.776
    assert row["change"] == pytest.approx(0.03)
    assert row["change_high"] - row["change"] == pytest.approx(2.776 * np.std(NOISE / 100, ddof=1) / 5**0.5, abs=1e-6)
    farther = nearer.assign(value=nearer["value"] - 0.06 * nearer["unlearner"].str.startswith("unprune"))
    assert tables.overlap_table(farther, ORACLES, TWINS)["verdict"].tolist() == ["farther"]
    fixed = cells(of | {("unprune.ft_tuned.p0.r3", "omp", iou): 0.10 + NOISE / 100})
    assert tables.overlap_table(fixed, ORACLES, TWINS)["verdict"].tolist() == ["the same mask"]


def test_an_un_pruning_is_named_without_what_all_share():
    shared = "finetune_batch_size_32.finetune_epochs_4.finetune_lr_0.05"
    assert page.name_of(f"unprune.ft_tuned.p10.r3.{shared}.grow_random") == "unprune.ft.p10.r3.grow_random"
    assert page.name_of(f"unprune.ft.p0.r3.{shared}") == "unprune.ft.p0.r3"


def whole_study(needed=5):
    """A study of two scenarios with every table, and its definition."""
    rng = np.random.default_rng(0)
    labels = ["original", *ORACLES, *TWINS, "ft_tuned", "iu_tuned"]
    metrics = ["UA", "RA", "TA", "MIA", *(f"avg_gap/{oracle}" for oracle in ORACLES)]
    level = {label: 10.0 + 5 * i for i, label in enumerate(labels)}
    values = {
        (label, pruner, metric): np.zeros(5)
        if metric == f"avg_gap/{label}"
        else level[label] + (15 if label == "ft_tuned" else 3) * (pruner == "omp") + rng.normal(size=5)
        for label, (pruner, _), metric in itertools.product(labels, STATES, metrics)
    }
    one = cells(values).assign(config_hash="h", note=None)
    every = pd.concat([one, one.assign(scenario="random", value=one["value"] * 2)], ignore_index=True)
    grid = {"scenarios": {"class": {"method": "class"}, "random": {"method": "random", "fraction": 0.1}}}
    grid["unlearners"] = {label: {"method": label.removesuffix("_tuned")} for label in labels}
    better = {**dict.fromkeys(["UA", "RA", "TA", "MIA"], "oracle"), "avg_gap": "lower"}
    whole = {
        "places": {"p": {"grid": grid, "judging": {"oracles": ORACLES, "twins": TWINS, "better": better, "costs": []}}}
    }
    jobs = every.drop_duplicates(["seed", "scenario", "pruner", "unlearner"])
    made = {
        "cells": every,
        "missing": pd.DataFrame(
            columns=["dataset", "model", "recipe", "seed", "scenario", "state", "reason"], dtype=str
        ),
        "provenance": jobs,
    }
    made |= tables.followed(every, jobs, whole, needed)
    expected = {(scenario, sparsity): len(labels) for scenario in ("class", "random") for _, sparsity in STATES}
    return page.Study("study", made, needed, expected), whole


@pytest.fixture(scope="module")
def study():
    return whole_study()


def test_no_part_has_a_verdict_before_the_last_seed(study):
    made, whole = study
    verdict = re.compile(r"\b(closer|farther|confirmed|refuted|open|not shown)\b")
    parts = ("answer", "claims", "leak", "tables")
    shown = {part: verdict.search("\n".join(page.PARTS[part](made)[2:])) for part in parts}
    assert all(shown.values())
    few = made._replace(needed=6, tables=made.tables | {"claims": whole_study(6)[0].tables["claims"]})
    assert not any(verdict.search("\n".join(page.PARTS[part](few))) for part in parts)
    assert "no verdict: 5 of 6 seeds" in "\n".join(page.claims(few)) and page.answer(few) == [
        "No verdict: 5 of 6 seeds."
    ]
    assert page.state(few)[0].startswith("**5 of 6 seeds of study are finished, so nothing is concluded yet.**")
    assert page.state(made)[0].startswith("**5 of 5 seeds of study are finished.**")
    # another sparsity that lacks a seed, or all of them, takes no verdict from the one that has five
    more = made._replace(expected=made.expected | {("class", "0.90"): 7})
    told = "**0 of 5 seeds of study are finished; class at 0.95, random at 0.95 have 5, so there are verdicts there "
    assert page.state(more)[0].startswith(told + "alone.**")
    assert page.state(more._replace(needed=6))[0].startswith("**0 of 6 seeds of study are finished, so nothing")
    # a study of sparse networks alone, its second place unfinished
    sparse = made._replace(expected={("class", "0.95"): 7, ("random", "0.95"): 99})
    told = "**0 of 5 seeds of study are finished; class at 0.95 have 5, so there are verdicts there alone.**"
    assert page.state(sparse)[0].startswith(told)
    labels = [text.get_text() for ax in figures.drawn(few, whole, None)["gaps"].axes for text in ax.texts]
    assert labels and not any(mark in label for label in labels for mark in "↑↓")


def test_the_answer_lists_every_method_of_a_place_once(study):
    made, _ = study
    changes = made.tables["sparsity"]
    changes = changes[changes["metric"].str.startswith("avg_gap/")]
    rows = page.answer(made)[2:-1]
    assert len(rows) == 4
    for row in rows:
        assert sorted(re.findall(r"`(\w+)`", row.split("|", 2)[2])) == ["ft", "iu"]
        place, *fields = [field.strip() for field in row.strip("|").split("|")]
        scenario, _, oracle = place.replace("`", "").split(", ")
        of = changes[(changes["scenario"] == scenario) & (changes["oracle"] == oracle)].set_index("unlearner")
        for verdict, field in zip(("closer", "farther", "not shown"), fields, strict=False):
            assert {f"{name}_tuned" for name in re.findall(r"`(\w+)`", field)} == set(
                of.index[(of["verdict"] == verdict) & (of.index != "original")]
            ), (place, verdict)


def points(ax):
    """What is drawn as points or lines, by the position on each axis."""
    return [tuple(map(float, xy)) for line in ax.get_lines() for xy in zip(*line.get_data(), strict=True)]


def test_the_figures_have_the_numbers_of_the_tables(study):
    made, whole = study
    drawn = figures.drawn(made, whole, made)
    assert set(drawn) == {"gaps", "moves", "leak", "fit"}
    moves = made.tables["moves"]
    axes = drawn["moves"].axes
    places = itertools.product(("class", "random"), ("UA", "RA", "TA", "MIA"))
    for ax, (scenario, metric) in zip(axes, places, strict=True):
        of = moves[(moves["scenario"] == scenario) & (moves["metric"] == metric)]
        found = {round(x, 6) for x, _ in points(ax)}
        of_methods = of[of["unlearner"].isin(["original", "ft_tuned", "iu_tuned"]) & (of["oracle"] == "retrain")]
        assert len(of_methods) == 3 and {round(v, 6) for v in of_methods["method"]} <= found
        assert {round(v, 6) for v in of[of["unlearner"] == "original"]["of_oracle"]} <= found
    leak, summary = made.tables["leak"], made.tables["summary"]
    names = ["avg_gap/retrain_exact", "UA", "MIA"]
    for ax, (scenario, metric) in zip(drawn["leak"].axes, itertools.product(("class", "random"), names), strict=True):
        value = "mean" if "/" in metric else "gap_retrain_exact"
        twin = summary[summary["unlearner"] == "retrain_exact_b"]
        expected = [v for t in (leak, twin) for v in t[(t["scenario"] == scenario) & (t["metric"] == metric)][value]]
        found = [y for _, y in points(ax)]
        assert len(expected) == 4 and all(any(abs(v - y) < 1e-9 for y in found) for v in expected)
    for ax, (scenario, oracle) in zip(drawn["gaps"].axes, itertools.product(("class", "random"), ORACLES), strict=True):
        of = summary[(summary["scenario"] == scenario) & (summary["metric"] == f"avg_gap/{oracle}")]
        of = of[of["role"] == "method"]
        bars = sorted(bar.get_width() for bar in ax.patches if np.isfinite(bar.get_width()))
        assert bars == pytest.approx(sorted(of["mean"])) and len(bars) == 6
    for ax, (scenario, method) in zip(
        drawn["fit"].axes, itertools.product(("class", "random"), ("ft", "iu")), strict=True
    ):
        of = summary[summary["scenario"] == scenario].set_index(["unlearner", "sparsity", "metric"])["mean"]
        for sparsity in ("0.00", "0.95"):
            known = f"{of[('original', sparsity, 'RA')]:.0f}"
            gap = of[(f"{method}_tuned", sparsity, "avg_gap/retrain")]
            here = [x for x, y in points(ax) if y == pytest.approx(gap)]
            assert here and all(ax.get_xticklabels()[round(x)].get_text() == known for x in here)
        # dense twice, here of the same study, then the sparse network
        assert len(ax.get_xticks()) == 3


def words_and_numbers(svg):
    """An SVG without the names of its parts, cut into texts and numbers."""
    text = re.sub(r"#?\b[a-z]\w?[0-9a-f]{10}\b", "", svg)
    parts = re.split(r"(-?\d+(?:\.\d+)?)", text)
    return parts[::2], [float(number) for number in parts[1::2]]


def drawings():
    return [path for path in sorted(by_place.PAGES.glob("*/*.svg")) if path.stem in figures.TEXTS]


@pytest.mark.parametrize("path", drawings(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_committed_figure_is_that_of_the_tables_next_to_it(path, tmp_path):
    """To a fifth of a point: the fonts of another version of matplotlib may move a label."""
    experiment = by_place.read_yaml(ROOT / f"config/experiments/{path.parent.name}.yaml")
    made = {file.stem: read_table(file) for file in path.parent.glob("*.csv")}
    made |= {name: pd.DataFrame() for name in page.ASKED if name not in made}
    whole = json.loads((path.parent / "experiment.json").read_text(encoding="utf-8"))
    study = by_place.study_of(experiment, made)
    drawn = figures.drawn(study, whole, by_place.base_of(path.parent, by_place.PAGES))
    figures.save(drawn[path.stem], tmp_path / path.name)
    found, expected = (words_and_numbers(p.read_text(encoding="utf-8")) for p in (path, tmp_path / path.name))
    assert found[0] == expected[0]
    assert found[1] == pytest.approx(expected[1], abs=0.2)


def test_a_figure_is_the_same_file_each_time(study, tmp_path):
    made, whole = study
    for name in ("a", "b"):
        figures.save(figures.drawn(made, whole, None)["moves"], tmp_path / name)
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert text == (tmp_path / "b").read_text(encoding="utf-8")
    assert not re.search(r"\d\.\d{3}|<dc:date>", text)


def test_a_page_that_asks_for_an_unknown_part_is_refused(study, tmp_path):
    made, _ = study
    (tmp_path / "study.md").write_text("<!-- by_place: study/anser -->\n<!-- end of by_place: study/anser -->\n")
    with pytest.raises(
        SystemExit, match=r"study\.md: part 'anser' of study is not known; allowed: state, values, answer"
    ):
        page.filled(tmp_path, made, {})
