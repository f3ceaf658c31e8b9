"""roc.csv: curves of membership attacks with shadow models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lacuna.registry import register
from lacuna.reporting.columns import COORDINATES


@register("roc", reads=("population",), needs=("shadows",))
def table(population: Iterable[Mapping[str, Any]], oracles: Sequence[str], twins: Mapping[str, str]) -> pd.DataFrame:
    """The curves of the attacks with shadow models on each cell: ``role`` is oracle, twin or method, ``attack`` U-LiRA
    or RMIA, ``tpr`` the true positive rate at the false positive rate ``fpr``.
    """
    return roc_table(population, oracles, twins)


def roc_table(
    results: Iterable[Mapping[str, Any]], oracles: Sequence[str], twins: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Long form of the curves of population.json: the coordinates of the cell, role, attack, fpr, tpr; in given order.

    role: oracle, twin (another run of an oracle: twins maps its label to that oracle) or method.
    """
    roles = dict.fromkeys(oracles, "oracle") | dict.fromkeys(twins or (), "twin")
    rows = [
        (*(result["cell"][c] for c in COORDINATES), roles.get(result["cell"]["unlearner"], "method"), attack, fpr, tpr)
        for result in results
        for attack, told in result["attacks"].items()
        for fpr, tpr in zip(told["fpr"], told["tpr"], strict=True)
    ]
    return pd.DataFrame(rows, columns=[*COORDINATES, "role", "attack", "fpr", "tpr"])
