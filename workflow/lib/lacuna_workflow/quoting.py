"""Python's path as a shell reads it.

Snakemake hands it over as it is, and so starts no script from an environment in a folder with a blank in its name. The
file names of scripts it quotes itself.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

from lacuna_workflow.internals import Patch

import snakemake.script


class QuotedPython:
    """The module `sys`, with the path of Python quoted."""

    executable = shlex.quote(sys.executable)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def quote() -> None:
    """Let Snakemake's scripts see that module, where the path asks for it."""
    if shlex.quote(sys.executable) != sys.executable:
        snakemake.script.sys = QuotedPython()


QUOTING = Patch(
    "python_path",
    ((snakemake.script, "sys"),),
    quote,
    "https://github.com/snakemake/snakemake/issues/2645",
)
