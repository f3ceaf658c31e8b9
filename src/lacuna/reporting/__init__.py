"""Tables and figures, from metrics alone."""

from lacuna.registry import Registry

FIGURES: Registry = Registry("lacuna.reporting.figures", "figure", __path__[0] + "/figures")
