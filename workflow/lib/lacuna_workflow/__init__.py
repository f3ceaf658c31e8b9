"""What rules and scripts share; importing it makes the workflow's own `lacuna` importable, installed or not."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_SOURCES = str(ROOT / "src")
if sys.path[:1] != [_SOURCES]:
    sys.path.insert(0, _SOURCES)
