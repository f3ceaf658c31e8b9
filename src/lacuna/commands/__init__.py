"""What `lacuna NAME` and the Makefile run: one file for each command, found by its name without an import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lacuna.registry import Registry

if TYPE_CHECKING:
    from lacuna.commands.base import Command

COMMANDS: Registry[type[Command]] = Registry("lacuna.commands", "command", __path__[0])
