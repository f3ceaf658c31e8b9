"""The exceptions that users see, and what their sentences share."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class LacunaError(Exception):
    """Bad input, in one sentence: the file or key, the value, and what is allowed.

    Every function of lacuna raises it, and no other exception, for input that cannot be used; `str(error)` is the
    sentence. A run that diverged and a damaged file are kinds of it.

    >>> import lacuna
    >>> from lacuna.unlearning import UNLEARNERS
    >>> try:
    ...     UNLEARNERS["salum"]
    ... except lacuna.LacunaError as error:
    ...     print(str(error).partition(";")[0])
    unknown unlearner 'salum' (did you mean 'salun'?)
    """


def meant(name: object, allowed: Iterable[object]) -> str:
    """The name that was probably meant, as words behind one that is not known; empty if none is near."""
    folded = {str(a).casefold(): a for a in allowed}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    return f" (did you mean '{folded[near[0]]}'?)" if near else ""


def unknown(name: object, allowed: Iterable[object]) -> str:
    """The end of a sentence about a name that is not known: the one that was probably meant, and all that are."""
    names = [str(a) for a in allowed]
    return f"{meant(name, names)}; allowed: {', '.join(names) or 'none'}"


def one_line(error: BaseException) -> str:
    """What an exception of somebody else's code says, in one line: its type and its first line."""
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


class Diverged(LacunaError):
    """A run ended in numbers that are not finite: the fault of its data and step size, not of what it can work on."""


class DamagedFile(LacunaError):
    """A file that lacuna made and cannot use. path: the file; what: the file and the reason, without the remedy."""

    def __init__(self, path: str | Path, what: str):
        super().__init__(f"{what}; delete it and run the same command again to make it anew")
        self.path, self.what = Path(path), what
