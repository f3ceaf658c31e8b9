"""How a job's log ends."""

from __future__ import annotations

import os
from pathlib import Path

# bytes at the end of a log that hold its last line
_END = 8192


def last_line(log: str | Path) -> str | None:
    """The last line that says anything, without the blanks around it; empty if none does, None without a log.

    Of a log that is long without a line's end, the end of it.
    """
    try:
        with open(log, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _END, 0))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
