"""summary.csv: one row per method and metric, over the seeds."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lacuna.evaluation.statistics import MIN_SEEDS, paired_p, t_interval
from lacuna.registry import register
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.tables.coding import plain
from lacuna.reporting.tables.configs import with_config_of
from lacuna.reporting.tables.contest import Contest, listed
from lacuna.reporting.tables.groups import Groups, adjusted, grouped, joined, known_parts, least_effects
from lacuna.reporting.tables.verdicts import doubts_of, still, verdict_of

# what stands after gap_<oracle>
_GAP = (
    *("", "_low", "_high", "_p_unadjusted", "_p", "_least_sd", "_least"),
    *("_distance", "_floor", "_floor_of_mean", "_excess_p", "_verdict"),
)


@register("summary", reads=("cells",), coded=True)
def table(
    cells: pd.DataFrame,
    oracles: Sequence[str],
    twins: Mapping[str, str],
    original: str,
    log: Callable[[str], None],
) -> pd.DataFrame:
    """Mean over seeds with its 95 % t interval, and for each oracle the gap to it, paired by seed: interval, p value of
    the paired t test (as it is, and adjusted by Holm over the methods of the place), and the smallest gap that would
    have been seen. ``floor`` is how far one second run of the oracle is from it, ``floor_of_mean`` what that makes of a
    mean over the seeds. ``verdict``: is the method farther from its oracle than the oracle's own second run, closer, or
    is neither shown? ``note`` says why a field is empty and what must be known of the values; with fewer than three
    seeds no interval is given.
    """
    contest = Contest(cells, oracles, twins, original)
    for place, doubts in doubts_of(contest).items():
        for doubt in doubts:
            log(f"warning: {'/'.join(place)}: {doubt}")
    for sentence in still(contest):
        log(f"warning: {sentence}")
    return with_config_of(summary_table(contest), cells)


def summary_table(contest: Contest) -> pd.DataFrame:
    """Mean and interval over seeds, and for each oracle the gap to it, its interval, test and noise floor, a verdict.

    gap: value − oracle's, paired by seed. `_p_unadjusted`: of the paired t test that it is 0; `_p`: adjusted by Holm
    over the methods of the place. `_least`: the smallest gap that this test shows with 80 % power at Holm's first step,
    `_least_sd` in standard deviations over the seeds. `_distance`: mean |gap|. `_floor`: how far one run of the
    oracle's twins is from it; `_floor_of_mean`: by 1/√n less, as a mean of n signed gaps varies. `verdict_of`: farther
    from or closer to the oracle than its own second run, see `_excess`; else not shown. A metric that already compares
    with an oracle has no gap; its distance is from what the oracle has with itself, its floor the twins' value.
    unchanged: seeds on which the method returned the model. `note` says why a field is empty, and what must be known
    of the values.
    """
    of = contest.groups(*GROUP, "metric")
    made = plain(contest.cells.iloc[of.first][[*GROUP, "metric"]]).reset_index(drop=True)
    numbers = {name: np.full(len(made), math.nan) for name in ("mean", "ci_low", "ci_high")}
    for groups, rows in of.by_size():
        spans = t_interval(contest.cells["value"].to_numpy()[rows])
        numbers |= {name: _put(numbers[name], groups, span) for name, span in zip(numbers, spans, strict=True)}
    made.insert(len(GROUP), "role", made["unlearner"].map(contest.role))
    made = made.assign(**numbers, n=np.bincount(of.of))
    unchanged = np.bincount(of.of, weights=contest.cells["unchanged"].to_numpy(), minlength=len(made)).astype(int)
    against = made["metric"].map(contest.compares_with).to_numpy()
    notes = _notes_of_seeds(contest, made, of)
    for row in np.flatnonzero(against != "").tolist():
        notes[row].append(sys.intern(f"compares with {against[row]}: no gap"))
    families = grouped(*(pd.factorize(made[column])[0] for column in (*PLACE, "metric")))
    for oracle in contest.oracles:
        gaps = _Gaps(contest, made, of, oracle).filled(families)
        of_oracle = np.isin(against, ("", oracle))
        for row in np.flatnonzero(of_oracle).tolist():
            notes[row] += map(sys.intern, gaps.notes(row))
        gap = f"gap_{oracle}"
        made = made.assign(**{f"{gap}{end}": np.where(of_oracle, gaps.values[end], math.nan) for end in _GAP[:-1]})
        p, excess = made[f"{gap}_excess_p"], gaps.values["_excess"]
        made[f"{gap}_verdict"] = [verdict_of(e, p) for e, p in zip(excess.tolist(), p.tolist(), strict=True)]
        del gaps  # as large as what is made of it
    _add_known(notes, contest, of, unchanged)
    doubts = doubts_of(contest)
    if doubts:
        for said, place in zip(notes, made[[*PLACE, "metric"]].itertuples(index=False, name=None), strict=True):
            said += doubts.get(place, [])
    return made.assign(unchanged=unchanged, note=pd.Series(joined(notes), made.index))


def _put(column: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    column[rows] = values
    return column


def _notes_of_seeds(contest: Contest, made: pd.DataFrame, of: Groups) -> list[list[str]]:
    """For each row why its seeds are too few, or why it is not tested at all."""
    seeds = sorted(contest.cells["seed"].unique())
    of_seeds = contest.cells["seed"].to_numpy()
    rows = {
        group: members
        for groups, every in of.by_size()
        if every.shape[1] < len(seeds)
        for group, members in zip(groups.tolist(), every, strict=True)
    }
    found = []
    for group, (n, role) in enumerate(zip(made["n"].tolist(), made["role"], strict=True)):
        notes = []
        if group in rows:
            own = {*of_seeds[rows[group]].tolist()}
            notes.append(f"no value for seed {listed(s for s in seeds if s not in own)}")
        if n < MIN_SEEDS:
            notes.append(f"{n} seed{'s' if n > 1 else ''}: no interval, no test, no verdict")
        if role != "method":
            notes.append(f"{'an oracle' if role == 'oracle' else 'a twin'}: no test, no verdict")
        found.append(notes)
    return found


def _add_known(notes: list[list[str]], contest: Contest, of: Groups, unchanged: np.ndarray) -> None:
    """Add what must be known of some seeds of a row."""
    sizes = np.bincount(of.of)
    for row in np.flatnonzero(unchanged).tolist():
        notes[row].append(f"returned the model unchanged on {unchanged[row]} of {sizes[row]} seeds")
    told = contest.cells[contest.cells["note"].notna()]
    by_note: dict[tuple[int, str], list[Any]] = {}
    for row, seed, note in zip(of.of[told.index].tolist(), told["seed"].tolist(), told["note"], strict=True):
        by_note.setdefault((row, note), []).append(seed)
    for (row, note), seeds in by_note.items():
        notes[row].append(f"seed {listed(seeds)}: {note}")


class _Gaps:
    """What the rows of a summary say of one oracle: `values` by column, after gap_<oracle>, and `notes` by row.

    A metric that compares with this oracle has itself no gap. Of one that compares with another nothing counts.
    """

    def __init__(self, contest: Contest, made: pd.DataFrame, of: Groups, oracle: str):
        self.contest, self.of, self.oracle = contest, of, oracle
        self.sizes, self.labels = np.bincount(of.of), made["unlearner"].to_numpy(dtype=object)
        self.is_method = (made["role"] == "method").to_numpy()
        self.compares = np.array([contest.compares_with(metric) == oracle for metric in made["metric"]], dtype=bool)
        names = (*_GAP[:-1], "_tested", "_spread", "_excess")
        self.values = {name: np.full(len(made), math.nan) for name in names}
        self.counts, self.excesses = np.zeros((2, len(made)), dtype=int)
        self.cell_values = contest.cells["value"].to_numpy()

    def _gaps(self, rows: np.ndarray) -> np.ndarray:
        """value − oracle's of rows of `cells`."""
        gaps: np.ndarray = self.cell_values[rows] - self.contest.beside(self.oracle, rows)
        return gaps

    def filled(self, families: Groups) -> _Gaps:
        self._fill_gaps()
        self._fill_floors()
        self._fill_excesses()
        values, known = self.values, self.counts > 0
        values["_floor"] = np.where(known & ~self._own(), values["_floor"], math.nan)
        of_mean = values["_floor"] / np.sqrt(np.maximum(self.counts, 1))
        values["_floor_of_mean"] = np.where(self.compares, math.nan, of_mean)
        values["_p"] = adjusted(values["_p_unadjusted"], families)
        values["_excess_p"] = adjusted(values["_excess_p"], families)
        values["_least_sd"] = least_effects(values["_tested"], values["_p_unadjusted"], families)
        values["_least"] = values["_least_sd"] * values["_spread"]
        return self

    def _own(self) -> np.ndarray:
        """The rows of the oracle and of its twins, which have no floor."""
        own = {self.oracle, *(twin for twin, of in self.contest.twins.items() if of == self.oracle)}
        return np.array([label in own for label in self.labels], dtype=bool)

    def _fill_gaps(self) -> None:
        """Distance, gap, its interval and its test."""
        for groups, rows in self.of.by_size():
            every = self._gaps(rows)
            for some, places in known_parts(every):
                numbers, n = groups[some], places.shape[1]
                self.counts[numbers] = n
                if not n:
                    continue
                gaps = every[some[:, None], places]
                self.values["_distance"][numbers] = np.abs(gaps).mean(1)
                judged = ~self.compares[numbers]
                for end, span in zip(("", "_low", "_high"), t_interval(gaps), strict=True):
                    self.values[end][numbers] = np.where(judged, span, math.nan)
                p = np.where(judged & self.is_method[numbers], paired_p(gaps), math.nan)
                self.values["_p_unadjusted"][numbers] = p
                tested = ~np.isnan(p)
                self.values["_tested"][numbers[tested]] = n
                if n >= MIN_SEEDS:
                    self.values["_spread"][numbers[tested]] = gaps[tested].std(1, ddof=1)

    def _fill_floors(self) -> None:
        """How far the twins of the oracle are from it, of each metric and place: mean over twins and the oracle's rows.

        Of a metric that is a comparison the twins' own value; else mean |twin − oracle|. NaN without a twin.
        """
        contest, twins = self.contest, [twin for twin, of in self.contest.twins.items() if of == self.oracle]
        if not twins:
            return
        own = np.flatnonzero(contest.cells["unlearner"].to_numpy(dtype=object) == self.oracle)
        places, floors = contest.groups(*PLACE, "metric"), np.full(len(self.labels), math.nan)
        by_place = np.full(len(places.first), math.nan)
        for _, rows in grouped(places.of[own]).by_size():
            members = own[rows]
            theirs = np.stack([contest.beside(twin, members) for twin in twins], 1)
            compares = self.compares[self.of.of[members[:, 0]]]
            far = np.abs(theirs - contest.cells["value"].to_numpy()[members][:, None])
            far = np.where(compares[:, None, None], theirs, far).reshape(len(members), -1)
            count = np.isfinite(far).sum(1)
            mean = np.where(np.isnan(far), 0.0, far).sum(1) / np.maximum(count, 1)
            by_place[places.of[members[:, 0]]] = np.where(count > 0, mean, math.nan)
        floors[self.of.of] = by_place[places.of]
        self.values["_floor"] = floors

    def _fill_excesses(self) -> None:
        """How much farther a method is from the oracle than the oracle's twins are, seed by seed, and a p value.

        |value − oracle's| − mean |twin's − oracle's|: 0 on average if the method is one more run of the oracle. p: of
        its paired t test. A gap of one sign is another sign that it is none, and often a stronger one: where the method
        is farther on average, p is twice the smaller of this test's and the gap's (Bonferroni).
        """
        tried = self.is_method & (self.counts >= MIN_SEEDS) & ~np.isnan(self.values["_floor"]) & ~self._own()
        for groups, rows in self.of.by_size():
            groups, rows = groups[tried[groups]], rows[tried[groups]]
            gaps = self._gaps(rows)
            more = np.abs(gaps) - self.contest.twin_distances(self.oracle, rows)
            for some, places in known_parts(more) if len(rows) else ():
                numbers, at = groups[some], (some[:, None], places)
                self.excesses[numbers] = places.shape[1]
                if places.shape[1] < MIN_SEEDS:
                    continue
                excess = more[at]
                found, mean = paired_p(excess), excess.mean(1)
                signed = np.where(mean > 0, paired_p(gaps[at]), math.nan)
                doubled = np.minimum(1.0, 2 * np.fmin(found, signed))
                p = np.where(self.compares[numbers], found, doubled)
                self.values["_excess_p"][numbers] = p
                self.values["_excess"][numbers] = np.where(np.isnan(p), math.nan, mean)

    def notes(self, row: int) -> list[str]:
        """Why fields of a row stay empty."""
        n, oracle, label, method = self.counts[row], self.oracle, self.labels[row], self.is_method[row]
        if not n:
            return [f"no {oracle} beside it: no gap, no floor, no verdict"]
        said = []
        if method and n < MIN_SEEDS <= self.sizes[row]:
            said.append(f"{oracle} on fewer than {MIN_SEEDS} of the seeds: no interval of the gap, no test, no verdict")
        elif method and not self.compares[row] and n >= MIN_SEEDS and math.isnan(self.values["_p_unadjusted"][row]):
            said.append(f"every seed has the same gap to {oracle}: no test")
        if label == oracle:
            return [*said, f"{oracle} itself: no floor"]
        if self.contest.twins.get(label) == oracle:
            return [*said, f"it is the floor of {oracle}"]
        if math.isnan(self.values["_floor"][row]):
            return [*said, f"no second {oracle}: no floor, no verdict"]
        if method and n >= MIN_SEEDS and math.isnan(self.values["_excess_p"][row]):
            few = f"a second {oracle} on fewer than {MIN_SEEDS} of the seeds"
            said.append(f"{few if self.excesses[row] < MIN_SEEDS else 'every seed has the same distance'}: no verdict")
        return said
