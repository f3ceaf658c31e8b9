"""Cost metrics, and the energy that a device reports or not."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lacuna.evaluation import Cell, evaluate
from lacuna.measurement import energy

COSTS = ("samples", "forwards", "backwards", "peak_memory_mb", "energy_j")


def cell(**job):
    part = (np.eye(2), np.arange(2))
    return Cell.of(retain=part, forget=part, test=part, extra={"job": job})


def test_costs_are_those_of_the_job():
    job = {"samples": 10, "forwards": 3, "backwards": 2, "peak_memory_mb": 500.0, "energy_j": 7.5}
    assert evaluate(cell(**job), metrics=COSTS) == job
    on_gpu = evaluate(cell(**job, peak_gpu_memory_mb=80.0), metrics=["peak_memory_mb"])
    assert on_gpu == {"peak_memory_mb": 80}


def test_what_the_device_does_not_report_is_absent_with_its_reason():
    found = evaluate(cell(energy_j=None, energy_j_absent="a cpu does not report its energy"), metrics=COSTS)
    assert not found
    assert found.absent["energy_j"] == "a cpu does not report its energy"
    assert found.absent["samples"] == "the job does not say 'samples'"


def test_a_cpu_reports_no_energy():
    with energy.EnergyMeter(torch.device("cpu")) as meter:
        pass
    assert meter.facts == {"energy_j": None, "energy_j_absent": "a cpu does not report its energy"}


class Nvml:
    """A device whose counter stands at these millijoules, one after the other; or whose call fails."""

    def __init__(self, counts, failing=""):
        self.counts, self.failing = iter(counts), failing

    def __getattr__(self, name):
        def call(*arguments):
            if name == self.failing:
                return 3
            if name == "nvmlDeviceGetHandleByUUID":
                assert arguments[0] == b"GPU-12-34"
            if name == "nvmlDeviceGetTotalEnergyConsumption":
                arguments[1]._obj.value = next(self.counts)
            return 0

        return call


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    return torch.device("cuda")


def test_energy_is_the_difference_of_the_counter(monkeypatch, gpu):
    nvml = Nvml([1_000, 4_500])
    monkeypatch.setattr(ctypes, "CDLL", lambda name: nvml)
    with energy.EnergyMeter(gpu) as meter:
        pass
    assert meter.facts == {"energy_j": 3.5}
    assert energy.sum_of(meter.facts, {"energy_j": 10.0}) == {"energy_j": 13.5}
    lacking = {"energy_j": None, "energy_j_absent": "why"}
    assert energy.sum_of(meter.facts, lacking) == energy.sum_of(lacking, meter.facts) == lacking


@pytest.mark.parametrize("failing", ["nvmlInit_v2", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetTotalEnergyConsumption"])
def test_a_device_that_does_not_answer_says_so(monkeypatch, gpu, failing):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Nvml([1], failing))
    with energy.EnergyMeter(gpu) as meter:
        pass
    assert meter.facts == {"energy_j": None, "energy_j_absent": f"{failing} failed with code 3"}


def test_an_old_driver_is_a_reason(monkeypatch, gpu):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(nvmlInit_v2=lambda: 0))
    assert energy.total_joules(gpu) == "this driver has no nvmlDeviceGetHandleByUUID"


def test_no_driver_library_is_a_reason(monkeypatch, gpu):
    def missing(name):
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert energy.total_joules(gpu) == "libnvidia-ml.so.1 was not found"
