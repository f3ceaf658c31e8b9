"""bench/by_place.py: every place has its own values, and the parts of a page are those of the CSV files beside it."""

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

from lacuna.artifacts.files import write_json
from lacuna.experiment.config import load
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import read_table, write_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table

sys.path.insert(0, str(ROOT))

from bench import by_place
from bench.study import figures, page, seeds, tables
from bench.study.places import as_in_tables

FILE = ROOT / "config/experiments/memorising.yaml"
PAGES = [
    file
    for file in sorted(by_place.PAGES.glob("*.md"))
    if f"<!-- by_place: {file.stem}/tables -->" in file.read_text(encoding="utf-8")
]


def part_of(file, name, part):
    """The text of a part of a study on a page."""
    mark = f"by_place: {name}/{part} -->"
    return file.read_text(encoding="utf-8").split(f"<!-- {mark}")[1].split(f"<!-- end of {mark}")[0]


def committed(name):
    """The tables of a study as they are committed."""
    folder = by_place.PAGES / name
    return {path.stem: read_table(path) for path in folder.glob("*.csv")}


@pytest.fixture(scope="module")
def experiment():
    return by_place.read_yaml(FILE)


def test_each_place_is_an_experiment_with_its_own_values(experiment, known, tmp_path):
    names, files = list(by_place.places(experiment)), []
    study = {"best": 1, "trials": [{"values": {"lr": 0.05}}, {"values": {"lr": 0.2, "schedule": "constant"}}]}
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


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.stem)
def test_every_place_of_a_study_is_in_order_and_has_the_cells_that_are_expected(file, known, tmp_path):
    study = by_place.read_yaml(ROOT / f"config/experiments/{file.stem}.yaml")
    values = by_place.read_values(study)
    expected = by_place.expected_cells(study, values)
    for name, place in by_place.places(study).items():
        made = tmp_path / f"{name}.yaml"
        made.write_text(by_place.as_yaml(by_place.at_place(study, name, [7], values), ""), encoding="utf-8")
        files = [ROOT / "config/config.yaml", made]
        loaded = load(files, {}, ROOT / "workflow/schemas/config.schema.yaml", known)
        assert (loaded.name, loaded.seeds) == (name, (7,))
        assert sum(1 for _ in loaded.cells()) == expected[as_in_tables(place)]


def test_the_search_of_a_place_is_of_its_scenario_and_sparsity_alone(experiment):
    made = by_place.at_place(experiment, "memorising_class_0.95", None, {})
    assert made["tuning"] == experiment["tuning"]
    assert list(made["grid"]["scenarios"]) == ["class"] and made["grid"]["sparsities"] == ["0.95"]
    assert not set(made["tuning"]["seeds"]) & set(made["grid"]["seeds"])
    assert made["grid"]["unlearners"] == experiment["grid"]["unlearners"]


def test_what_is_kept_of_a_search_can_be_scored_again():
    """Of each trial the mean accuracies; one that diverged has none, and without a forgotten part none is `gone`."""
    parts = [{"seconds": 1.04, "accuracy": {"retain": r, "forget": 1.0, "val": 50.0, "gone": None}} for r in (90, 100)]
    trials = [
        {"values": {"lr": 0.1}, "score": 50.12345, "parts": parts},
        {"values": {"lr": 9.0}, "score": 0.0, "parts": [{"seconds": 0.0, "failed": "diverged"}]},
    ]
    kept = by_place.searched({"space": {}, "best": 0, "trials": trials})
    accuracy = {"retain": 95.0, "forget": 1.0, "val": 50.0}
    assert kept["trials"] == [
        {"values": {"lr": 0.1}, "score": 50.123, "accuracy": accuracy, "seconds": 2.1},
        {"values": {"lr": 9.0}, "score": 0.0, "accuracy": {}, "seconds": 0.0},
    ]


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


LABELS = ["original", "retrain", "retrain_b", "ft_tuned"]


def cells(of, labels):
    """Values that differ in every coordinate, of one scenario, dense and 0.90."""
    rows = []
    for (s, state), seed, (u, label) in itertools.product(
        enumerate([("dense", "0.00"), ("omp", "0.90")]), of, enumerate(labels)
    ):
        where = ("d", "m", "r", seed, "class", *state, label)
        for m, metric in enumerate([*tables.SHOWN[-1], "avg_gap/retrain"]):
            value = 10 * m + u + 0.3 * s + (0.1 * u + 0.1) * seed * (1 + s)
            rows.append((*where, metric, 0.0 if metric == f"avg_gap/{label}" else value))
    columns = ["dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def page_of(of, needed=3):
    contest = Contest(cells(of, LABELS), ["retrain"], {"retrain_b": "retrain"})
    better = dict.fromkeys(tables.SHOWN[-1], "oracle") | {"avg_gap": "lower"}
    return page.page_tables(summary_table(contest), sparsity_table(contest, better), needed)


def test_a_page_without_intervals_has_means_alone():
    text = page_of([0, 1])
    # seed 0 and 1: 3 + 0 and 3 + 0.4 dense; 3.3 + 0 and 3.3 + 0.8
    assert "| `ft` | 3.2 / 13.2 / 23.2 / 33.2 | 3.7 / 13.7 / 23.7 / 33.7 |" in text
    assert "| `ft` | 43.2 | 43.7 | +0.5 |" in text and "±" not in text and "[" not in text


def test_a_page_with_three_seeds_has_intervals():
    # deviations 0.4 and 0.8 around seed 1; t of two degrees of freedom is 4.303; / √3
    assert "| `ft` | 43.4 ± 1.0 | 44.1 ± 2.0 | +0.7 [−0.3, +1.7] |" in page_of([0, 1, 2])


def test_a_page_of_two_recipes_has_the_tables_of_each():
    every = pd.concat([cells([0, 1], LABELS), cells([0, 1], LABELS).assign(recipe="q", value=lambda t: t["value"] + 7)])
    every.loc[every["metric"] == "avg_gap/retrain", "value"] %= 40
    contest = Contest(every, ["retrain"], {"retrain_b": "retrain"})
    text = page.page_tables(summary_table(contest), sparsity_table(contest, {"avg_gap": "lower"}), 3)
    heads = [f"### class, {recipe}: {what}" for recipe in "rq" for what in ("UA / RA / TA / MIA", "average gap")]
    assert [line for line in text.split("\n") if line.startswith("###")] == [
        head + (" to `retrain`" if "gap" in head else "") for head in heads
    ]
    assert "| `ft` | 3.2 / 13.2" in text.split("###")[1] and "| `ft` | 10.2 / 20.2" in text.split("###")[3]


def test_what_moves_is_the_method_or_its_oracle():
    """By hand: from dense to 0.90 UA changes by 0.3 + (0.1 u + 0.1) seed, u the number of the label."""
    (row,) = [
        row
        for row in tables.moves_table(cells([0, 1, 2], LABELS), ["retrain"]).to_dict("records")
        if (row["unlearner"], row["metric"]) == ("ft_tuned", "UA")
    ]
    assert (row["method"], row["of_oracle"], row["n"]) == (pytest.approx(0.7), pytest.approx(0.5), 3)
    # deviations of 0.4 and 0.2 around the middle seed; t of two degrees of freedom is 4.303
    assert row["method_high"] - row["method"] == pytest.approx(4.303 * 0.4 / 3**0.5, abs=1e-3)
    assert row["of_oracle"] - row["of_oracle_low"] == pytest.approx(4.303 * 0.2 / 3**0.5, abs=1e-3)
    lost = cells([0, 1], LABELS)
    lost = lost[~((lost["seed"] == 1) & (lost["unlearner"] == "retrain") & (lost["pruner"] == "dense"))]
    assert set(tables.moves_table(lost, ["retrain"])["n"]) == {1}


def test_a_study_takes_the_values_of_another_and_names_un_prunings_by_them(tmp_path):
    study = {"best": 0, "trials": [{"values": {"lr": 0.2}}]}
    for name, values in (
        ("memorising", {"memorising_class_0.95": {"ft": study, "iu": study}}),
        ("mine", {"of": "memorising"}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "values.json").write_text(json.dumps(values))
    grid = {"scenarios": {"class": {}}, "sparsities": [0.95], "unlearners": {"original": None, "ft": {"epochs": 4}}}
    grid |= {"unprune": [{"unlearner": "ft", "p": [10, 30], "rounds": [1, 3]}, {"unlearner": "l1", "p": 0}]}
    mine = {"name": "mine", "grid": {axis: {"x": {}} for axis in ("datasets", "models", "recipes")} | grid}
    values = by_place.read_values(mine, tmp_path)
    made = by_place.at_place(mine, "mine_class_0.95", [4], values)["grid"]
    assert made["unlearners"] == {"original": None, "ft_tuned": {"method": "ft", "epochs": 4, "lr": 0.2}}
    assert made["unprune"] == [{"unlearner": "ft_tuned", "p": [10, 30], "rounds": [1, 3]}]
    assert by_place.expected_cells(mine, values) == {("class", "0.95"): 2 + 4}
    # without values and without a search: as the file has it
    own = by_place.at_place(mine, "mine_class_0.95", [4], {})["grid"]
    assert own == {**mine["grid"], "sparsities": ["0.95"], "seeds": [4]}


def test_a_page_has_no_verdict_before_its_last_seed():
    row = {"change": -2.0, "change_low": -3.0, "change_high": -1.0, "verdict": "closer", "n": 4}
    changes = pd.DataFrame([row], index=pd.MultiIndex.from_tuples([("ft", "0.90")]))
    assert page._change(changes, ("ft", "0.90"), 5) == "−2.0 [−3.0, −1.0]"
    assert page._change(changes, ("ft", "0.90"), 4) == "−2.0 [−3.0, −1.0] closer"


# ---- seeds of several runs


STUDY = {
    "name": "study",
    "tuning": {},
    "grid": {
        **{"datasets": {"d": {}}, "models": {"m": {}}, "recipes": {"r": {}}, "pruners": {"omp": {}}},
        "scenarios": {"class": {"forget_class": 3}},
        "sparsities": ["dense", 0.90],
        "seeds": [0, 1, 2],
        "unlearners": {"original": {}, "retrain": {}, "retrain_b": {"method": "retrain"}, "ft": {"lr": 0.1}},
    },
}
VALUES = {
    f"study_class_{state}": {"ft": {"best": 0, "trials": [{"values": {"lr": 0.1}, "seconds": 360.0}]}}
    for state in ("dense", "0.90")
}


PLACES = "".join(
    f"<!-- by_place: study/{part} -->\n<!-- end of by_place: study/{part} -->\n\n"
    for part in ("state", "values", "answer", "claims", "moves", "gaps_figure", "tables")
)


@pytest.fixture
def study(tmp_path):
    """A page and its values, and `made(seeds)`: the results of a run of these seeds, where no other results are."""
    pages = tmp_path / "pages"
    (pages / "study").mkdir(parents=True)
    (pages / "study.md").write_text("# Study\n\n" + PLACES + "\nEnd.\n", encoding="utf-8")

    def made(of, labels=LABELS, lr=0.1, sha256="aa", version="0.2.0", failed=(), at=("dense", "0.90"), shift=0.0):
        results = tmp_path / f"results{len(list(tmp_path.iterdir()))}"
        (results / "data/d").mkdir(parents=True)
        write_json(results / "data/d/meta.json", {"sha256": sha256})
        every = cells(of, labels).assign(config_hash="h", unchanged=0, note=None)
        every["value"] += shift
        for state in at:
            folder = results / f"tables/study_class_{state}"
            folder.mkdir(parents=True)
            grid = {**STUDY["grid"], "unlearners": {label: {"method": "x", "lr": lr} for label in LABELS}}
            grid = {axis: entries for axis, entries in grid.items() if axis not in ("seeds", "sparsities")}
            grid["unlearners"]["original"] = {"method": "original"}
            grid["scenarios"] = {"class": {"method": "class", "forget_class": 3}}
            better = dict.fromkeys(tables.SHOWN[-1], "oracle") | {"avg_gap": "lower"}
            judging = {"oracles": ["retrain"], "twins": {"retrain_b": "retrain"}, "better": better, "costs": []}
            record = {"metrics": list(better), "grid": grid, "judging": judging, "seeds": of}
            write_json(folder / "experiment.json", record)
            rows = every[every["sparsity"] == state.replace("dense", "0.00")]
            rows.to_csv(folder / "cells.csv", index=False)
            jobs = rows.drop_duplicates((*seeds.UNIT, "unlearner")).drop(columns=["metric", "value", "note"])
            paths = [
                f"results/cells/d/m/r/seed{j.seed}/class/{state}/{j.unlearner}/job.json" for j in jobs.itertuples()
            ]
            jobs = jobs.assign(lacuna=version, job=paths)
            jobs.to_csv(folder / "provenance.csv", index=False)
            where = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "class"}
            where["state"] = state if state == "dense" else f"omp-{state}"
            gone = [{**where, "seed": seed, "unlearner": label, "reason": reason} for seed, label, reason in failed]
            columns = ["dataset", "model", "recipe", "seed", "scenario", "state", "unlearner", "reason"]
            pd.DataFrame(gone, columns=columns).to_csv(folder / "missing.csv", index=False)
        return results

    def add(results):
        by_place.tables(STUDY, results, pages)

    (pages / "study/values.json").write_text(json.dumps(VALUES), encoding="utf-8")
    return made, add, pages


def content(pages):
    return {path.name: path.read_bytes() for path in sorted(pages.rglob("*")) if path.is_file()}


def test_seeds_made_one_by_one_are_the_study_that_one_run_makes(study):
    """Seed 1 is made where the results of seeds 0 and 2 are lost; every file and the page are those of one run."""
    made, add, pages = study
    add(made([0, 1, 2]))
    whole = content(pages)
    for path in pages.glob("study/*.csv"):
        path.unlink()
    (pages / "study/experiment.json").unlink()
    for of in ([2], [0], [1]):
        add(made(of))
    assert content(pages) == whole
    assert "Seeds: 0, 1, 2 (8 cells each)." in (pages / "study.md").read_text()
    assert set(read_table(pages / "study/summary.csv")["n"]) == {3}


def test_a_seed_that_is_made_anew_takes_the_place_of_the_old_one_alone(study):
    made, add, pages = study
    add(made([0, 1], version="0.2.0"))
    before = read_table(pages / "study/cells.csv")
    add(made([1], version="0.3.0", shift=5.0))
    after = read_table(pages / "study/cells.csv")
    assert after["value"].tolist() == [
        pytest.approx(v + 5.0 * (s == 1)) for s, v in zip(before["seed"], before["value"], strict=True)
    ]
    provenance = read_table(pages / "study/provenance.csv")
    assert set(zip(provenance["seed"], provenance["lacuna"], strict=True)) == {(0, "0.2.0"), (1, "0.3.0")}
    assert len(provenance) == 2 * 2 * len(LABELS)


def test_a_seed_with_fewer_cells_does_not_take_the_place_of_a_whole_one(study):
    made, add, pages = study
    add(made([0]))
    whole = content(pages)
    add(made([0], labels=LABELS[:2], shift=5.0))
    assert content(pages) == whole
    before = read_table(pages / "study/cells.csv")
    # as many do, at their place alone
    add(made([0], at=["0.90"], shift=5.0))
    after = read_table(pages / "study/cells.csv")
    assert (after["value"] - before["value"]).tolist() == pytest.approx(
        [5.0 * (s == "0.90") for s in before["sparsity"]]
    )


def test_a_part_of_a_seed_is_told_as_such(study):
    made, add, pages = study
    add(made([0]))
    add(made([1], labels=LABELS[:3], at=["dense"]))
    page = (pages / "study.md").read_text()
    assert "Seeds: 0 (8 cells each). Seed 1 is **unfinished**: 3 of 8 cells, which count" in page
    summary = read_table(pages / "study/summary.csv").set_index(["unlearner", "sparsity", "metric"])
    assert summary.loc[("retrain", "0.00", "UA"), "n"] == 2 and summary.loc[("retrain", "0.90", "UA"), "n"] == 1
    assert "no value for seed 1" in summary.loc[("ft_tuned", "0.00", "UA"), "note"]
    # the rest of it, from another run, where the first part is lost
    add(made([1]))
    assert "Seeds: 0, 1 (8 cells each)." in (pages / "study.md").read_text()


def test_what_is_missing_is_told_of_seeds_that_are_there(study):
    made, add, pages = study
    lost = "results/x/predictions.npz is missing; its log ends: ft on dense: diverged in epoch 2 (the loss is nan)"
    add(made([0], labels=LABELS[:3], failed=[(0, "ft_tuned", lost), (7, "ft_tuned", "x is missing; it was never run")]))
    missing = read_table(pages / "study/missing.csv")
    assert missing["seed"].tolist() == [0, 0] and missing["state"].tolist() == ["dense", "omp-0.90"]
    page = (pages / "study.md").read_text()
    assert "Seeds: 0 (8 cells each). 2 cells have no value because the method diverged" in page
    # another seed adds to the list, and the same seed without the failure empties it
    add(made([1], labels=LABELS[:3], failed=[(1, "ft_tuned", "x is missing; its log ends: stopped by SIGTERM")]))
    assert read_table(pages / "study/missing.csv")["seed"].tolist() == [0, 1, 0, 1]
    assert "Seed 1 is **unfinished**: 6 of 8 cells" in (pages / "study.md").read_text()
    add(made([0]))
    assert read_table(pages / "study/missing.csv")["seed"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"sha256": "bb"}, "datasets.d is 'bb', but 'aa' in"),
        ({"lr": 0.2}, "places.study_class_0.90.grid.unlearners.ft_tuned.lr is 0.2, but 0.1 in"),
    ],
)
def test_seeds_of_another_experiment_are_refused_and_nothing_is_written(study, changes, where):
    made, add, pages = study
    add(made([0]))
    before = content(pages)
    with pytest.raises(SystemExit) as error:
        add(made([1], **changes))
    assert where in str(error.value) and "experiment.json, so their seeds do not add up; allowed" in str(error.value)
    assert content(pages) == before


def test_seeds_whose_metrics_were_something_else_are_refused(study):
    made, add, pages = study
    add(made([0]))
    file = pages / "study/experiment.json"
    whole = json.loads(file.read_text())
    whole["metrics"]["MIA"]["text"] = "of one draw"
    file.write_text(json.dumps(whole))
    with pytest.raises(SystemExit, match=r"metrics\.MIA\.text is .* but 'of one draw' in"):
        add(made([1]))


@pytest.mark.parametrize("axis", ["datasets", "models", "recipes", "scenarios", "pruners"])
def test_another_network_or_recipe_is_another_experiment_and_a_new_method_or_option_is_not(axis):
    def of(grid):
        return {"places": {"p": {"grid": grid}}}

    assert seeds.difference(of({axis: {"a": {}}}), of({axis: {"b": {}}})) == (f"places.p.grid.{axis}", "a", "b")
    assert seeds.difference(of({axis: {"a": {"x": 1}}}), of({axis: {"a": {"x": 1, "y": 2}}})) is None
    assert seeds.difference(of({"unlearners": {"a": {}}}), of({"unlearners": {"a": {}, "b": {}}})) is None
    both = seeds.together(of({axis: {"a": {"x": 1}}}), of({axis: {"a": {"y": 2}}}))
    assert both == of({axis: {"a": {"x": 1, "y": 2}}})


def test_a_study_without_any_table_says_so(study, tmp_path):
    _, add, pages = study
    before = content(pages)
    with pytest.raises(SystemExit, match=r"no table of study exists; allowed: after a run"):
        add(tmp_path / "nothing")
    assert content(pages) == before


def test_a_page_without_a_place_for_tables_is_left_as_it_is(study):
    made, add, pages = study
    (pages / "study.md").write_text("# Study\n")
    before = content(pages)
    with pytest.raises(SystemExit, match="no part of study has a place there"):
        add(made([0]))
    assert content(pages) == before


def test_one_seed_is_run_without_the_others(experiment):
    """Every place with the values of values.json, and only the seed that was asked for."""
    ran = []
    by_place.run(experiment, lambda made, *arguments: ran.append(made) or True, [3])
    assert [made["name"] for made in ran] == list(by_place.places(experiment))
    assert all(made["grid"]["seeds"] == [3] and len(made["grid"]["unlearners"]) == 13 for made in ran)


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.stem)
def test_tables_over_seeds_are_those_of_the_cells_next_to_them(file, tmp_path):
    folder = file.with_suffix("")
    if not (folder / "cells.csv").exists():
        assert not (folder / "summary.csv").exists(), "means of no cells"
        return
    whole = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
    found = committed(file.stem)
    needed = len(by_place.read_yaml(ROOT / f"config/experiments/{file.stem}.yaml")["grid"]["seeds"])
    made = tables.followed(found["cells"], found["provenance"], whole, needed)
    for name, table in made.items():
        if table.empty and name in page.ASKED:
            assert name not in found
            continue
        write_table(tmp_path / f"{name}.csv", table)
        expected = read_table(tmp_path / f"{name}.csv")
        pd.testing.assert_frame_equal(expected, found[name], check_dtype=False, rtol=1e-5, atol=1e-6)


def studies_on_pages():
    """Page and study of each place that is not empty."""
    files = sorted(by_place.PAGES.glob("*.md"))
    found = {(file, name) for file in files for name, _ in page.MARK.findall(file.read_text(encoding="utf-8"))}
    return sorted(place for place in found if (by_place.PAGES / place[1] / "cells.csv").exists())


@pytest.mark.parametrize(("file", "name"), studies_on_pages(), ids=lambda value: getattr(value, "stem", value))
def test_every_part_of_a_page_is_that_of_the_committed_tables(file, name):
    """Written anew from the CSV files, the page is the same; each figure that it shows is there."""
    experiment = by_place.read_yaml(ROOT / f"config/experiments/{name}.yaml")
    study = by_place.study_of(experiment, committed(name))
    text = file.read_text(encoding="utf-8")
    drawn = {path.stem: None for path in (by_place.PAGES / name).glob("*.svg")}
    assert page.filled(by_place.PAGES, study, figures.links(study, drawn))[file] == text


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.stem)
def test_the_tables_of_a_page_are_those_of_its_csv(file):
    """Read from the page, number by number, beside the tables that the page is of."""
    text = part_of(file, file.stem, "tables").replace("−", "-")
    if not (file.with_suffix("") / "summary.csv").exists():
        assert not text.strip(), "tables of no cells"
        return
    summary = read_table(file.with_suffix("") / "summary.csv")
    changes = read_table(file.with_suffix("") / "sparsity.csv")
    read = 0
    for part in text.split("### ")[1:]:
        head, _, table = part.partition("\n")
        scenario, recipe, what = re.fullmatch(r"(\w+)(?:, (\w+))?: (.*)", head).groups()
        lines = [[field.strip() for field in line.strip("|").split("|")] for line in table.strip().split("\n")]
        oracle = re.search("`(.*)`", what)
        metrics = [f"avg_gap/{oracle[1]}"] if oracle else what.split(" / ")
        for label, *fields in lines[2:]:
            for state, field in zip(lines[0][1:], fields, strict=True):
                sparsity = state.split(" ")[0].replace("dense", "0.00")
                rows = changes if "-" in state else summary
                method = rows["unlearner"].map(page.name_of) == label.strip("`")
                rows = rows[method & (rows["scenario"] == scenario) & (rows["sparsity"] == sparsity)]
                rows = rows[rows["recipe"] == recipe] if recipe else rows
                rows = rows.set_index("metric").loc[[m for m in metrics if m in set(rows["metric"])]]
                if "-" in state:
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
    assert read >= 2 * len(tables.shown_of(summary))


def test_the_sizes_that_were_tried_are_those_of_the_csv():
    text = (by_place.PAGES / "memorising.md").read_text(encoding="utf-8")
    tried = pd.read_csv(by_place.PAGES / "memorising/sizing.csv")
    rows = re.findall(r"^\| (\d+ \| \d+ \|.*) \|$", text, flags=re.MULTILINE)
    found = [[float(n) for n in re.findall(r"[\d.]+", row)] for row in rows]
    assert found == [[v for v in row if not pd.isna(v)] for row in tried.to_numpy().tolist()] and len(found) == 6
