"""A network that somebody else wrote."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lacuna.errors import LacunaError
from lacuna.fields import Options, Target
from lacuna.registry import register


@register("import")
@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a function of the user's makes: make(classes=, channels=, **kwargs) → nn.Module.

    import: "package.module:function"; a module of the working directory, or an installed one.
    kwargs: further arguments of the function.
    """

    import_: Target
    kwargs: Options = dataclasses.field(default_factory=dict)

    def build(self, classes: int, channels: int) -> nn.Module:
        """The network for `classes` classes and images of `channels` channels.

        Raises LacunaError if module or function is not there, or if the function fails or makes no network.
        """
        module, _, function = self.import_.partition(":")
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)  # last: no file of the user's hides a library
        try:
            found = importlib.import_module(module)
        except (Exception, SystemExit) as error:
            raise self._refused(f"cannot be imported ({_said(error)})", "a module of the working directory") from None
        make = getattr(found, function, None)
        if not callable(make):
            raise self._refused(f"'{function}' is no function of {module}", "a function of it")
        try:
            network: Any = make(classes=classes, channels=channels, **self.kwargs)
        except (Exception, SystemExit) as error:
            raise self._refused(
                f"it fails ({_said(error)})", "make(classes=, channels=, **kwargs) that gives a network"
            ) from None
        if not isinstance(network, nn.Module) or next(network.parameters(), None) is None:
            raise self._refused(f"it gives a {type(network).__name__}", "a torch.nn.Module with parameters")
        return network

    def _refused(self, why: str, allowed: str) -> LacunaError:
        return LacunaError(f"import: {self.import_}: {why}; allowed: {allowed}")


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]
