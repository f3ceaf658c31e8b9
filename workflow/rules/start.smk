# Where the workflow's Python lies, and what it changes in Snakemake.
import sys
from pathlib import Path

# not workflow.basedir, which in a module is the folder of the Snakefile that imports it; for the rules, and for the
# scripts, which Snakemake gives the same folders; at the end, for an importer's come first
LIB = str(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent / "lib")
if LIB not in sys.path:
    sys.path.append(LIB)

from lacuna_workflow.start import start

start(workflow, config)
