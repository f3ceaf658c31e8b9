"""The experiment of a plan, from Snakemake's settings or from the config of a workflow that imports this one."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lacuna_workflow import ROOT
from lacuna_workflow.paths import Paths

from lacuna.artifacts.files import use_results
from lacuna.commands.batches import Batch, Request, asked
from lacuna.commands.launch import CACHE, SCHEMA
from lacuna.errors import LacunaError
from lacuna.experiment import catalogue, code_digest
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.config import load, results_of
from lacuna.experiment.foresight import limits_of
from lacuna.experiment.grid import Experiment
from lacuna.experiment.yaml_files import located


class Study(NamedTuple):
    """A checked experiment, the catalogue that it was checked against, and where its files lie.

    batch: the one that this process runs; request: that of `lacuna run` to take batches for a large experiment.
    """

    experiment: Experiment
    known: Catalogue
    paths: Paths
    batch: Batch | None = None
    request: Request | None = None

    @property
    def followed(self) -> Experiment:
        """The experiment with the cells of which jobs are planned: the tables of a large one are made of files."""
        return self.experiment if self.experiment.part or not self.batch else _with_cells(self.experiment, self.batch)

    def config_of_jobs(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The config that scripts are given: how a job works, which is no param and makes nothing run again."""
        own = {"device": self.experiment.device, "images": self.experiment.images, "results": self.paths.there}
        # of the report, whose templates see nothing else that is no param
        captions = {name: facts["doc"]["text"] for name, facts in self.known["tables"].items()}
        return {**config, **own, "captions": captions}


def _with_cells(experiment: Experiment, batch: Batch) -> Experiment:
    return dataclasses.replace(experiment, part=(batch.first, batch.last))


def _imported(workflow: Any) -> bool:
    return not workflow.modifier.is_main_snakefile()


def default_file(workflow: Any) -> Path:
    """The file that all others lie over: see `read_study`."""
    default = Path("config/config.yaml")
    return default if default.exists() and not _imported(workflow) else ROOT / default


def read_study(workflow: Any, config: Mapping[str, Any]) -> Study:
    """The experiment: the default file and what lies over it.

    The default is config/config.yaml of the working directory, which of an importing workflow is its own affair, or
    else beside the Snakefile. Over it lie every --configfile and --config, or the config of the module statement.
    workflow, config: Snakemake's. Ends the process with a sentence for an experiment that is not in order.
    """
    files = [default_file(workflow)]
    if _imported(workflow) and config:
        overrides: Mapping[str, Any] = config
    else:
        files += workflow.config_settings.configfiles
        overrides = workflow.config_settings.config
    try:
        if overrides is config and "grid" in overrides and "name" not in overrides:
            raise LacunaError("config of the module: missing key 'name'; its tables would be those of the default grid")
        root = results_of(files, overrides) or workflow.modifier.pathvars.get("results")
        paths = Paths.below(root, workflow.modifier.modify_path)
        use_results(paths.there)
        code_digest.remember(CACHE, workflow.is_main_process)
        known = catalogue.load(CACHE)
        # a job's own process need not read the user's data again
        data = f"{paths.there}/data" if workflow.is_main_process else None
        experiment = load(
            files, overrides, SCHEMA, known, data_folder=data, cache=CACHE, ingested=f"{paths.there}/data"
        )
        request, batch = asked(workflow.is_main_process and not _imported(workflow))
        if batch is not None:
            batch.check(experiment.config)
    except LacunaError as error:
        # the sentence alone: a WorkflowError would come with lines of the rules
        sys.exit(f"lacuna: {located(str(error), files, overrides)}")
    except KeyboardInterrupt:
        print("lacuna: interrupted", file=sys.stderr)
        sys.exit(130)
    if batch is not None and not batch.of_tables:
        experiment = _with_cells(experiment, batch)
    # a batch's have been said by the process that began the run
    if workflow.is_main_process and batch is None:
        for warning in experiment.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        for sentence in limits_of(experiment, CACHE):
            print(f"note: {sentence}", file=sys.stderr)
    return Study(experiment, known, paths, batch, request)
