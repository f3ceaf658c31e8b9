"""Networks: their anatomy, first weights, cost and files; `architectures` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lacuna.registry import Registry

if TYPE_CHECKING:
    from lacuna.models.architectures.base import Architecture

MODELS: Registry[type[Architecture]] = Registry("lacuna.models.architectures", "model", __path__[0] + "/architectures")
