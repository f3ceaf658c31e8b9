"""The experiment: YAML files → a checked grid. Every mistake ends here, before a job starts, in one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from lacuna.artifacts.cache import read_cache, write_cache
from lacuna.artifacts.files import read_json
from lacuna.data import DATASETS, SCENARIOS
from lacuna.errors import LacunaError, unknown
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.feasibility import Answer, Question, answers
from lacuna.experiment.shadow_plan import Shadows
from lacuna.fields import build, check, resolve
from lacuna.sparsity.rounds import rounds_to

# Singular wildcard of each axis that holds labelled entries, in the order of a path.
AXES = {
    "dataset": "datasets",
    "model": "models",
    "recipe": "recipes",
    "scenario": "scenarios",
    "pruner": "pruners",
    "unlearner": "unlearners",
}
DENSE = "dense"
# the tables that exist only where the experiment has what they tell of, and what that is
OPTIONAL_TABLES = {
    "roc": "grid.shadows",
    "backdoor": "a backdoor in an entry of grid.datasets",
    "recipes": "two recipes and the metric avg_gap",
    "transfer": "transfer.targets",
}
_OF_BACKDOORS = {"SA", "ASR"}
# how a recipe trains whose label names no method
_DEFAULT_RECIPE = "sgd"
# names that Windows keeps for devices, with any suffix
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
# what Snakemake looks for at the end of a wildcard's value
_REPEATED = re.compile(r"(.+)\1{19,}$")
# bounds of an experiment's file: beyond them it is none, or made to stop who reads it
_MOST_BYTES = 1_000_000
_MOST_VALUES = 100_000
# where a plan leaves what the networks cost for the processes of its jobs
_SIZES = "sizes.json"


@dataclass(frozen=True)
class Entry:
    """One labelled entry of the grid: its method and the value of every option, defaults filled in."""

    method: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A checked experiment; `axes` maps an axis to its entries by label, in the order of the file.

    images: where jobs keep them: device, host, or auto, which decides by the free memory of the GPU.

    axes["unprune"] holds an entry for each combination of values in grid.unprune, which is a cell beside the unlearners
    of every sparse state; axes["targets"] the datasets of transfer.targets, which are ingested like those of the grid
    but make no cells: every cell is probed on each of them.

    oracles: the labels that every cell is compared with, one for each oracle method and options of it. twins: further
    entries of the same method and options, by label, with the oracle that they repeat on another random stream: its
    noise floor. missing: allow makes tables of the cells that are there, refuse of all cells.
    sizes: what each network costs, by dataset and model, where that is known: see `feasibility.answers`.
    shadows: the shadow models of every seed and state, if the grid asks for them. tables: those that not every
    experiment has, by name. tuning: how hyper-parameters are searched; None if the experiment does not say. warnings:
    sentences of which a plan should warn, once the data is known. left_out: figures that the choices of the grid and of
    metrics leave out, with what they lack. given: the merged files as they were read, of which tuning makes an overlay.
    """

    name: str
    device: str
    images: str
    seeds: tuple[int, ...]
    states: tuple[str, ...]
    axes: dict[str, dict[str, Entry]]
    oracles: tuple[str, ...]
    twins: dict[str, str]
    metrics: tuple[str, ...]
    figures: tuple[str, ...]
    relearning: dict[str, Any]
    probe: dict[str, Any]
    missing: str
    shadows: Shadows | None = None
    tuning: dict[str, Any] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict, compare=False)
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    tables: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list, compare=False)
    sizes: dict[tuple[str, str], Answer] = dataclasses.field(default_factory=dict)

    def entry(self, axis: str, label: str) -> Entry:
        """The entry of a label; of a dataset also where only a probe looks at it."""
        return (self.datasets if axis == "datasets" else self.axes[axis])[label]

    @property
    def datasets(self) -> dict[str, Entry]:
        """All that are ingested: those of the grid and the targets of the probes."""
        return self.axes["datasets"] | self.axes["targets"]

    def targets(self, cell: Mapping[str, str]) -> list[str]:
        """The datasets that a cell is probed on: the targets without its own."""
        return [label for label in self.axes["targets"] if label != cell["dataset"]]

    def cells(self) -> Iterator[dict[str, str]]:
        """Every cell of the grid, as wildcard values."""
        a = self.axes
        for dataset, model, recipe, seed, scenario, state in itertools.product(
            a["datasets"], a["models"], a["recipes"], self.seeds, a["scenarios"], self.states
        ):
            for unlearner in (*a["unlearners"], *(a["unprune"] if state != DENSE else ())):
                yield {
                    "dataset": dataset,
                    "model": model,
                    "recipe": recipe,
                    "seed": str(seed),
                    "scenario": scenario,
                    "state": state,
                    "unlearner": unlearner,
                }


def gpus_for(device: str) -> int:
    """GPUs that a job asks for: one where the config wants one and, with device: auto, this machine has one."""
    return int(device == "cuda" or (device == "auto" and Path("/dev/nvidia0").exists()))


def results_of(files: Sequence[str | Path], overrides: Mapping[str, Any]) -> str | None:
    """The folder of results that the files of an experiment, or the command line, name; None if they name none.

    Where results lie is no part of an experiment: nothing runs again because they moved. Raises LacunaError for a value
    that is no text.
    """
    found: Any = None
    for held in (*(read_yaml(file) for file in files), overrides):
        found = held.get("results", found)
    if found is not None and not (isinstance(found, str) and found):
        raise LacunaError(f"results: {found!r} is not allowed; allowed: the path of a folder")
    return found


def load(
    files: Sequence[str | Path],
    overrides: Mapping[str, Any],
    schema: str | Path,
    catalogue: Catalogue,
    data_folder: str | Path | None = None,
    cache: str | Path | None = None,
) -> Experiment:
    """Read, merge and check the files of an experiment.

    files: the default first, then overlays; a later file replaces whole top-level keys of an earlier one, so
    no method of the default grid leaks into an experiment. overrides: top-level values from the command line.
    data_folder: where ingested datasets lie; with it, the user's data files are checked too, unless
    they were ingested as they are. cache: where `feasibility` keeps its answers; with both, every model is tried
    on every dataset, every pruner asked whether it can bring it to every sparsity, every unlearner whether it can work
    on it; with cache alone, only what the models cost is read.

    Raises LacunaError naming the key, the value and what is allowed.
    """
    merged: dict[str, Any] = {}
    named_by = ""
    for file in files:
        held = read_yaml(file)
        merged |= held
        named_by = str(file) if "name" in held else named_by
    overlays = [str(file) for file in files[1:]]
    if overlays and named_by not in overlays and "name" not in overrides:
        raise LacunaError(
            f"{shown(overlays[-1])}: missing key 'name', and the tables of '{merged.get('name')}' are those of another "
            f"file; it must be given, such as name: {_label_from(overlays[-1])}"
        )
    merged |= {key: _retyped(value) for key, value in overrides.items()}
    check(merged, read_yaml(schema), "")
    grid = merged["grid"]
    _check_labels(merged)
    axes = {axis: _entries(axis, grid[axis] or {}, catalogue) for axis in AXES.values()}
    metrics = _chosen("metrics", merged, catalogue)
    oracles, twins = _oracles(axes["unlearners"], catalogue)
    shadows = build(Shadows, grid["shadows"] or {}, "grid.shadows") if "shadows" in grid else None
    tables: tuple[str, ...] = ("roc",) if shadows is not None else ()
    if any(dataset.values["backdoor"] for dataset in axes["datasets"].values()) and _OF_BACKDOORS & set(metrics):
        tables += ("backdoor",)
    if len(axes["recipes"]) > 1 and "avg_gap" in metrics:
        tables += ("recipes",)
    states = _states(grid["sparsities"], axes["pruners"])
    axes["unprune"] = _unprunings(grid.get("unprune") or [], axes["unlearners"], states, catalogue)
    transfer = merged.get("transfer") or {}
    axes["targets"] = _targets(transfer.get("targets", {}), axes["datasets"], catalogue)
    if axes["targets"]:
        tables += ("transfer",)
    experiment = Experiment(
        name=merged["name"],
        device=merged["device"],
        images=merged.get("images", "auto"),
        seeds=tuple(int(s) for s in grid["seeds"]),
        states=states,
        axes=axes,
        oracles=oracles,
        twins=twins,
        metrics=metrics,
        figures=(),
        relearning=resolve(catalogue["settings"]["relearning"]["schema"], merged.get("relearning") or {}, "relearning"),
        probe=resolve(catalogue["settings"]["transfer.probe"]["schema"], transfer.get("probe") or {}, "transfer.probe"),
        missing=merged.get("missing", "refuse"),
        shadows=shadows,
        tuning=_tuning(merged, axes["scenarios"], catalogue),
        given=merged,
        tables=tables,
    )
    _check_meaning(experiment, catalogue)
    figures, left_out = _figures(merged, experiment, catalogue)
    experiment = dataclasses.replace(experiment, figures=figures, left_out=left_out)
    if data_folder is not None:
        found = {}
        for label, entry in experiment.datasets.items():
            where = f"{'grid.datasets' if label in axes['datasets'] else 'transfer.targets'}.{label}"
            with _named(where, entry):
                found[label] = _meta(label, entry, Path(data_folder))
        metas = {label: found[label] for label in axes["datasets"]}
        _check_channels(experiment, found)
        for label, meta in metas.items():
            _check_dataset(label, meta, axes)
        experiment.warnings.extend(_unselective(axes, metas, catalogue))
        if cache is not None:
            experiment.sizes.update(_check_models(experiment, catalogue, metas, cache))
            _keep_sizes(experiment, Path(cache) / _SIZES)
    elif cache is not None:
        experiment.sizes.update(_kept_sizes(Path(cache) / _SIZES))
    return experiment


def shown(path: str | Path) -> str:
    """A path as a message has it: from the working directory, if it lies there."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _label_from(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", Path(path).stem).lstrip("_.")[:64] or "mine"


def _retyped(value: Any) -> Any:
    """A value of --config as a file would have it: inside lists and mappings Snakemake leaves every scalar a text."""
    if isinstance(value, Mapping):
        return {key: _scalar(inner) for key, inner in value.items()}
    return [_scalar(inner) for inner in value] if isinstance(value, list | tuple) else value


def _scalar(value: Any) -> Any:
    if not isinstance(value, str):
        return _retyped(value)
    try:
        read = _Loader(value).get_single_data()
    except (yaml.YAMLError, LacunaError, ValueError):
        return value
    return value if isinstance(read, Mapping | list | str) else read


def located(message: str, files: Sequence[str | Path], overrides: Mapping[str, Any]) -> str:
    """The message about a key with the file and line where that stands, if one of the files has it."""
    if top := re.match(r"config: unknown key '([^']*)'", message):
        held_by = (file for file in reversed(files) if top[1] in _lines_of(file))
        return next((f"{shown(file)}, line {_lines_of(file)[top[1]]}: {message}" for file in held_by), message)
    key = re.match(r"[\w.]+", message)
    if key is None or key[0].partition(".")[0] in overrides:
        return message
    for file in reversed(files):
        lines = _lines_of(file)
        if key[0].partition(".")[0] not in lines:
            continue
        # a label may hold a dot, so the longest key that the message begins with
        held = [k for k in lines if message.startswith(k) and message[len(k) : len(k) + 1] in (":", ".", "[", " ", "")]
        place = max(held, key=len, default="")
        strange = re.match(rf"{re.escape(place)}: unknown key '([^']*)'", message)
        if strange:
            place = f"{place}.{strange[1]}" if f"{place}.{strange[1]}" in lines else place
        return f"{shown(file)}, line {lines[place]}: {message}" if place else message
    return message


def _lines_of(file: str | Path) -> dict[str, int]:
    """The line of every key in a YAML file, by its dotted name; items of a list by their number."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node | None, key: str, depth: int) -> None:
        if depth > 8:  # deeper than any key, and an alias may lead back
            return
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                place = f"{key}.{getattr(name, 'value', '')}".lstrip(".")
                lines.setdefault(place, name.start_mark.line + 1)
                walk(value, place, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            for position, value in enumerate(node.value):
                lines.setdefault(f"{key}[{position}]", value.start_mark.line + 1)
                walk(value, f"{key}[{position}]", depth + 1)

    try:
        walk(yaml.compose(Path(file).read_text(encoding="utf-8"), Loader=_Loader), "", 0)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return lines


def _entries(axis: str, given: Mapping[str, Any], catalogue: Catalogue, key: str | None = None) -> dict[str, Entry]:
    """The entries of an axis by label; key: where they stand in the config, if not in the grid under the axis."""
    entries = {}
    for label, options in given.items():
        where = f"{key or f'grid.{axis}'}.{label}"
        options = dict(options or {})
        default = label
        if axis == "recipes" and label not in catalogue[axis]:
            default = _DEFAULT_RECIPE
        if axis == "models" and "import" in options:
            default = "import"
        method = options.pop("method", default)
        if method not in catalogue[axis]:
            said = f"{where}.method: '{method}'" if method != label else f"{where}: '{label}'"
            own = "" if method != label else "; with a label of your own, one of these as its method"
            raise LacunaError(f"{said} is not known{unknown(method, catalogue[axis])}{own}")
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


def _oracles(unlearners: Mapping[str, Entry], catalogue: Catalogue) -> tuple[tuple[str, ...], dict[str, str]]:
    """The oracles that cells are compared with, and the twins of each: entries of the same method and options."""
    alike: dict[str, list[str]] = {}
    # sorted: another order in the file is no other comparison; the entry that bears the method's name comes first
    for label, entry in sorted(unlearners.items(), key=lambda item: (item[0] != item[1].method, item[0])):
        if catalogue["unlearners"][entry.method]["oracle"]:
            alike.setdefault(json.dumps([entry.method, entry.values], sort_keys=True), []).append(label)
    oracles = tuple(sorted(first for first, *_ in alike.values()))
    return oracles, {twin: first for first, *others in alike.values() for twin in others}


def _targets(given: Mapping[str, Any], datasets: Mapping[str, Entry], catalogue: Catalogue) -> dict[str, Entry]:
    """The datasets that cells are probed on; one of the grid may be among them, for the cells of the others."""
    targets = _entries("datasets", given, catalogue, "transfer.targets")
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


def _unprunings(
    given: Sequence[Mapping[str, Any]], unlearners: Mapping[str, Entry], states: Sequence[str], catalogue: Catalogue
) -> dict[str, Entry]:
    """An entry for each combination of the listed values, under a label made of them."""
    if given and set(states) <= {DENSE}:
        raise LacunaError("grid.unprune: no state is sparse, there is nothing to grow; allowed with a sparsity > 0")
    schema = catalogue["settings"]["unprune"]["schema"]
    allowed = [label for label, e in unlearners.items() if not catalogue["unlearners"][e.method]["oracle"]]
    entries: dict[str, Entry] = {}
    for position, options in enumerate(given):
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
                raise LacunaError(f"{where}: '{label}' is there twice; allowed: each once, or with a label of its own")
            entries[label] = Entry("unprune", {"unlearner": unlearner} | resolved)
    return entries


def _unprune_label(name: str | None, unlearner: str, values: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """unprune.ft.p10.r3, and behind it the other options that are no default (.when_each_round); or name.p10.r3."""

    def text(value: Any) -> str:
        return f"{Decimal(repr(value)):f}".removesuffix(".0") if isinstance(value, float) else str(value)

    told = [] if name else [k for k in values if k not in ("p", "rounds") and values[k] != properties[k]["default"]]
    parts = [name or f"unprune.{unlearner}", f"p{text(values['p'])}", f"r{text(values['rounds'])}"]
    return ".".join([*parts, *(f"{k}_{text(values[k])}" for k in told)])


def _tuning(merged: Mapping[str, Any], scenarios: Mapping[str, Entry], catalogue: Catalogue) -> dict[str, Any] | None:
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


def canonical_sparsity(value: str | float) -> str:
    """One spelling for a sparsity, whatever was typed: 0.9, "0.9" and "0.90" → "0.90"."""
    number = Decimal(str(value)).normalize()
    decimals = max(2, -int(number.as_tuple().exponent))
    return f"{number:.{decimals}f}"


def _states(sparsities: Sequence[str | float], pruners: Mapping[str, Entry]) -> tuple[str, ...]:
    levels: list[str] = []
    for position, given in enumerate(sparsities):
        level = DENSE if given == DENSE else canonical_sparsity(given)
        where = f"grid.sparsities[{position}]"
        if level != DENSE and (len(level) > 6 or float(level) == 0):
            raise LacunaError(
                f"{where}: {given} is not allowed; allowed: dense, or a number > 0 and < 1 with at most 4 decimals"
            )
        if level in levels:
            raise LacunaError(f"{where}: {given} is listed twice ({level}); allowed: each sparsity once")
        levels.append(level)
    sparse = [s for s in levels if s != DENSE]
    if sparse and not pruners:
        raise LacunaError(f"grid.pruners: none is given for sparsity {sparse[0]}; allowed: at least one pruner")
    dense = [DENSE] if DENSE in levels else []
    return (*dense, *(f"{p}-{s}" for p in pruners for s in sparse))


def _chosen(axis: str, merged: Mapping[str, Any], catalogue: Catalogue) -> tuple[str, ...]:
    chosen = merged.get(axis, [name for name, facts in catalogue[axis].items() if facts.get("default", True)])
    for position, name in enumerate(chosen):
        if name not in catalogue[axis]:
            raise LacunaError(f"{axis}[{position}]: '{name}' is not known{unknown(name, catalogue[axis])}")
    return tuple(chosen)


def _figures(
    merged: Mapping[str, Any], experiment: Experiment, catalogue: Catalogue
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The figures that are asked for, by default all that have something to show; and what others lack.

    Of the others those alone that ordinary choices leave out: not what needs a metric or a part of the grid on request.
    """
    facts = catalogue["figures"]
    lacking = {figure: _lacking(facts[figure], experiment, catalogue) for figure in facts}
    chosen = _chosen("figures", merged, catalogue)
    if "figures" in merged:
        for position, figure in enumerate(chosen):
            if lacking[figure]:
                raise LacunaError(
                    f"figures[{position}]: '{figure}' has nothing to show; allowed with: {', '.join(lacking[figure])}"
                )
        return chosen, {}
    on_request = {name for name, of in catalogue["metrics"].items() if not of["default"]}
    tables = OPTIONAL_TABLES.keys()
    usual = [f for f in chosen if not (on_request & {*facts[f]["metrics"]} or tables & {*facts[f]["reads"]})]
    usual = [figure for figure in usual if not facts[figure]["masks"]]
    return (
        tuple(figure for figure in chosen if not lacking[figure]),
        {figure: ", ".join(lacking[figure]) for figure in usual if lacking[figure]},
    )


def _lacking(figure: Mapping[str, Any], experiment: Experiment, catalogue: Catalogue) -> list[str]:
    """What a figure needs (see `lacuna.reporting.figures`) and the experiment has not."""
    metrics, axes = experiment.metrics, experiment.axes
    lacking = [f"metric {m}" for m in figure["metrics"] if m not in metrics]
    absent = {table: asked for table, asked in OPTIONAL_TABLES.items() if table not in experiment.tables}
    lacking += [absent[table] for table in figure["reads"] if table in absent and not lacking]
    if figure["one_of"] and not {*figure["one_of"]} & {*metrics}:
        lacking.append(f"a metric of {', '.join(figure['one_of'])}")
    known = catalogue["metrics"]
    judged = [
        m for m in metrics if known[m]["better"] != "none" and known[m]["module"] != "lacuna.evaluation.metrics.cost"
    ]
    if len(judged) < figure["judged"]:
        lacking.append(f"at least {figure['judged']} metrics that order methods")
    retrained = {*experiment.oracles, *experiment.twins}
    methods = [entry.method for label, entry in axes["unlearners"].items() if label not in retrained]
    methods += [entry.method for entry in axes["unprune"].values()]
    acting = sum(method != "original" for method in methods)
    for needed, there, words in (
        (figure["methods"], len(methods), "in grid.unlearners that is no oracle"),
        (figure["acting"], acting, "in grid.unlearners that is neither an oracle nor original"),
    ):
        if there < needed:
            words = (
                words
                if needed == 1
                else words.replace("that is no", "that are no").replace("is neither", "are neither")
            )
            lacking.append(f"at least {needed} method{'s' if needed > 1 else ''} {words}")
    if figure["sparse"] and set(experiment.states) <= {DENSE}:
        lacking.append("a sparsity > 0 in grid.sparsities")
    oracles = [experiment.entry("unlearners", label).method for label in experiment.oracles]
    if figure["oracle"] and figure["oracle"] not in oracles:
        lacking.append(f"the oracle {figure['oracle']} in grid.unlearners")
    if figure["unlearner"] and figure["unlearner"] not in methods:
        lacking.append(f"{figure['unlearner']} in grid.unlearners")
    if figure["masks"] and not axes["unprune"]:
        lacking.append("grid.unprune, because all other methods keep the mask that they are given")
    return lacking


def _check_meaning(experiment: Experiment, catalogue: Catalogue) -> None:
    """What a schema cannot say: entries that contradict each other."""
    axes = experiment.axes
    if not experiment.oracles:
        oracles = [k for k, facts in catalogue["unlearners"].items() if facts["oracle"]]
        raise LacunaError(f"grid.unlearners: no oracle to compare with; add one of: {', '.join(oracles)}")
    if DENSE in axes["pruners"]:
        raise LacunaError("grid.pruners.dense: this label is not allowed; it names the unpruned state")
    if experiment.shadows is not None and axes["unprune"]:
        raise LacunaError(
            "grid.unprune: is not allowed with grid.shadows, because shadow models are not un-pruned; "
            "allowed: one of the two in an experiment"
        )
    for label, entry in axes["recipes"].items():
        rewind, epochs = entry.values["rewind_epoch"], entry.values["epochs"]
        if rewind >= epochs:
            raise LacunaError(
                f"grid.recipes.{label}.rewind_epoch: {rewind} is not allowed; "
                f"allowed: 0 to {epochs - 1} (training has {epochs} epochs)"
            )
    for pruner, sparsity in _sparse(experiment):
        try:
            rounds_to(sparsity, axes["pruners"][pruner].values.get("rate"))
        except LacunaError as error:
            raise LacunaError(f"grid.pruners.{pruner}.{error}") from None
    for name, scenario in axes["scenarios"].items():
        _check_needs(f"grid.scenarios.{name}", scenario, axes)
    for label, entry in axes["unlearners"].items():
        suits = catalogue["unlearners"][entry.method]["scenarios"]
        for name, scenario in axes["scenarios"].items():
            if suits is not None and scenario.method not in suits:
                raise LacunaError(
                    f"grid.unlearners.{label}: {entry.method} cannot work on scenario '{name}' ({scenario.method}); "
                    f"allowed: {', '.join(suits)}"
                )


def _check_labels(merged: Mapping[str, Any]) -> None:
    """Refuse labels that cannot name files everywhere, beyond what their pattern says: they go into paths."""
    grid = merged["grid"]
    axes = {f"grid.{axis}": list(grid[axis] or {}) for axis in AXES.values()}
    axes["transfer.targets"] = list((merged.get("transfer") or {}).get("targets") or {})
    axes["grid.unprune"] = [entry["label"] for entry in grid.get("unprune") or [] if entry.get("label")]
    for where, label in (("name", merged["name"]), *((f"{w}.{label}", label) for w in axes for label in axes[w])):
        if label.partition(".")[0].upper() in _DEVICES:
            raise LacunaError(f"{where}: '{label}' is not allowed, Windows has a device of this name; allowed: another")
        if _REPEATED.search(label):
            raise LacunaError(f"{where}: '{label}' is not allowed, Snakemake takes its end for an endless repetition")
    for where, labels in axes.items():
        # files of one axis lie beside each other
        beside: dict[str, str] = {}
        for label in labels:
            other = beside.setdefault(label.casefold(), label)
            if other != label:
                raise LacunaError(
                    f"{where}.{label}: differs from '{other}' in capitals alone, which not every file system "
                    "tells apart; allowed: another label"
                )


def _check_needs(where: str, scenario: Entry, axes: Mapping[str, Mapping[str, Entry]]) -> None:
    """Refuse a scenario where the grid has not what it reads beside the labels."""
    needs = SCENARIOS[scenario.method].needs
    for label, dataset in axes["datasets"].items():
        if "poisoned" in needs and not dataset.values["backdoor"]:
            raise LacunaError(
                f"{where}: dataset '{label}' has no backdoor, which {scenario.method} forgets; "
                "allowed: datasets with backdoor: {}"
            )
    for key, axis in (("model", "models"), ("recipe", "recipes")):
        if "scores" in needs and scenario.values[key] not in axes[axis]:
            raise LacunaError(
                f"{where}.{key}: '{scenario.values[key]}' is not known; allowed: a label of grid.{axis}: "
                f"{', '.join(axes[axis])}"
            )


def _check_dataset(label: str, meta: Mapping[str, Any], axes: Mapping[str, Mapping[str, Entry]]) -> None:
    """Refuse what does not suit a dataset: its backdoor, a scenario."""
    entry = axes["datasets"][label]
    if backdoor := build(DATASETS[entry.method], entry.values).backdoor:
        backdoor.check(meta["classes"], meta["shape"], f"grid.datasets.{label}.backdoor")
    for name, given in axes["scenarios"].items():
        scenario, where = build(SCENARIOS[given.method], given.values), f"grid.scenarios.{name}"
        if "fine" in scenario.needs and not meta["fine"]:
            raise LacunaError(
                f"{where}: dataset '{label}' has no finer labels, which {given.method} needs; "
                "allowed: a dataset that has them (cifar100 with labels: coarse, npz with fine_train and fine_test)"
            )
        scenario.check(meta, where)


def _unselective(
    axes: Mapping[str, Mapping[str, Entry]], metas: Mapping[str, Mapping[str, Any]], catalogue: Catalogue
) -> Iterator[str]:
    """A warning for each unlearner and scenario that can change nothing: see `Unlearner.capped`."""
    for (label, entry), (name, given) in itertools.product(axes["unlearners"].items(), axes["scenarios"].items()):
        if (capped := catalogue["unlearners"][entry.method].get("capped")) is None:
            continue
        field_name, variant = capped
        value, scenario = entry.values[field_name], build(SCENARIOS[given.method], given.values)
        for dataset, meta in metas.items():
            source = axes["datasets"][dataset]
            backdoor = build(DATASETS[source.method], source.values).backdoor
            share = scenario.share({"poisoned": backdoor.share if backdoor else 0, **meta})
            # a hair's breadth for shares that are no binary numbers
            if entry.values["variant"] == variant and share and value * share >= 1 - 1e-9:
                yield (
                    f"grid.unlearners.{label}.{field_name}: {value:g} is at least n/n_f, about {1 / share:.3g} for "
                    f"scenario '{name}' on {dataset}: with variant {variant} {entry.method} can select nothing and "
                    f"returns the model as it was; a smaller {field_name} can select, or variant: batch"
                )


def _sparse(experiment: Experiment) -> list[tuple[str, str]]:
    """Pruner and sparsity of every sparse state."""
    return [(state.rpartition("-")[0], state.rpartition("-")[2]) for state in experiment.states if state != DENSE]


def _check_models(
    experiment: Experiment, catalogue: Catalogue, metas: Mapping[str, dict[str, Any]], cache: str | Path
) -> dict[tuple[str, str], Answer]:
    """What every network costs on every dataset.

    Refuses a network that does not work on a dataset, a pruner that cannot bring it to a sparsity, an unlearner that
    cannot work on it.
    """
    models, pruners, unlearners = (experiment.axes[axis] for axis in ("models", "pruners", "unlearners"))
    checking = [label for label, entry in unlearners.items() if catalogue["unlearners"][entry.method]["checks"]]
    asked: list[tuple[str, Question]] = []
    places: dict[tuple[str, str], int] = {}
    for (dataset, facts), (model, entry) in itertools.product(metas.items(), models.items()):
        network, meta = _flat(entry), {key: facts[key] for key in ("classes", "shape")}
        places[dataset, model] = len(asked)
        asked.append((f"grid.models.{model}: on {dataset}", Question(network, meta)))
        for pruner, sparsity in _sparse(experiment):
            where = f"grid.pruners.{pruner}: {model} on {dataset} cannot be pruned to {sparsity}"
            asked.append((where, Question(network, meta, "pruners", _flat(pruners[pruner]), sparsity)))
        # one of the user's is tried with every method
        for unlearner in unlearners if "import" in network else checking:
            where = f"grid.unlearners.{unlearner}: cannot work on {model}"
            asked.append((where, Question(network, meta, "unlearners", _flat(unlearners[unlearner]))))
    told = answers([question for _, question in asked], catalogue, cache)
    for (where, _), answer in zip(asked, told, strict=True):
        if "refused" in answer:
            raise LacunaError(f"{where}: {answer['refused']}")
    return {key: told[place] for key, place in places.items()}


def _keep_sizes(experiment: Experiment, path: Path) -> None:
    """Beside those of other experiments; a job need not ask again, which would read the user's data."""
    sizes = _kept_sizes(path)
    if sizes != sizes | experiment.sizes:
        # a read-only working directory only costs a job its true size
        with contextlib.suppress(OSError):
            write_cache(path, _SIZES, {"/".join(key): size for key, size in (sizes | experiment.sizes).items()})


def _kept_sizes(path: Path) -> dict[tuple[str, str], Answer]:
    kept = read_cache(path, _SIZES) or {}
    return {(key.partition("/")[0], key.partition("/")[2]): size for key, size in kept.items()}


def _check_channels(experiment: Experiment, metas: Mapping[str, dict[str, Any]]) -> None:
    """Refuse a target whose images a network cannot be shown: grey and colour become each other, nothing else does."""
    for target, dataset in itertools.product(experiment.axes["targets"], experiment.axes["datasets"]):
        channels, own = metas[target]["shape"][0], metas[dataset]["shape"][0]
        if channels not in (own, 1) and (channels, own) != (3, 1):
            raise LacunaError(
                f"transfer.targets.{target}: images of {channels} channels cannot be shown to networks of {dataset}; "
                f"allowed: {own}, 1, or 3 for a network for 1"
            )


@contextlib.contextmanager
def _named(where: str, entry: Entry) -> Iterator[None]:
    """Give an error about an entry's files the key of the entry, or of the option that names the file."""
    try:
        yield
    except LacunaError as error:
        told = str(error)
        if told.startswith(where):
            raise
        texts = {key: value for key, value in entry.values.items() if isinstance(value, str) and value}
        option = next((f".{key}" for key, value in texts.items() if told.startswith(value)), "")
        raise LacunaError(f"{where}{option}: {told}") from None


def _flat(entry: Entry) -> dict[str, Any]:
    return {"method": entry.method, **entry.values}


def _meta(label: str, entry: Entry, data_folder: Path) -> dict[str, Any]:
    """`classes`, `shape` and `fine` of a dataset; its files are read only if they changed since they were ingested."""
    dataset = build(DATASETS[entry.method], entry.values)
    stored = data_folder / label / "meta.json"
    try:
        meta = read_json(stored)
        if meta["entry"] == {"method": entry.method, **entry.values} and meta.get("content", "") == dataset.content():
            shape = [int(n) for n in meta["shape"]]
            return {"classes": int(meta["classes"]), "shape": shape, "fine": int(meta.get("fine", 0))}
    except (OSError, LacunaError, KeyError, TypeError, ValueError, AttributeError):
        pass  # nothing usable is stored: ask the dataset itself
    return {"classes": dataset.classes(), "shape": list(dataset.shape()), "fine": dataset.fine()}


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice and reads 1e-4 as a number (YAML 1.1 makes it a text)."""


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue  # `<<: *anchor`: what it brings may be given again
        key = loader.construct_object(key_node, deep=True)
        where = f"{key_node.start_mark.name}, line {key_node.start_mark.line + 1}"
        if not isinstance(key, str | int | float) or isinstance(key, bool):
            read = {None: "null", True: "true", False: "false"}.get(key) if not isinstance(key, list | dict) else None
            read = read or f"a {type(key).__name__}"
            typed = f"'{key_node.value}' " if isinstance(key_node, yaml.ScalarNode) and key_node.value else "it "
            raise LacunaError(f"{where}: a key must be a text, but {typed}is read as {read}; allowed: with quotes")
        if key in seen:
            raise LacunaError(f"{where}: key '{key}' is given twice; allowed: once")
        seen[key] = None
    return loader.construct_mapping(node, deep=True)


def _plain_number(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A number, but none that YAML 1.1 reads otherwise than it looks: 010 as 8, 1:30 as 90."""
    if re.fullmatch(r"[-+]?0[0-9_]+|[-+]?[0-9_]+(:[0-9_.]+)+", node.value):
        where = f"{node.start_mark.name}, line {node.start_mark.line + 1}"
        raise LacunaError(f"{where}: {node.value} is octal or sexagesimal in YAML; allowed: a decimal number")
    as_usual = loader.construct_yaml_int if node.tag.endswith(":int") else loader.construct_yaml_float
    return as_usual(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _plain_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _plain_number)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)
_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises LacunaError naming the file (and line) if there is none."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not Path(path).is_dir():
            raise LacunaError(f"{shown(path)}: cannot be read (not a regular file); allowed: a YAML file")
        if os.stat(path).st_size > _MOST_BYTES:
            raise LacunaError(f"{shown(path)}: too large; allowed: a YAML file of at most {_MOST_BYTES:,} bytes")
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise LacunaError(f"{shown(path)}: cannot be read ({reason}); allowed: a YAML file") from None
    try:
        stream = _Loader(text)
        stream.name = shown(path)
        value = stream.get_single_data()
        if _size(value, {}) > _MOST_VALUES:
            raise LacunaError(f"{shown(path)}: too many values behind its aliases; allowed: at most {_MOST_VALUES:,}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "problem", None) or error
        if "'\\t'" in str(reason):
            reason = "a tab at the beginning of a line; YAML takes blanks"
        raise LacunaError(f"{shown(path)}{line}: not valid YAML ({str(reason).splitlines()[0]})") from None
    if not isinstance(value, dict):
        raise LacunaError(f"{shown(path)}: holds no mapping; allowed: 'key: value' lines at the top level")
    if "__use_yte__" in value:
        raise LacunaError(
            f"{shown(path)}: key '__use_yte__' is not allowed, Snakemake runs the code of such a file; "
            "allowed: plain YAML"
        )
    return value


def _size(value: Any, known: dict[int, float]) -> float:
    """How many values a nested one holds when every alias is written out; infinite where one leads back to itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = float("inf")  # as long as it is not counted
        items = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(item, known) for item in items)
    return known[id(value)]
