"""Columns of tables: the coordinates of a cell, which columns hold names, and which a table is not read without."""

from __future__ import annotations

from lacuna.artifacts.coordinates import COORDINATES as COORDINATES
from lacuna.artifacts.provenance import FACTS

GROUP = tuple(c for c in COORDINATES if c != "seed")
# where methods compete: everything but method and seed
PLACE = tuple(c for c in GROUP if c != "unlearner")
# columns that hold names, in any table
LABELS = (
    *(*GROUP, "target", "role", "layer", "metric", "oracle", "metric_a", "metric_b", "recipe_a", "recipe_b"),
    *("attack", "reason", "verdict", "note"),
)
LABELS += ("config_hash", *(fact for fact in FACTS if fact not in ("random_stream", "threads", "seconds")))
# columns that a table is not read without; those that hold no names hold numbers
REQUIRED = {
    "cells": (*COORDINATES, "metric", "value"),
    "layers": (*COORDINATES, "layer", "metric", "value"),
    "probes": (*COORDINATES, "target", "metric", "value"),
    "summary": (*GROUP, "role", "metric", "mean", "n"),
}
