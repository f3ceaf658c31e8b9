"""The workflow as Snakemake reads it, for tests that ask what its rules say."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from places import ROOT
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings


@contextlib.contextmanager
def parsed(folder: Path, *configfiles: Path, snakefile: Path = ROOT / "Snakefile", **config: Any) -> Iterator[Any]:
    """Snakemake's Workflow of an experiment, read in a folder; that is the working directory meanwhile.

    The environment is put back: the workflow writes there which run its jobs belong to.
    """
    before, environment = os.getcwd(), dict(os.environ)
    try:
        with SnakemakeApi(OutputSettings(stdout=False)) as api:
            read = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(config=config, configfiles=configfiles),
                snakefile=snakefile,
                workdir=folder,
            )
            yield read._workflow
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)
