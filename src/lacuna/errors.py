"""The one exception that users see."""


class LacunaError(Exception):
    """Bad input, said in one sentence: the file or key, the value, and what is allowed."""
