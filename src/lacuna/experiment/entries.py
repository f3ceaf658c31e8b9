"""The entries of a grid: labels, methods and the value of every option, defaults filled in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from lacuna.data import SCENARIOS
from lacuna.errors import LacunaError, unknown
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.coordinates import DENSE, canonical_sparsity
from lacuna.experiment.grid import Entry
from lacuna.fields import resolve

# how a recipe trains whose label names no method
_DEFAULT_RECIPE = "sgd"


def entries_of(axis: str, section: Mapping[str, Any], catalogue: Catalogue, key: str | None = None) -> dict[str, Entry]:
    """The entries of an axis by label; key: where they stand in the config, if not in the grid under the axis."""
    entries = {}
    for label, options in section.items():
        where = f"{key or f'grid.{axis}'}.{label}"
        options = dict(options or {})
        default = label
        if axis == "recipes" and label not in catalogue[axis]:
            default = _DEFAULT_RECIPE
        if axis == "models" and "import" in options:
            default = "import"
        method = options.pop("method", default)
        if method not in catalogue[axis]:
            place = f"{where}.method: '{method}'" if method != label else f"{where}: '{label}'"
            own = "" if method != label else "; with a label of your own, one of these as its method"
            raise LacunaError(f"{place} is not known{unknown(method, catalogue[axis])}{own}")
        if axis == "unlearners" and catalogue[axis][method]["oracle"]:
            # an oracle with other hyper-parameters than the original model would not be its oracle
            schema, own = catalogue[axis][method]["schema"], catalogue[axis][method]["own"]
            if foreign := [key for key in options if key not in own]:
                raise LacunaError(
                    f"{where}: {', '.join(foreign)} is not allowed; "
                    f"allowed: {', '.join(own) or 'no keys'}, an oracle follows the recipe"
                )
            schema = schema | {"properties": {key: schema["properties"][key] for key in own}}
            entries[label] = Entry(method, resolve(schema, options, where))
        else:
            schema = catalogue[axis][method]["schema"]
            if axis == "pruners" and "compact" in options and "compact" not in schema["properties"]:
                able = [name for name, facts in catalogue[axis].items() if "compact" in facts["schema"]["properties"]]
                raise LacunaError(
                    f"{where}.compact: not allowed for {method}, which removes single weights and leaves every filter "
                    f"in place; allowed for: {', '.join(able)}"
                )
            entries[label] = Entry(method, resolve(schema, options, where))
    return entries


def oracles_of(unlearners: Mapping[str, Entry], catalogue: Catalogue) -> tuple[tuple[str, ...], dict[str, str]]:
    """The oracles that cells are compared with, and the twins of each: entries of the same method and options."""
    alike: dict[str, list[str]] = {}
    # sorted: another order in the file is no other comparison; the entry that bears the method's name comes first
    for label, entry in sorted(unlearners.items(), key=lambda item: (item[0] != item[1].method, item[0])):
        if catalogue["unlearners"][entry.method]["oracle"]:
            alike.setdefault(json.dumps([entry.method, entry.values], sort_keys=True), []).append(label)
    oracles = tuple(sorted(first for first, *_ in alike.values()))
    return oracles, {twin: first for first, *others in alike.values() for twin in others}


def targets_of(section: Mapping[str, Any], datasets: Mapping[str, Entry], catalogue: Catalogue) -> dict[str, Entry]:
    """The datasets that cells are probed on; one of the grid may be among them, for the cells of the others."""
    targets = entries_of("datasets", section, catalogue, "transfer.targets")
    for label, entry in targets.items():
        if datasets.get(label, entry) != entry:
            raise LacunaError(
                f"transfer.targets.{label}: other values than grid.datasets.{label} has, and a label names its files; "
                "allowed: the same values, or another label"
            )
        if entry.values["backdoor"]:
            raise LacunaError(
                f"transfer.targets.{label}.backdoor: not allowed; allowed: null, a probe reads the images as they are"
            )
        if set(datasets) == {label}:
            raise LacunaError(
                f"transfer.targets.{label}: it is the only dataset of the grid; allowed: a dataset that some cell "
                "is not trained on"
            )
    return targets


def unprunings_of(
    listed: Sequence[Mapping[str, Any]], unlearners: Mapping[str, Entry], states: Sequence[str], catalogue: Catalogue
) -> dict[str, Entry]:
    """An entry for each combination of the listed values, under a label made of them."""
    if listed and set(states) <= {DENSE}:
        raise LacunaError("grid.unprune: no state is sparse, there is nothing to grow; allowed with a sparsity > 0")
    schema = catalogue["settings"]["unprune"]["schema"]
    allowed = [label for label, e in unlearners.items() if not catalogue["unlearners"][e.method]["oracle"]]
    entries: dict[str, Entry] = {}
    for position, options in enumerate(listed):
        where = f"grid.unprune[{position}]"
        options = dict(options)
        name = options.pop("label", None)
        swept = {key: value if isinstance(value, list) else [value] for key, value in options.items()}
        for key, values in swept.items():
            if not values:
                raise LacunaError(f"{where}.{key}: [] is not allowed; allowed: a value, or a list of at least one")
        for unlearner, *chosen in itertools.product(swept.pop("unlearner"), *swept.values()):
            if unlearner not in allowed:
                raise LacunaError(
                    f"{where}.unlearner: '{unlearner}' is not known; allowed: a label of grid.unlearners that is "
                    f"no oracle: {', '.join(allowed) or 'there is none'}"
                )
            resolved = resolve(schema, dict(zip(swept, chosen, strict=True)), where)
            label = _unprune_label(name, unlearner, resolved, schema["properties"])
            if label in entries or label in unlearners:
                raise LacunaError(
                    f"{where}: '{label}' is defined twice; allowed: each once, or with a label of its own"
                )
            entries[label] = Entry("unprune", {"unlearner": unlearner} | resolved)
    return entries


def _unprune_label(name: str | None, unlearner: str, values: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """unprune.ft.p10.r3, and behind it the other options that are no default (.when_each_round); or name.p10.r3."""

    def text(value: Any) -> str:
        return f"{Decimal(repr(value)):f}".removesuffix(".0") if isinstance(value, float) else str(value)

    further = [] if name else [k for k in values if k not in ("p", "rounds") and values[k] != properties[k]["default"]]
    parts = [name or f"unprune.{unlearner}", f"p{text(values['p'])}", f"r{text(values['rounds'])}"]
    return ".".join([*parts, *(f"{k}_{text(values[k])}" for k in further)])


def tuning_of(merged: Mapping[str, Any], scenarios: Mapping[str, Entry], catalogue: Catalogue) -> dict[str, Any] | None:
    """How to search; the models of the experiment's own seeds stay unseen."""
    if "tuning" not in merged:
        return None
    settings = resolve(catalogue["settings"]["tuning"]["schema"], merged["tuning"] or {}, "tuning")
    shared = sorted(set(settings["seeds"]) & set(merged["grid"]["seeds"]))
    if shared or not settings["seeds"]:
        why = f"{shared[0]} is in grid.seeds too" if shared else "[] is not allowed"
        raise LacunaError(f"tuning.seeds: {why}; allowed: at least one seed, and none of the experiment")
    for label, scenario in scenarios.items():
        if "scores" in SCENARIOS[scenario.method].needs:
            raise LacunaError(
                f"tuning: scenario '{label}' ({scenario.method}) cannot be judged without an oracle, because its "
                "samples are unlike those of the validation split; allowed: an experiment without it"
            )
    return settings


def states_of(sparsities: Sequence[str | float], pruners: Mapping[str, Entry]) -> tuple[str, ...]:
    """The states of a grid in order, `dense` first: of each pruner one for each sparsity.

    Raises LacunaError for a sparsity out of range, one that is there twice, or one without a pruner.
    """
    levels: list[str] = []
    for position, sparsity in enumerate(sparsities):
        level = DENSE if sparsity == DENSE else canonical_sparsity(sparsity)
        where = f"grid.sparsities[{position}]"
        if level != DENSE and (len(level) > 6 or float(level) == 0):
            raise LacunaError(
                f"{where}: {sparsity} is not allowed; allowed: dense, or a number > 0 and < 1 with at most 4 decimals"
            )
        if level in levels:
            raise LacunaError(f"{where}: {sparsity} is listed twice ({level}); allowed: each sparsity once")
        levels.append(level)
    sparse = [s for s in levels if s != DENSE]
    if sparse and not pruners:
        raise LacunaError(f"grid.pruners: none is given for sparsity {sparse[0]}; allowed: at least one pruner")
    dense = [DENSE] if DENSE in levels else []
    return (*dense, *(f"{p}-{s}" for p in pruners for s in sparse))


def chosen_of(axis: str, merged: Mapping[str, Any], catalogue: Catalogue) -> tuple[str, ...]:
    """The metrics or figures that a config chooses; without a choice all that are not on request.

    Raises LacunaError for a name that is not known.
    """
    chosen = merged.get(axis, [name for name, facts in catalogue[axis].items() if facts.get("default", True)])
    for position, name in enumerate(chosen):
        if name not in catalogue[axis]:
            base = str(name).partition("/")[0]
            if axis == "metrics" and base != name and base in catalogue[axis]:
                raise LacunaError(
                    f"{axis}[{position}]: '{name}' is a value's name in the tables; allowed: {base}, which is compared "
                    "with every oracle of the grid"
                )
            raise LacunaError(f"{axis}[{position}]: '{name}' is not known{unknown(name, catalogue[axis])}")
    return tuple(chosen)
