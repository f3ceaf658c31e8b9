"""The energy that a GPU draws, as the device itself counts it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import torch


class EnergyMeter:
    """Joules between entering and leaving, of the whole device: whatever else runs on it is in the number.

    facts, afterwards: `energy_j`, and where it is null `energy_j_absent`, the reason.
    Reads NVML's total energy counter (NVIDIA, Volta and later); a CPU has none that a user may read everywhere.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> EnergyMeter:
        self._before = total_joules(self.device)
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(self._before, str):
            self.facts = _absent(self._before)
            return
        torch.cuda.synchronize(self.device)
        after = total_joules(self.device)
        self.facts = _absent(after) if isinstance(after, str) else {"energy_j": after - self._before}


def sum_of(facts: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The energy of a run and of an earlier one that it needed; absent if it is so for either."""
    for each in (facts, earlier):
        if each["energy_j"] is None:
            return _absent(each["energy_j_absent"])
    return {"energy_j": facts["energy_j"] + earlier["energy_j"]}


def _absent(reason: str) -> dict[str, Any]:
    return {"energy_j": None, "energy_j_absent": reason}


def total_joules(device: torch.device) -> float | str:
    """Joules since the driver was loaded, or why they are not known."""
    if device.type != "cuda":
        return f"a {device.type} does not report its energy"
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "libnvidia-ml.so.1 was not found"
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    # by its UUID: NVML counts devices that this process may not see
    uuid = f"GPU-{getattr(torch.cuda.get_device_properties(device), 'uuid', None)}".encode()
    calls = (
        ("nvmlInit_v2", ()),
        ("nvmlDeviceGetHandleByUUID", (uuid, ctypes.byref(handle))),
        ("nvmlDeviceGetTotalEnergyConsumption", (handle, ctypes.byref(millijoules))),
    )
    for name, arguments in calls:
        call = getattr(nvml, name, None)
        if call is None:
            return f"this driver has no {name}"
        code = call(*arguments)
        if code:
            return f"{name} failed with code {code}"
    return millijoules.value / 1000
