"""missing.csv: which cell, and why."""

from pathlib import Path

from lacuna.reporting.tables.missing import missing_table


def test_missing_cell_has_the_first_file_that_is_not_there_and_the_end_of_its_log(tmp_path):
    there, gone, never = (str(tmp_path / name) for name in ("there", "gone", "never"))
    Path(there).write_text("")
    Path(gone + ".log").write_text("step 1\nlacuna: unlearn: the loss is nan\n\n")
    cell = {"dataset": "d", "model": "m", "recipe": "r", "seed": "0", "scenario": "s", "state": "omp-0.90"}
    steps = [(name, name + ".log") for name in (there, gone, never)]
    table = missing_table([cell | {"unlearner": "ga", "steps": steps}, cell | {"unlearner": "b", "steps": steps[::2]}])
    assert table["reason"].tolist() == [
        f"{gone} is missing; its log ends: lacuna: unlearn: the loss is nan",
        f"{never} is missing; it was never run",
    ]
    assert table["unlearner"].tolist() == ["ga", "b"] and (table["state"] == "omp-0.90").all()
    assert missing_table([]).columns.tolist() == table.columns.tolist()


def test_what_is_missing_is_told_alike_wherever_the_results_lie(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "there").touch()
    (tmp_path / "logs/gone.log").write_text("lacuna: unlearn: the loss is nan\n")
    steps = [(f"results/{name}", f"results/logs/{name}.log") for name in ("there", "gone")]
    (reason,) = missing_table([{"unlearner": "ga", "steps": steps}], tmp_path)["reason"]
    assert reason == "results/gone is missing; its log ends: lacuna: unlearn: the loss is nan"
