"""The exceptions that users see."""

from pathlib import Path


class LacunaError(Exception):
    """Bad input, said in one sentence: the file or key, the value, and what is allowed."""


class DamagedFile(LacunaError):
    """A file that lacuna made and cannot use. path: the file; what: the file and the reason, without the remedy."""

    def __init__(self, path: str | Path, what: str):
        super().__init__(f"{what}; delete it and run the same command again to make it anew")
        self.path, self.what = Path(path), what
