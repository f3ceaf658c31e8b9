"""bench/population.py and bench/by_recipe.py: intervals by hand, and differences of what is the same."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from places import ROOT

sys.path.insert(0, str(ROOT))

from bench import by_recipe, population
from lacuna.evaluation.population import Pool
from lacuna.evaluation.statistics import t_interval


def pool_of(seed, kept=0.0, pairs=8, n=40):
    """Models whose margins on D_f are higher by `kept` where they had the sample; halves are those of seed 0."""
    member = np.random.default_rng(0).random((pairs, n)) < 0.5
    member = np.stack([member, ~member], 1).reshape(2 * pairs, n)
    rng = np.random.default_rng(seed)
    phi = {"forget": rng.normal(size=(2 * pairs, n)) + kept * member, "test": rng.normal(size=(2 * pairs, 60))}
    correct = {part: values > 0 for part, values in phi.items()}
    index = {part: np.arange(values.shape[1]) for part, values in phi.items()}
    return Pool(np.arange(2 * pairs), phi, correct, {"forget": member}, index)


def test_the_jackknife_of_a_mean_is_its_t_interval():
    values = np.random.default_rng(1).normal(size=12)

    def mean(left_out):
        return float(np.delete(values, left_out if left_out is not None else []).mean())

    assert population.jackknife(np.arange(12), mean) == pytest.approx([float(v) for v in t_interval(values)])


def test_a_method_that_kept_its_samples_is_told_from_the_twin_and_a_perfect_one_is_not():
    pools = {"retrain": pool_of(1), "retrain_b": pool_of(2), "perfect": pool_of(3), "original": pool_of(4, kept=2.0)}
    rows = population.rows_of(pools, "0.00", {"retrain": ["retrain_b"]})
    table = pd.DataFrame(rows, columns=population.COLUMNS).set_index(["unlearner", "metric"])
    for metric in ("u_lira_auc", "rmia_auc", "klom/retrain"):
        assert table.loc[("original", metric), "more_low"] > 0, metric
        perfect = table.loc[("perfect", metric)]
        assert perfect["more_low"] < 0 < perfect["more_high"], metric
        assert np.isnan(table.loc[("retrain_b", metric), "more"])
        assert set(table["pairs"]) == {8}
    values, more = "\n".join(population.page_tables(table.reset_index().round(4))).split("\n\n")
    head = "u_lira_auc, dense | rmia_auc, dense | klom/retrain, dense |"
    assert (values.split("\n")[0], more.split("\n")[0]) == (f"| value | {head}", f"| more than the twin | {head}")
    assert [line.split("|")[1].strip(" `") for line in more.split("\n")[2:]] == ["retrain", "perfect", "original"]
    row = table.loc[("original", "klom/retrain")]
    assert f"| {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] |" in values
    # an oracle has no distance from itself
    assert ("retrain", "klom/retrain") not in table.index and ("retrain", "u_lira_auc") in table.index
    assert table.loc[("original", "u_lira_auc"), "value"] > 0.8


def test_a_pool_without_a_pair_has_all_others():
    whole = pool_of(1)
    rest = population.without(whole, 3)
    assert rest.models.tolist() == [m for m in range(16) if m not in (6, 7)]
    np.testing.assert_array_equal(rest.phi["forget"], np.delete(whole.phi["forget"], [6, 7], axis=0))
    assert rest.of_members(rest.phi["forget"]).shape == (7, 40)


CELLS = ["dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner", "metric", "value"]


def test_differences_of_recipes_are_paired_by_seed():
    of = ("dense", "0.00", "retrain", "UA")
    pairs = [(0, 50.0, 49.0), (1, 52.0, 50.5), (2, 47.0, 46.5)]
    rows = [("d", "m", "bf16", seed, "random", *of, value) for seed, value, _ in pairs]
    rows += [("d", "m", "fp32", seed, "random", *of, value) for seed, _, value in pairs[::-1]]
    # of a seed that one recipe alone has, and of a metric that is no accuracy, there is nothing to tell
    rows += [("d", "m", "bf16", 3, "random", *of, 90.0), ("d", "m", "fp32", 0, "random", *of[:3], "time_s", 1.0)]
    (row,) = by_recipe.differences(pd.DataFrame(rows, columns=CELLS), "bf16", "fp32").to_dict("records")
    # by hand: mean of 1, 1.5 and 0.5; t of two degrees of freedom is 4.303
    assert (row["change"], row["largest"], row["n"], row["verdict"]) == (1.0, 1.5, 3, "not shown")
    assert row["change_high"] - row["change"] == pytest.approx(4.303 * 0.5 / 3**0.5, abs=1e-3)
    sure = pd.DataFrame(rows, columns=CELLS).assign(value=lambda t: t["value"] + 9 * (t["recipe"] == "bf16"))
    assert by_recipe.differences(sure, "bf16", "fp32")["verdict"].tolist() == ["differs"]
    few = pd.DataFrame(rows, columns=CELLS).query("seed < 2")
    assert by_recipe.differences(few, "bf16", "fp32")["verdict"].tolist() == [None]


def test_cpu_seconds_are_of_whole_trainings(tmp_path):
    cells = pd.DataFrame(
        [
            ("d", "m", "bf16", 0, "random", pruner, sparsity, label, "UA", 1.0)
            for pruner, sparsity in (("dense", "0.00"), ("omp", "0.95"))
            for label in ("original", "retrain")
        ],
        columns=CELLS,
    )
    for place, wall, cpu, seconds in (
        ("models/d/m/bf16/seed0/dense", 100, 90.5, 95.0),
        # it was interrupted: the file has the second part alone
        ("models/d/m/bf16/seed0/omp-0.95", 40, 30.0, 95.0),
        ("cells/d/m/bf16/seed0/random/dense/retrain", 80, 70.25, 75.0),
        ("cells/d/m/bf16/seed0/random/dense/original", 5, 3.0, 0.0),
    ):
        for file in (tmp_path / f"benchmarks/{place}.tsv", tmp_path / place / "job.json"):
            file.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"benchmarks/{place}.tsv").write_text(f"s\tmax_rss\tcpu_time\n{wall}\t1\t{cpu}\n")
        (tmp_path / place / "job.json").write_text(json.dumps({"seconds": seconds}))
    table = by_recipe.cpu_seconds(tmp_path, cells)
    assert table.to_dict("records") == [
        {"recipe": "bf16", "seed": 0, "state": "dense", "what": "oracle", "cpu_seconds": 70.25},
        {"recipe": "bf16", "seed": 0, "state": "dense", "what": "original", "cpu_seconds": 90.5},
    ]
