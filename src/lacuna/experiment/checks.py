"""What a schema cannot say: entries that contradict each other, or the data, or what a network can do."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lacuna.artifacts.cache import read_cache, write_cache
from lacuna.artifacts.coordinates import State
from lacuna.artifacts.files import read_json
from lacuna.data import DATASETS, SCENARIOS
from lacuna.data.scenarios.base import Scenario
from lacuna.data.splits import VAL_FRACTION
from lacuna.errors import LacunaError
from lacuna.evaluation.metrics.accuracy import FEW_SAMPLES
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.coordinates import AXES, DENSE
from lacuna.experiment.feasibility import Answer, Question, answers
from lacuna.experiment.grid import Entry, Experiment
from lacuna.fields import build
from lacuna.sparsity.rounds import rounds_to

# names that Windows keeps for devices, with any suffix
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
# what Snakemake looks for at the end of a wildcard's value
_REPEATED = re.compile(r"(.+)\1{19,}$")
# where a plan leaves what the networks cost for the processes of its jobs
SIZES = "sizes.json"


def check_meaning(experiment: Experiment, catalogue: Catalogue) -> None:
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
    _check_epochs(axes)
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


def _check_epochs(axes: Mapping[str, Mapping[str, Entry]]) -> None:
    """Refuse a rewind epoch or a warm-up beyond the end of training."""
    for label, entry in axes["recipes"].items():
        rewind, epochs = entry.values["rewind_epoch"], entry.values["epochs"]
        if rewind >= epochs:
            raise LacunaError(
                f"grid.recipes.{label}.rewind_epoch: {rewind} is not allowed; "
                f"allowed: 0 to {epochs - 1} (training has {epochs} epoch{'s' if epochs != 1 else ''})"
            )
    for axis in ("recipes", "unlearners"):
        for label, entry in axes[axis].items():
            rise, epochs = entry.values.get("warmup_epochs", 0), entry.values.get("epochs", 0)
            if rise and rise >= epochs:
                raise LacunaError(
                    f"grid.{axis}.{label}.warmup_epochs: {rise} is not allowed; "
                    f"allowed: 0 to {epochs - 1} (training has {epochs} epoch{'s' if epochs != 1 else ''})"
                )


def check_labels(merged: Mapping[str, Any]) -> None:
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


def check_class_sizes(entry: Entry) -> None:
    """Refuse a dataset with too few training images of a class to split them, where their number is known by now."""
    dataset = build(DATASETS[entry.method], entry.values)
    for label, size in enumerate(dataset.class_sizes()):
        if size < 2:
            name = f" ({names[label]})" if (names := dataset.class_names()) else ""
            raise LacunaError(
                f"class {label}{name} has {size} training image{'s' if size != 1 else ''}; "
                "allowed: at least 2 (one is for validation)"
            )


def check_dataset(label: str, meta: Mapping[str, Any], axes: Mapping[str, Mapping[str, Entry]]) -> None:
    """Refuse what does not suit a dataset: its backdoor, a recipe, a scenario."""
    entry = axes["datasets"][label]
    side = min(meta["shape"][1:])
    for name, recipe in axes["recipes"].items():
        # at the side itself a crop may be nothing but padding
        if (crop := recipe.values["crop"]) >= side:
            height, width = meta["shape"][1:]
            raise LacunaError(
                f"grid.recipes.{name}.crop: {crop} is not allowed; allowed: 0 to {side - 1} "
                f"(images of '{label}' are {height}×{width})"
            )
    if backdoor := build(DATASETS[entry.method], entry.values).backdoor:
        backdoor.check(meta["classes"], meta["shape"], f"grid.datasets.{label}.backdoor")
    for name, chosen in axes["scenarios"].items():
        scenario, where = build(SCENARIOS[chosen.method], chosen.values), f"grid.scenarios.{name}"
        if "fine" in scenario.needs and not meta["fine"]:
            raise LacunaError(
                f"{where}: dataset '{label}' has no finer labels, which {chosen.method} needs; "
                "allowed: a dataset that has them (cifar100 with labels: coarse, npz with fine_train and fine_test)"
            )
        scenario.check(meta, where)


def unselective(
    axes: Mapping[str, Mapping[str, Entry]], metas: Mapping[str, Mapping[str, Any]], catalogue: Catalogue
) -> Iterator[str]:
    """A warning for each unlearner and scenario that can change nothing: see `Unlearner.capped`."""
    for (label, entry), (name, chosen) in itertools.product(axes["unlearners"].items(), axes["scenarios"].items()):
        if (capped := catalogue["unlearners"][entry.method].get("capped")) is None:
            continue
        field_name, variant = capped
        value, scenario = entry.values[field_name], build(SCENARIOS[chosen.method], chosen.values)
        for dataset, meta in metas.items():
            share = _share(scenario, axes["datasets"][dataset], meta)
            # a hair's breadth for shares that are no binary numbers
            if entry.values["variant"] == variant and share and value * share >= 1 - 1e-9:
                yield (
                    f"grid.unlearners.{label}.{field_name}: {value:g} is at least n/n_f, about {1 / share:.3g} for "
                    f"scenario '{name}' on {dataset}: with variant {variant} {entry.method} can select nothing and "
                    f"returns the model as it was; a smaller {field_name} can select, or variant: batch"
                )


def small_sets(axes: Mapping[str, Mapping[str, Entry]], metas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A warning for each scenario and dataset whose D_f or D_r is so small that single samples decide on UA or RA.

    Of datasets that are not ingested yet nobody knows the size. Raises LacunaError where one of the two will be empty.
    """
    for (name, chosen), (dataset, meta) in itertools.product(axes["scenarios"].items(), metas.items()):
        share = _share(build(SCENARIOS[chosen.method], chosen.values), axes["datasets"][dataset], meta)
        train = meta.get("train", 0)
        if not train or share is None:
            continue
        for part, metric, of_it in (("D_f", "UA", share), ("D_r", "RA", 1 - share)):
            n = round((1 - VAL_FRACTION) * train * of_it)
            # validation takes a tenth of each class, rounded: with all training images it can only be more
            if round(train * of_it) == 0:
                raise LacunaError(
                    f"grid.scenarios.{name}: {part} has no sample, {share:.6g} of the {train:,} training images of "
                    f"{dataset} are forgotten; allowed: at least 1 sample in D_f and in D_r"
                )
            if n < FEW_SAMPLES:
                few = f"about {n} sample{'s' if n != 1 else ''} of {dataset}"
                each = f", each of which is {100 / n:.3g} points of {metric}" if n else ", if any"
                yield f"grid.scenarios.{name}: {part} will have {few}{each}: it can hardly tell methods apart"


def _share(scenario: Scenario, source: Entry, meta: Mapping[str, Any]) -> float | None:
    """The share of the training samples that a scenario forgets of a dataset; None where nobody knows."""
    backdoor = build(DATASETS[source.method], source.values).backdoor
    return scenario.share({"poisoned": backdoor.share if backdoor else 0, **meta})


def _sparse(experiment: Experiment) -> list[tuple[str, str]]:
    """Pruner and sparsity of every sparse state."""
    return [(at.pruner, at.sparsity) for at in map(State.parse, experiment.states) if not at.dense]


def check_models(
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
        if "import" in network:
            asked += _unprunings(experiment, model, network, meta)
    answered = answers([question for _, question in asked], catalogue, cache)
    for (where, _), answer in zip(asked, answered, strict=True):
        if "refused" in answer:
            raise LacunaError(f"{where}: {answer['refused']}")
    return {key: answered[place] for key, place in places.items()}


def _unprunings(
    experiment: Experiment, model: str, network: dict[str, Any], meta: dict[str, Any]
) -> Iterator[tuple[str, Question]]:
    """Whether what un-pruning does can be done on a network of the user's; how much grows how often is no question."""
    pruners, unlearners = experiment.axes["pruners"], experiment.axes["unlearners"]
    for label, entry in experiment.axes["unprune"].items():
        values = entry.values
        once = {"p": 50.0 if values["p"] else 0.0, "rounds": min(values["rounds"], 1)}
        once["finetune_epochs"] = min(values["finetune_epochs"], 1)
        for pruner, sparsity in _sparse(experiment):
            inner = {"unlearner": _flat(unlearners[values["unlearner"]]), "pruner": _flat(pruners[pruner])}
            where = f"grid.unprune.{label}: cannot work on {model} at {pruner} {sparsity}"
            yield where, Question(network, meta, "unprune", _flat(entry) | once | inner, sparsity)


def keep_sizes(experiment: Experiment, path: Path) -> None:
    """Beside those of other experiments; a job need not ask again, which would read the user's data."""
    sizes = kept_sizes(path)
    if sizes != sizes | experiment.sizes:
        # a read-only working directory only costs a job its true size
        with contextlib.suppress(OSError):
            write_cache(path, SIZES, {"/".join(key): size for key, size in (sizes | experiment.sizes).items()})


def kept_sizes(path: Path) -> dict[tuple[str, str], Answer]:
    """Sizes of networks that earlier plans found, by dataset and model; none of a missing or unusable file."""
    sizes = read_cache(path, SIZES) or {}
    return {(key.partition("/")[0], key.partition("/")[2]): size for key, size in sizes.items()}


def check_channels(experiment: Experiment, metas: Mapping[str, dict[str, Any]]) -> None:
    """Refuse a target whose images a network cannot take: grey and colour become each other, nothing else does."""
    for target, dataset in itertools.product(experiment.axes["targets"], experiment.axes["datasets"]):
        channels, own = metas[target]["shape"][0], metas[dataset]["shape"][0]
        if channels not in (own, 1) and (channels, own) != (3, 1):
            raise LacunaError(
                f"transfer.targets.{target}: networks trained on {dataset} cannot take images with {channels} "
                f"channels; allowed: {own}, 1, or 3 for a network for 1"
            )


@contextlib.contextmanager
def named(where: str, entry: Entry) -> Iterator[None]:
    """Give an error about an entry's files the key of the entry, or of the option that names the file."""
    try:
        yield
    except LacunaError as error:
        sentence = str(error)
        if sentence.startswith(where):
            raise
        texts = {key: value for key, value in entry.values.items() if isinstance(value, str) and value}
        option = next((f".{key}" for key, value in texts.items() if sentence.startswith(value)), "")
        raise LacunaError(f"{where}{option}: {sentence}") from None


def _flat(entry: Entry) -> dict[str, Any]:
    return {"method": entry.method, **entry.values}


def meta_of(label: str, entry: Entry, data_folder: Path) -> dict[str, Any]:
    """`classes`, `shape` and `fine` of a dataset; its files are read only if they changed since they were ingested.

    `train`, its number of training images, is there once it is ingested; 0: unknown.
    """
    dataset = build(DATASETS[entry.method], entry.values)
    stored = data_folder / label / "meta.json"
    try:
        meta = read_json(stored)
        if meta["entry"] == {"method": entry.method, **entry.values} and meta.get("content", "") == dataset.content():
            shape = [int(n) for n in meta["shape"]]
            fine, train = int(meta.get("fine", 0)), int(meta.get("train", 0))
            return {"classes": int(meta["classes"]), "shape": shape, "fine": fine, "train": train}
    except (OSError, LacunaError, KeyError, TypeError, ValueError, AttributeError):
        pass  # nothing usable is stored: ask the dataset itself
    return {"classes": dataset.classes(), "shape": list(dataset.shape()), "fine": dataset.fine()}
