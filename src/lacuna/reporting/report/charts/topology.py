"""Masks: what they share with the one that the retained data alone would give, where weights are gone, un-pruning."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import DENSE
from lacuna.reporting.palette import FLOOR, Look, look_of
from lacuna.reporting.panels import distinct_by_layer, panels, sparsity_label
from lacuna.reporting.report.chart import (
    NUMBERS,
    Chart,
    Key,
    Panel,
    Row,
    Spec,
    Variant,
    domain,
    layered,
    looking,
    picked,
    said,
    tips,
)
from lacuna.reporting.report.charts.dots import Dots, legend_of, number
from lacuna.reporting.report.charts.gap import draws_floors, gap_rows
from lacuna.reporting.report.study import Study, named

# pixels for the name of a layer, upright below its place
_NAME = 190
_OVERLAP = (("m", "method"), ("s", "sparsity"), ("v", "overlap"), ("low", "95 % from"), ("high", "to"), ("n", "seeds"))
_LAYERS = (("layer", "layer"), ("m", "mask of"), ("s", "sparsity"), ("v", "sparsity of the layer (%)"))
_UNPRUNED = (("m", "rounds"), ("p", "grown (%)"), ("v", "value"), ("low", "95 % from"), ("high", "to"), ("n", "seeds"))


def charts_of(study: Study) -> list[Chart]:
    """Those that the experiment has something for."""
    return [chart for chart in (_overlap(study), _by_layer(study), _unpruning(study)) if chart is not None]


def _overlap(study: Study) -> Chart | None:
    sparse = study.summary[study.summary["pruner"] != DENSE]
    variants = []
    # first the oracles that find a mask of their own
    methods = study.grid["unlearners"]
    oracles = sorted(study.oracles, key=lambda label: methods[label]["method"] != "retrain_exact")
    for name, oracle in itertools.product(("mask_iou", "mask_iom"), oracles):
        metric = f"{name}/{oracle}"
        rows = sparse[(sparse["metric"] == metric) & (sparse["unlearner"] != oracle)]
        # where all share the mask of the oracle, the overlap says nothing
        if rows.empty or (rows["mean"] == 1.0).all():
            continue
        labels = study.palette.ordered(rows["unlearner"])
        sparsities = study.states(rows["sparsity"])
        dots = Dots(labels, sparsities, f"{name} with {oracle}")
        # an overlap is in 0 to 1, its interval need not be
        rows = rows.assign(ci_low=rows["ci_low"].clip(lower=0), ci_high=rows["ci_high"].clip(upper=1))
        parts = [(title, gap_rows(part, oracle)) for title, part in panels(rows)]
        variants.append(dots.variant(f"{name} with {oracle}", parts))
    if not variants:
        return None
    sparsities = study.states(sparse["sparsity"])
    caption = (
        "Overlap of each mask with that of the oracle that finds a mask of its own: the kept weights of both over "
        "those of either (IoU) or of the sparser (IoM). Methods that keep the mask of their original share one value "
        "by construction."
    )
    keys = legend_of(sparsities)
    if draws_floors(variants):
        caption += " The upright tick is the overlap of the oracle's second run, the most that can be expected."
        keys.append(Key("second run of the oracle", Look(FLOOR), "tick"))
    return Chart("overlap", "Overlap of masks", caption, _OVERLAP, variants, keys)


def _by_layer(study: Study) -> Chart | None:
    table = study.table("layers")
    if table.empty:
        return None
    rows = table[(table["metric"] == "sparsity") & (table["pruner"] != DENSE)].dropna(subset="value")
    variants, drawn_of = [], set()
    for sparsity in sorted(rows["sparsity"].unique(), key=float):
        parts = []
        for title, part in panels(rows):
            found = _distinct(part[part["sparsity"] == sparsity], study)
            if found:
                parts.append((title, found))
                drawn_of |= {row["m"] for row in found}
        looks = study.looks({row["m"] for _, of in parts for row in of})
        variants.append(Variant(f"{sparsity_label(sparsity)} sparse", _layer_spec(looks), _layer_panels(parts)))
    if not variants:
        return None
    caption = (
        "Share of each layer's weights that the mask removes, mean over seeds, layers in the order of the network. A "
        "label has a line of its own only where its mask differs from those before it; the first stands for all "
        "methods that keep the mask of their original."
    )
    keys = [Key(label, look, pick=True) for label, look in study.looks(drawn_of).items()]
    return Chart("by_layer", "Sparsity by layer", caption, _LAYERS, variants, keys)


def _distinct(part: pd.DataFrame, study: Study) -> list[Row]:
    """The rows of every label whose mask is not that of one before it, oracles last."""
    return [
        {"layer": str(name).removesuffix(".weight"), "m": label, "s": sparsity_label(sparsity), "v": 100 * value}
        for sparsity in part["sparsity"].unique()
        for label, means in distinct_by_layer(part, study.palette.ordered(part["unlearner"])).items()
        for name, value in means.items()
    ]


def _layer_panels(parts: list[tuple[str, list[Row]]]) -> list[Panel]:
    return [
        Panel(
            title,
            f"Sparsity by layer, {title}: " + said((f"{row['layer']} {row['m']}", row["v"]) for row in rows),
            rows,
            {"low": min(0.0, *(row["v"] for row in rows)), "high": 103},
        )
        for title, rows in parts
    ]


def _layer_spec(looks: dict[str, Look]) -> Spec:
    x: Spec = {
        "field": "layer",
        "type": "nominal",
        "sort": None,
        "axis": {"title": None, "labelAngle": -90, "labelLimit": _NAME, "grid": False, "labelOverlap": False},
    }
    y: Spec = {
        "field": "v",
        "type": "quantitative",
        "scale": {"domain": domain(), "nice": False},
        "axis": {"title": "sparsity of the layer (%)", "minExtent": 30, "maxExtent": 30, "tickCount": 5},
    }
    encoding = {"x": x, "y": y, "color": looking(looks, "colour"), "opacity": picked()}
    told = tips(("layer", "layer"), ("m", "mask of"), ("v", "sparsity (%)"))
    line = {
        "mark": {"type": "line", "strokeWidth": 1.2},
        "encoding": {**encoding, "strokeDash": looking(looks, "dash")},
    }
    points = {**encoding, "shape": looking(looks, "marker"), "tooltip": told}
    return layered(210, [line, {"mark": {"type": "point", "filled": True, "size": 34}, "encoding": points}])


# ---- un-pruning -----------------------------------------------------------------------------------------------------


def _unpruning(study: Study) -> Chart | None:
    entries = study.grid.get("unprune", {})
    if not entries:
        return None
    there = set(study.summary["metric"])
    wanted = [*(f"avg_gap/{o}" for o in study.oracles), "UA", "RA", "TA", "MIA"]
    wanted += study.metrics(("mask_iou/", "mask_iom/"))
    variants, series = [], [_series(label, entry) for label, entry in entries.items()]
    looks = {name: look_of(i) for i, name in enumerate(dict.fromkeys(series))}
    for metric in (m for m in wanted if m in there):
        parts = _unpruned_parts(study, metric, entries)
        if parts:
            variants.append(Variant(named(metric), _unpruned_spec(looks, named(metric)), parts))
    if not variants:
        return None
    caption = (
        "Un-pruning around a method: a share of the removed weights grows back, the method unlearns, and the network "
        "is pruned again, for one or several rounds. The dashed line is the same method without un-pruning on the same "
        "sparse model; only what leaves it has an effect. Means over seeds with 95 % t intervals."
    )
    keys = [Key(label, look, pick=True) for label, look in looks.items()]
    keys.append(Key("without un-pruning", Look("#505050", dash=(4, 2), width=1.6)))
    return Chart("unpruning", "Un-pruning", caption, _UNPRUNED, variants, keys)


def _unpruned_parts(study: Study, metric: str, entries: Mapping[str, Mapping[str, Any]]) -> list[Panel]:
    of = study.summary[(study.summary["metric"] == metric) & (study.summary["pruner"] != DENSE)]
    found = []
    for title, part in panels(of):
        for sparsity in sorted(part["sparsity"].unique(), key=float):
            here = part[part["sparsity"] == sparsity].set_index("unlearner")
            for around in dict.fromkeys(str(entry["unlearner"]) for entry in entries.values()):
                rows = _points(here, around, entries)
                if rows:
                    base = dict(zip(here.index, here["mean"].to_list(), strict=True)).get(around)
                    name = f"{around}, {sparsity_label(sparsity)} — {title}"
                    found.append((name, rows, base))
    known = [row[f] for _, rows, _ in found for row in rows for f in ("v", "low", "high") if number(row[f])]
    known += [base for *_, base in found if base is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.06 * ((high - low) or 1.0)
    shares = [row["p"] for _, rows, _ in found for row in rows]
    ends = {"left": 0, "right": 1.08 * max(shares, default=1)}
    return [
        Panel(
            title,
            f"{named(metric)} by share grown, {title}: " + said((f"{r['m']} {r['p']} %", r["v"]) for r in rows),
            rows,
            {"low": low - room, "high": high + room, "base": base, **ends},
        )
        for title, rows, base in found
    ]


def _points(here: pd.DataFrame, around: str, entries: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    rows = []
    for label, entry in entries.items():
        if entry["unlearner"] != around or label not in here.index:
            continue
        of = here.loc[label]
        point: Row = {"m": _series(label, entry), "p": float(entry["p"]), "v": of["mean"]}
        rows.append(point | {"low": of["ci_low"], "high": of["ci_high"], "n": of["n"]})
    return sorted(rows, key=lambda row: (row["m"], row["p"]))


def _series(label: str, entry: Mapping[str, Any]) -> str:
    """A line of the chart: the rounds, and the options behind them in the label."""
    rounds = int(entry["rounds"])
    return f"{rounds} round{'s' if rounds > 1 else ''}{label.rpartition(f'.r{rounds}')[2].replace('.', ', ')}"


def _unpruned_spec(looks: dict[str, Look], axis: str) -> Spec:
    scale = {"domain": [{"expr": "left"}, {"expr": "right"}], "nice": False}
    x: Spec = {"field": "p", "type": "quantitative", "scale": scale, "axis": {"title": "removed weights that grow (%)"}}
    y: Spec = {
        "field": "v",
        "type": "quantitative",
        "scale": {"domain": domain(), "nice": False, "zero": False},
        "axis": {"title": axis, "minExtent": 34, "maxExtent": 34, "tickCount": 5, "labelExpr": NUMBERS},
    }
    encoding = {"x": x, "y": y, "color": looking(looks, "colour"), "opacity": picked()}
    told = tips(("m", "rounds"), ("p", "grown (%)"), ("v", axis), ("low", "95 % from"), ("high", "to"), ("n", "seeds"))
    layers: list[Spec] = [
        {
            "data": {"values": [{}]},
            "transform": [{"calculate": "base", "as": "v"}, {"filter": "isValid(datum.v)"}],
            "mark": {"type": "rule", "color": "#505050", "strokeDash": [6, 3], "strokeWidth": 1.4},
            "encoding": {"y": y},
        },
        {
            "mark": {"type": "line", "strokeWidth": 1.3},
            "encoding": {**encoding, "strokeDash": looking(looks, "dash")},
        },
        {
            "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
            "mark": {"type": "rule"},
            "encoding": {**encoding, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 44},
            "encoding": {**encoding, "shape": looking(looks, "marker"), "tooltip": told},
        },
    ]
    return layered(190, layers, {"base": None, "left": 0, "right": 1})
