"""A network that somebody else wrote."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lacuna.errors import LacunaError, one_line
from lacuna.fields import Options, Target
from lacuna.randomness import derive, seeded
from lacuna.registry import register


@register("import")
@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a function of the user's makes: make(classes=, channels=, **kwargs) → nn.Module.

    import: "package.module:function"; a module of the working directory, or an installed one.
    kwargs: further arguments of the function. What module and function draw from the global random streams (features
    that are not learnt) is the same in every job; the working directory is left as it was.
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
        own = _own_file(module)
        with _undisturbed():
            try:
                loaded = importlib.import_module(module)
            except (Exception, SystemExit) as error:
                self._check_not_hidden(module, own)
                raise self._refused(
                    f"cannot be imported ({one_line(error)})", "a module of the working directory"
                ) from None
            self._check_not_hidden(module, own)
            make = getattr(loaded, function, None)
            if not callable(make):
                raise self._refused(f"'{function}' is no function of {module}", "a function of it")
            try:
                network: Any = make(classes=classes, channels=channels, **self.kwargs)
            except (Exception, SystemExit) as error:
                raise self._refused(
                    f"it fails ({one_line(error)})", "make(classes=, channels=, **kwargs) that gives a network"
                ) from None
        if not isinstance(network, nn.Module) or next(network.parameters(), None) is None:
            raise self._refused(f"it gives a {type(network).__name__}", "a torch.nn.Module with parameters")
        return network

    def _check_not_hidden(self, module: str, own: Path | None) -> None:
        """Refuse a module of the working directory that a library of the same name hides."""
        if own is None:
            return
        # of a package that is a library the module is never looked for
        taken = next((sys.modules[n] for n in (module, module.partition(".")[0]) if n in sys.modules), None)
        if taken is None:
            return
        file = getattr(taken, "__file__", None)
        places = [Path(file).parent] if file else [Path(place) for place in getattr(taken, "__path__", ())]
        if not any(own.resolve().is_relative_to(place.resolve()) for place in places):
            library = file or f"Python's own {taken.__name__}"
            raise self._refused(f"{own} is hidden by the library {library}", "a file whose name no library has")

    def _refused(self, why: str, allowed: str) -> LacunaError:
        return LacunaError(f"import: {self.import_}: {why}; allowed: {allowed}")


def _own_file(module: str) -> Path | None:
    """The file of a module in the working directory, if there is one."""
    stem = Path.cwd().joinpath(*module.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Code of the user's may draw from the global random streams and change the working directory."""
    here = Path.cwd()
    with seeded(derive("import")):
        try:
            yield
        finally:
            os.chdir(here)
