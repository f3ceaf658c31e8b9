"""Columns of a row, shares of the time, and where rows are kept."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("time", "commit", "device", "driver", "torch", "stage", "name", "setting", "value", "unit", "at", "note")
# the share of the time that each stage may take; the last one has what is left
SHARES = {
    "facts": 0.03,
    "correctness": 0.15,
    "steps": 0.14,
    "data": 0.08,
    "packing": 0.1,
    "cells": 0.12,
    "fast": 0.1,
    "table": 1.0,
}
SHARDS = 8
REHEARSAL = {
    "facts": 30,
    "correctness": 150,
    "steps": 40,
    "data": 60,
    "packing": 40,
    "cells": 90,
    "fast": 30,
    "table": 150,
}
# a stage, a shard or a worker is a process of its own
COMMAND = (sys.executable, "-m", "bench.gpu")
COMMITTED = ROOT / "docs" / "results" / "gpu"
