"""What every script shares: one sentence for whatever goes wrong, damaged inputs set aside, one writer."""

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from lacuna_workflow.job import job

import numpy as np
import pytest
from places import ROOT

from lacuna.artifacts.files import content_digest, pack_bits, read_json, read_npz, write_json, write_npz
from lacuna.errors import LacunaError

LIB = ROOT / "workflow/lib"


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    """What Snakemake gives a script, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LACUNA_RUN", raising=False)
    (tmp_path / "results").mkdir()
    return SimpleNamespace(
        rule="unlearn",
        wildcards={"state": "dense", "unlearner": "ga"},
        input=["results/model.safetensors", "mine.npz"],
        output=["results/out.json"],
        log=["results/logs/ga.log"],
        config={"results": "results"},
        params={},
        resources={"gpu": 0},
        threads=1,
    )


def ended(snakemake, work):
    """The sentence that a job with this work ends with."""

    def run():
        with job(snakemake) as log:
            log("began")
            work()

    with pytest.raises(SystemExit) as error:
        run()
    assert not list(Path(".snakemake/lacuna/jobs").glob("*"))
    return str(error.value)


def logged():
    """The log without the lines that every log begins with."""
    _, began, rest = Path("results/logs/ga.log").read_text().partition("\ndevice: ")
    assert began
    return rest.partition("\n")[2]


def raises(error):
    def work():
        raise error

    return work


def test_bad_input_is_one_sentence(snakemake):
    sentence = ended(snakemake, raises(LacunaError("lr: 7 is not allowed; allowed: less")))
    assert sentence == (
        "lacuna: unlearn state=dense unlearner=ga: lr: 7 is not allowed; allowed: less (log: results/logs/ga.log)"
    )
    assert logged() == f"began\n{sentence.partition(' (log')[0]}\n"


@pytest.mark.parametrize("how", [sys.exit, exit])
@pytest.mark.parametrize("status", [0, None, 3, "enough"])
def test_code_that_ends_the_job_is_named(snakemake, how, status):
    """With status 0 the job would pass for one that is done, without its files."""

    def forget():
        how(status)

    sentence = ended(snakemake, forget)
    line = forget.__code__.co_firstlineno + 1
    assert sentence == (
        f"lacuna: unlearn state=dense unlearner=ga: 'forget' ({__file__}, line {line}) ended the job by "
        f"sys.exit({status!r}); allowed: returning, or raising an exception (log: results/logs/ga.log)"
    )
    assert sentence.partition(" (log")[0] in logged()


@pytest.mark.parametrize(("status", "seen"), [(0, 1), (3, 3)])
def test_code_that_ends_the_process_at_once_is_no_success(snakemake, status, seen, capfd):
    if not (child := os.fork()):
        with job(snakemake):
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == seen
    said = f") ended the job by os._exit({status}); allowed: returning, or raising an exception"
    assert said in capfd.readouterr().err and said in logged()


def test_children_of_a_job_end_as_ever(snakemake, capfd):
    with job(snakemake):
        if not (child := os.fork()):
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert not capfd.readouterr().err
    assert os._exit.__module__ == "posix"


def test_file_name_that_is_no_text_is_said_all_the_same(snakemake):
    """What the system gives for bytes that are not UTF-8 cannot be written as UTF-8 itself."""
    name = os.fsdecode(b"caf\xe9.png")
    sentence = ended(snakemake, raises(LacunaError(f"{name}: not a usable image; allowed: a sound one")))
    assert sentence.startswith("lacuna: unlearn state=dense unlearner=ga: caf\udce9.png: not a usable image")
    assert r"caf\udce9.png: not a usable image; allowed: a sound one" in logged()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(5, "Input/output error", "results/out.json"), "Input/output error"),
        (RuntimeError("CUDA out of memory\nmany\nlines"), "RuntimeError: CUDA out of memory (log"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_anything_else_is_one_sentence_too(snakemake, error, said):
    """The traceback is in the log alone."""
    sentence = ended(snakemake, raises(error))
    assert sentence.startswith("lacuna: unlearn state=dense unlearner=ga: ") and said in sentence
    assert "\n" not in sentence
    assert "Traceback" in logged() and logged().startswith("began\n")


@pytest.mark.parametrize(("number", "why"), [(28, "No space left on device"), (27, "File too large")])
def test_a_disk_that_refuses_is_one_sentence_without_a_traceback(snakemake, number, why):
    """Not in the log either, which a profile shows beside the sentence."""
    sentence = ended(snakemake, raises(OSError(number, why, "results/out.json")))
    assert f"results/out.json: cannot be written ({why}); run the same command when there is room" in sentence
    assert "Traceback" not in logged()


def test_a_full_disk_does_not_hide_the_sentence(snakemake):
    """The log itself cannot be written: what goes to the terminal still says why."""
    snakemake.log = ["/dev/full"]
    with pytest.raises(SystemExit) as error, job(snakemake):
        raise OSError(28, "No space left on device")
    assert "No space left on device" in str(error.value)
    with pytest.raises(SystemExit, match="No space left on device"), job(snakemake) as log:
        log("a line")


def test_an_unwritable_log_is_one_sentence(snakemake):
    Path("results/logs").write_text("no folder")
    with pytest.raises(SystemExit, match=r"lacuna: unlearn .*FileExistsError"), job(snakemake):
        raise AssertionError("ran without a log")


def test_a_damaged_input_is_set_aside(snakemake):
    """The pipeline's own file is renamed, so that the same command makes it anew; nothing is lost."""
    damaged = Path("results/model.safetensors")
    damaged.write_bytes(b"half")
    sentence = ended(snakemake, lambda: read_npz(str(damaged), "mask"))
    assert "not a usable mask file" in sentence and "model.safetensors.damaged: run the same command again" in sentence
    assert not damaged.exists()
    assert Path("results/model.safetensors.damaged").read_bytes() == b"half"


@pytest.mark.parametrize("path", ["mine.npz", "results/not_an_input.npz"])
def test_other_files_stay(snakemake, path):
    """Neither the user's file nor one that is no input is touched."""
    Path(path).write_bytes(b"half")
    sentence = ended(snakemake, lambda: read_npz(path, "mask"))
    assert "delete it and run the same command again" in sentence
    assert Path(path).read_bytes() == b"half"


def test_a_missing_input_is_named(snakemake):
    assert "results/model.safetensors: not a usable json file (no such file)" in ended(
        snakemake, lambda: read_json("results/model.safetensors")
    )


def test_success_leaves_its_log_and_no_lock(snakemake):
    with job(snakemake) as log:
        (lock,) = Path(".snakemake/lacuna/jobs").iterdir()
        assert f"process {os.getpid()}" in lock.read_text()
        log("α = 0.5")
    assert logged().splitlines()[0] == "α = 0.5"
    assert not list(Path(".snakemake/lacuna/jobs").iterdir())


def test_unfinished_files_of_a_killed_run_are_removed_and_no_others(snakemake):
    """They carry the name of the job's own output; another job may be writing what lies beside it."""
    folder = Path("results")
    for name in (".out.json.ab12.tmp.json", ".other.json.ab12.tmp.json", "out.json.tmp.json", ".out.json"):
        (folder / name).write_text("half")
    with job(snakemake):
        assert sorted(p.name for p in folder.glob("*.json")) == [
            ".other.json.ab12.tmp.json",
            ".out.json",
            "out.json.tmp.json",
        ]


def test_the_module_needs_no_torch():
    code = f"import sys; sys.path.insert(0, {str(LIB)!r}); import lacuna_workflow.job; sys.exit('torch' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0


def test_answers_that_are_not_finite_are_a_divergence_and_leave_no_file(tmp_path):
    """Of any part: the run itself looks at a batch of two of them."""
    from lacuna_workflow.cell_job import write_predictions

    import torch
    from tiny import data, network

    given, model, path = data(), network(), tmp_path / "predictions.npz"
    images = given.images.float() / 255
    images[given.parts["test"][3]] = torch.inf
    broken = dataclasses.replace(given, images=images)
    with pytest.raises(LacunaError) as caught:
        write_predictions(path, model, broken, {"sha256": "0"}, "ga on dense, class")
    assert str(caught.value) == (
        "ga on dense, class: diverged (the logits of 1 of 10 samples of 'test' are not finite); "
        "try a smaller lr or fewer epochs"
    )
    assert not list(tmp_path.iterdir())
    write_predictions(path, model, given, {"sha256": "0"}, "ga on dense, class")
    assert torch.isfinite(torch.from_numpy(read_npz(path, "predictions")["logits/test"])).all()


def test_a_log_that_is_a_link_leads_into_no_other_file(snakemake):
    Path("results/logs").mkdir()
    Path("victim").write_text("mine")
    Path("results/logs/ga.log").symlink_to(Path("victim").absolute())
    with pytest.raises(SystemExit, match="lacuna: unlearn"), job(snakemake):
        raise AssertionError("ran")
    assert Path("victim").read_text() == "mine"


@pytest.mark.parametrize("root", ["results", "on/logs/mine"])
def test_a_benchmark_that_is_a_link_leads_into_no_other_file(snakemake, root):
    """As an output that is a link is replaced: Snakemake writes the benchmark when the script is done."""
    snakemake.config = {"results": root}
    snakemake.log = [f"{root}/logs/cells/ga-0.90.log"]
    Path("victim").write_text("mine")
    benchmark = Path(root, "benchmarks/cells/ga-0.90.tsv")
    benchmark.parent.mkdir(parents=True)
    benchmark.symlink_to(Path("victim").absolute())
    with job(snakemake):
        pass
    assert not benchmark.is_symlink()
    benchmark.write_text("s\n")
    assert Path("victim").read_text() == "mine"
    with job(snakemake):
        pass
    assert benchmark.read_text() == "s\n", "a file of its own stays"


CELL = Path("results/cells/digits/resnet8/brief/seed0/class/dense/ga")


def cell_files(cell, value):
    """A cell with a job.json that vouches for its predictions and mask."""
    arrays = {"logits/test": np.full((2, 2), value), "labels/test": np.arange(2), "index/test": np.arange(2)}
    write_npz(cell / "predictions.npz", "predictions", arrays)
    write_npz(cell / "mask.npz", "mask", pack_bits({"w": np.array([True, value > 0])}))
    outputs = {name: content_digest(cell / f"{name}.npz") for name in ("predictions", "mask")}
    write_json(cell / "job.json", {"cell": {"unlearner": cell.name}, "seconds": 1.0, "outputs": outputs})
    write_json(cell / "metrics/tiny.json", {"metrics": {"UA": 1.0}})


def test_cells_that_changed_places_are_set_aside_whole(snakemake):
    """The first file that is read tells: one run finds all that the cell's folder has of the other's."""
    other = CELL.with_name("ft")
    cell_files(CELL, 0.0)
    cell_files(other, 1.0)
    CELL.rename(CELL.with_name("x"))
    other.rename(CELL)
    CELL.with_name("x").rename(other)
    snakemake.input = [str(CELL / "metrics/tiny.json"), str(other / "metrics/tiny.json")]
    sentence = ended(snakemake, lambda: read_json(CELL / "metrics/tiny.json"))
    assert "it is the file of cells/digits/resnet8/brief/seed0/class/dense/ft/metrics/tiny.json" in sentence
    left = {str(path.relative_to(CELL.parent)) for path in CELL.parent.rglob("*") if path.is_file()}
    assert {name for name in left if name.startswith("ga/")} == {
        "ga/metrics/tiny.json.damaged",
        *(f"ga/{name}.damaged" for name in ("job.json", "predictions.npz", "mask.npz")),
    }
    assert "ft/metrics/tiny.json.damaged" in left and "ft/metrics/tiny.json" not in left


def test_predictions_of_an_earlier_run_are_set_aside(snakemake):
    """In the right place and whole, but not what the job.json beside them was written for."""
    cell_files(CELL, 1.0)
    kept = (CELL / "job.json").read_bytes()
    cell_files(CELL, 0.0)
    (CELL / "job.json").write_bytes(kept)
    snakemake.input = [str(CELL / name) for name in ("predictions.npz", "mask.npz", "job.json")]
    sentence = ended(snakemake, begun)
    assert "predictions.npz.damaged, and so is " in sentence and "mask.npz" in sentence
    assert (CELL / "job.json").exists()


def test_a_file_of_another_run_is_set_aside_before_the_job_begins(snakemake):
    """Sound and in its own place, but made from other files than those that lie there now."""
    cell_files(CELL, 0.0)
    relearn = CELL / "relearn.json"
    inputs = {str(CELL / "mask.npz"): content_digest(CELL / "mask.npz"), "mine.npz": "of a user"}
    write_json(relearn, {"parameters": {}, "inputs": inputs})
    snakemake.input = [str(relearn), str(CELL / "job.json"), "mine.npz"]
    assert ended(snakemake, raises(LacunaError("begun"))).startswith("lacuna: unlearn state=dense unlearner=ga: begun")
    cell_files(CELL, 1.0)
    sentence = ended(snakemake, begun)
    assert f"{relearn}: built from an older {CELL}/mask.npz; it is now relearn.json.damaged" in sentence
    assert sorted(path.name for path in CELL.glob("*.damaged")) == ["relearn.json.damaged"]


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("models/digits/resnet8/brief/seed0/dense/scores", "scores"),
        ("cells/digits/resnet8/brief/seed0/class/dense/ga/shadows/0-3", "shadows"),
    ],
)
def test_arrays_must_be_those_that_their_own_json_names(snakemake, place, kind):
    """Where several jobs write into a folder, the JSON file of the same name vouches for the arrays."""
    arrays = Path("results", f"{place}.npz")
    write_npz(arrays, kind, {"x": np.zeros(3)})
    old = arrays.read_bytes()
    write_npz(arrays, kind, {"x": np.ones(3)})
    write_json(arrays.with_suffix(".json"), {"outputs": {"made": content_digest(arrays)}})
    snakemake.input = [str(arrays)]
    assert ": begun (log" in ended(snakemake, raises(LacunaError("begun")))
    arrays.write_bytes(old)
    assert "next to it was written for other content); it is now " in ended(snakemake, begun)


def begun():
    pytest.fail("the job began")


# ---- how every log begins and ends -----------------------------------------------------------------------------------


def test_log_begins_with_cell_config_and_device_and_ends_with_the_result(snakemake):
    unlearner = {"method": "ga", "lr": 0.001, "milestones": []}
    snakemake.params = {"unlearner": unlearner, "compact": False, "code": "0123", "start": None}
    snakemake.output = Outputs(metrics="results/ga.json")
    with job(snakemake) as log:
        log("1.5 points")
        log("warning: few of them")
    first, *values, device, _, _, last = Path("results/logs/ga.log").read_text().splitlines()
    assert first.startswith("unlearn state=dense unlearner=ga, 20")
    assert values == ["unlearner: method ga, lr 0.001", "compact: False"]
    assert device.startswith("device: ") and device.endswith(", 1 thread")
    assert re.fullmatch(r"done in \d+\.\d s: 1\.5 points", last)


@pytest.mark.parametrize(("steps", "told"), [(0, "no steps"), (12, "12 steps")])
def test_log_of_a_model_ends_with_time_steps_and_accuracies(snakemake, steps, told):
    """Of methods without steps too, which log nothing themselves."""
    snakemake.output = Outputs(job="results/job.json", predictions="results/predictions.npz")
    logits = np.eye(4, dtype=np.float32)
    with job(snakemake):
        Path("results/job.json").write_text(json.dumps({"seconds": 1.72, "steps": steps}))
        arrays = {f"logits/{part}": logits for part in ("forget", "retain", "test")}
        labels = {"labels/forget": [0, 0, 0, 0], "labels/retain": [0, 1, 2, 3], "labels/test": [0, 1, 0, 0]}
        write_npz("results/predictions.npz", "predictions", arrays | {k: np.array(v) for k, v in labels.items()})
    last = Path("results/logs/ga.log").read_text().splitlines()[-1]
    assert re.fullmatch(rf"done in \d+\.\d s: 1\.7 s of the method, {told}; UA 75\.00, RA 100\.00, TA 50\.00", last)


def test_device_is_the_gpu_of_a_job_that_asks_for_one(snakemake, monkeypatch):
    """Where torch is loaded for other jobs too, one that computes nothing with it names the processor."""
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=lambda: "H100")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    for gpus, told in ((1, True), (0, False)):
        snakemake.resources = {"gpu": gpus}
        with job(snakemake):
            pass
        assert ("device: H100, 1 thread" in Path("results/logs/ga.log").read_text().splitlines()) is told


def test_job_without_the_facts_of_a_log_ends_as_well_without_them(snakemake):
    """What a log cannot tell is no reason to fail."""
    snakemake.params, snakemake.threads = None, None
    snakemake.output = Outputs(job="results/job.json")
    with job(snakemake) as log:
        log("nothing was written")
    assert "nothing was written" in Path("results/logs/ga.log").read_text()


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_job_that_is_started_without_streams_has_some_that_lead_nowhere(tmp_path, closed):
    """A progress bar asks standard error whether it is a screen; what a library prints must go into no result."""
    text = f"""
import sys
sys.path[:0] = {[str(ROOT / "workflow/lib"), str(ROOT / "src")]!r}
from lacuna_workflow import log_lines
log_lines.begin(None, print)
file = open("file", "w")
file.write(f"{{file.fileno() > 2}} {{sys.stderr.isatty()}} {{sys.stdout.isatty()}}")
"""
    (tmp_path / "job.py").write_text(text)
    subprocess.run(["sh", "-c", f'exec "$0" job.py {closed}', sys.executable], cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_text() == "True False False"


def test_what_writes_logs_alone_gives_no_answer_to_anyone():
    """Its calls are statements, so that the digest of a job can pass over them."""
    lib = ROOT / "workflow/lib/lacuna_workflow"
    for path in [*lib.glob("*.py"), *(ROOT / "workflow/scripts").glob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        stated = {id(name) for call in calls for name in ast.walk(call) if isinstance(name, ast.Name)}
        assert all(id(n) in stated for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "log_lines"), path


class Outputs(list):
    """Outputs with names, as Snakemake has them."""

    def __init__(self, **named):
        super().__init__(named.values())
        self.items = named.items
