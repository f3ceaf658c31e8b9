# Snakemake hands the path of Python to the shell as it is, and so starts no script from an environment in a folder with a
# blank in its name; it gets that path quoted. The file names of scripts it quotes itself.
import shlex
import sys

import snakemake.script


class QuotedPython:
    """The module `sys`, with the path of Python as a shell reads it."""

    executable = shlex.quote(sys.executable)

    def __getattr__(self, name):
        return getattr(sys, name)


if shlex.quote(sys.executable) != sys.executable:
    snakemake.script.sys = QuotedPython()
