"""Modes of a network: training and evaluation, and how attention is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

Precision = Literal["fp32", "fp32_strict", "bf16", "auto"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module gets its own mode back."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in was_training.items():
            module.training = mode


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention in its plain form for a while: the fused kernels have no second derivative."""
    fused = torch.backends.cuda
    states = [
        (fused.enable_flash_sdp, fused.flash_sdp_enabled()),
        (fused.enable_mem_efficient_sdp, fused.mem_efficient_sdp_enabled()),
        (fused.enable_cudnn_sdp, fused.cudnn_sdp_enabled()),
    ]
    for switch, _ in states:
        switch(False)  # on a CPU too, whatever the name
    try:
        yield
    finally:
        for switch, before in states:
            switch(before)


def autocasts(precision: Precision, device: torch.device) -> bool:
    """Whether a forward pass runs in bfloat16 autocast on a device; auto: on a GPU that has it."""
    has_it = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bf16" or (precision == "auto" and has_it)


def could_autocast(precision: Precision, device: torch.device) -> bool:
    """Whether a CPU that trains in float32 has units for bfloat16: avx512_bf16 or AMX."""
    has_it = has_unit("avx512_bf16") or has_unit("amx_tile")
    return device.type == "cpu" and has_it and not autocasts(precision, device)


def has_unit(unit: str) -> bool:
    """Whether this CPU has a unit for bfloat16 that PyTorch uses; unit: avx512_bf16 or amx_tile."""
    # PyTorch's own words for them are private, and may go
    has: bool = getattr(torch.cpu, f"_is_{unit}_supported", bool)()
    return has


def arithmetic_told(precision: Precision, device: torch.device) -> str:
    """In which numbers a device computes what is trained with a precision, in words."""
    if autocasts(precision, device):
        return "bf16 autocast"
    return "fp32, convolutions in TF32" if device.type == "cuda" and precision != "fp32_strict" else "fp32"


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """The rules by which a GPU computes for a while; a CPU has none of them.

    Convolutions of float32 run in TF32, as is PyTorch's default, and products of matrices do not; with fp32_strict
    neither does. Afterwards these switches, and whether cuDNN tries its kernels, are as they were.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.benchmark, matmul.allow_tf32
    cudnn.allow_tf32, matmul.allow_tf32 = precision != "fp32_strict", False
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.benchmark, matmul.allow_tf32 = before


def finished(device: torch.device) -> None:
    """Wait until a GPU has computed what it was given: a clock that is read before tells too little."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
