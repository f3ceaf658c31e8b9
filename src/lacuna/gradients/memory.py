"""The memory that may still be taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch


def memory_at_hand(device: torch.device) -> int:
    """Bytes that may still be taken on a device; on a CPU within the limits of a container or batch job."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_free_bytes(), default=2**33)


def _free_bytes() -> Iterator[int]:
    """What the machine and each control group around this process have left, as far as the system tells."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = Path("/sys/fs/cgroup") / controllers
        names = (
            ("memory.max", "memory.current") if not controllers else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        )
        inside = Path(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            try:
                limit, used = (int((root / folder / name).read_text()) for name in names)
                yield max(0, limit - used)
            except (OSError, ValueError):
                continue  # no such file, or no limit ("max")
