"""How a job's log ends."""

from __future__ import annotations

from pathlib import Path


def last_line(log: str | Path) -> str | None:
    """The last line that says anything, without the blanks around it; empty if none does, None without a log."""
    try:
        lines = Path(log).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
