"""Modes of a network: training and evaluation, and how attention is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
