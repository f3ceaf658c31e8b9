"""Where the experiment of a plan comes from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from lacuna_workflow.study import read_study

import pytest
import yaml

from lacuna.commands.batches import Batch, digest_of
from lacuna.experiment import catalogue

GRID = {
    "datasets": {"digits": {}},
    "models": {"resnet8": {"width": 4}},
    "recipes": {"brief": {"epochs": 1, "rewind_epoch": 0, "warmup_epochs": 0}},
    "seeds": [0],
    "scenarios": {"class": {"forget_class": 3}},
    "pruners": {"omp": {}},
    "sparsities": ["dense"],
    "unlearners": {"original": {}, "retrain": {}},
}
MINE = {"name": "mine", "device": "cpu", "figures": [], "grid": GRID}


@pytest.fixture
def workflow(known, tmp_path, monkeypatch):
    """Makes Snakemake's workflow as it is while rules are read, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "load", lambda cache: known)

    def make(imported=False, prefix="", files=(), pathvars=None, **config):
        modifier = SimpleNamespace(
            is_main_snakefile=lambda: not imported,
            modify_path=lambda path: prefix + path,
            pathvars={"results": "results"} | (pathvars or {}),
        )
        settings = SimpleNamespace(configfiles=[Path(file).absolute() for file in files], config=config)
        return SimpleNamespace(modifier=modifier, config_settings=settings, is_main_process=False)

    return make


def test_files_and_command_line_lie_over_the_default_experiment(workflow):
    Path("mine.yaml").write_text(yaml.safe_dump(MINE | {"results": "there"}))
    study = read_study(workflow(files=["mine.yaml"], device="auto"), {"name": "Snakemake merged it"})
    assert (study.experiment.name, study.experiment.device, study.paths.root) == ("mine", "auto", "there")
    assert read_study(workflow(files=["mine.yaml"], results="here"), {}).paths.root == "here"


def test_a_module_s_config_is_all_that_lies_over_it(workflow):
    """Not the importer's files; a text of its config is read as a file would have it."""
    Path("importer.yaml").write_text("sample: 3\n")
    Path("config").mkdir()
    Path("config/config.yaml").write_text("sample: 3\n")
    config = MINE | {"grid": GRID | {"recipes": {"brief": GRID["recipes"]["brief"] | {"lr": "1e-2"}}}}
    kept = dict(config)
    study = read_study(workflow(imported=True, files=["importer.yaml"], sample=4), config)
    assert study.experiment.name == "mine"
    assert study.experiment.entry("recipes", "brief").values["lr"] == 0.01
    jobs = study.config_of_jobs(config)
    assert {key: jobs[key] for key in ("device", "images", "results", "name")} == {
        "device": "cpu",
        "images": "auto",
        "results": "results",
        "name": "mine",
    }
    assert config == kept, "the importer's own dict"


def test_a_module_without_a_config_has_the_run_s(workflow):
    Path("mine.yaml").write_text(yaml.safe_dump(MINE))
    assert read_study(workflow(imported=True, files=["mine.yaml"]), {}).experiment.name == "mine"


def test_a_grid_without_a_name_is_refused(workflow):
    with pytest.raises(SystemExit, match=r"^lacuna: config of the module: missing key 'name'"):
        read_study(workflow(imported=True), {"grid": GRID})


def test_results_lie_where_key_pathvar_and_prefix_say(workflow):
    imported = workflow(imported=True, prefix="of/", pathvars={"results": "pool"})
    study = read_study(imported, MINE)
    assert (study.paths.root, study.paths.there) == ("pool", "of/pool")
    assert study.config_of_jobs({})["results"] == "of/pool"
    assert read_study(imported, MINE | {"results": "key"}).paths.there == "of/key"


def test_a_wrong_value_is_one_sentence_with_its_line(workflow):
    Path("mine.yaml").write_text("name: mine\ndevice: gpu\n")
    with pytest.raises(SystemExit, match=r"^lacuna: mine.yaml, line 2: device: .gpu. is not allowed"):
        read_study(workflow(files=["mine.yaml"]), {})


def test_interrupted_while_it_is_read_ends_in_a_line(workflow, monkeypatch, capsys):
    def interrupted(cache):
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "load", interrupted)
    with pytest.raises(SystemExit) as end:
        read_study(workflow(), {})
    assert (end.value.code, capsys.readouterr().err) == (130, "lacuna: interrupted\n")


def test_a_batch_of_an_experiment_that_was_edited_meanwhile_ends_with_a_sentence(workflow, monkeypatch):
    Path("mine.yaml").write_text(yaml.safe_dump(MINE))
    begun = read_study(workflow(files=["mine.yaml"]), {}).experiment
    batch = Batch(2, 3, 1, 2, 1, 0, digest_of(begun.config))
    monkeypatch.setattr("lacuna_workflow.study.asked", lambda main: (None, batch))
    assert read_study(workflow(files=["mine.yaml"]), {}).experiment.part == (1, 2)
    Path("mine.yaml").write_text(yaml.safe_dump(MINE | {"grid": GRID | {"sparsities": ["dense", 0.9]}}))
    with pytest.raises(SystemExit, match=r"^lacuna: the experiment was edited before batch 2 of 3 began; run the same"):
        read_study(workflow(files=["mine.yaml"]), {})
