"""What rules and scripts share; importing it makes the workflow's own `lacuna` importable, installed or not."""

import functools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# beside this folder as it was reached: where workflow/ is a link, src/ need not be that of the place it leads to
_SOURCES = str(Path(__file__).absolute().parents[3] / "src")
if sys.path[:1] != [_SOURCES]:
    sys.path.insert(0, _SOURCES)


@functools.cache
def is_own(snakefile: str) -> bool:
    """Whether a file of rules is this workflow's, wherever a link leads to it, and not that of one that imports it."""
    path = Path(snakefile).resolve()
    return path == ROOT / "Snakefile" or path.is_relative_to(ROOT / "workflow")
