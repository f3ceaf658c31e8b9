"""What the tests over seeds show, and what stands against believing it."""

from __future__ import annotations

import math

from lacuna.evaluation.statistics import LEVEL
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.tables.coding import plain
from lacuna.reporting.tables.contest import Contest

# the verdict where no test shows anything: of an effect that may be there
NOT_SHOWN = "not shown"
# share of an oracle's UA from which on the original model never knew D_f
_NOTHING_TO_FORGET = 0.9
# how a doubt ends
VOID, TELLS_NOTHING = "there was next to nothing to forget", "it tells no method from another"


def verdict_of(excess: float, p: float) -> str | None:
    """closer, farther or not shown of a mean excess and its adjusted p value; None without a test."""
    if math.isnan(p):
        return None
    return NOT_SHOWN if p >= LEVEL else "closer" if excess < 0 else "farther"


def doubts_of(contest: Contest) -> dict[tuple[str, ...], list[str]]:
    """Where a scenario cannot tell methods apart: what is to be said, by place and metric.

    UA: the original model is wrong about D_f as often as an oracle (nine tenths of it or more), so there was nothing to
    forget. MIA: 0 for every model of the place, or 100 for every one.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    told = plain(contest.cells[contest.cells["metric"].isin(["UA", "MIA"])])
    for key, rows in told.groupby([*PLACE, "metric"], sort=False):
        means = rows.groupby("unlearner", sort=False)["value"].mean()
        said = []
        if key[-1] == "MIA" and len(means) > 1 and (rows["value"].eq(0).all() or rows["value"].eq(100).all()):
            said.append(f"MIA is {rows['value'].iloc[0]:.0f} for every model here: {TELLS_NOTHING}")
        for oracle in contest.oracles if key[-1] == "UA" and contest.original in means else ():
            own, theirs = means[contest.original], means.get(oracle, math.nan)
            if own >= _NOTHING_TO_FORGET * theirs:
                pair = f"{contest.original} has UA {own:.1f} and {oracle} {theirs:.1f}"
                said.append(f"{pair}: {VOID}")
        if said:
            found[tuple(map(str, key))] = said
    return found


def doubts_in(note: str) -> list[str]:
    """The doubts among what the note of a row of summary.csv says."""
    return [said for said in note.split("; ") if said.endswith((VOID, TELLS_NOTHING))]


def still(contest: Contest) -> list[str]:
    """A sentence for each method and place where it returned the original model bit for bit, on some seeds or all."""
    runs = plain(contest.cells.iloc[contest.groups(*GROUP, "seed").first][[*GROUP, "unchanged"]])
    counts = runs.groupby(list(GROUP), sort=False)["unchanged"].agg(["sum", "size"])
    return [
        f"{'/'.join(map(str, key))}: returned the model unchanged on {unchanged} of {n} seeds"
        for key, unchanged, n in counts[counts["sum"] > 0].itertuples(name=None)
    ]
