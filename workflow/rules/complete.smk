# Every file of an experiment, so that the default target makes again what was deleted or set aside. Snakemake by itself
# makes nothing that no later file is waiting for; `snakemake tables` leaves it at that.


def maker_of(cell):
    """The rule that makes a cell."""
    method = OPTIONS["unlearners"].get(cell["unlearner"], {}).get("method")
    dense = cell["state"] == "dense"
    if cell["unlearner"] in EXPERIMENT.axes["unprune"]:
        return rules.unprune
    if method == "retrain_exact":
        return rules.retrain_exact_dense if dense else rules.retrain_exact
    return rules.retrain if method == "retrain" else rules.unlearn


def shadow_maker_of(cell):
    """The rule that makes its shadow models."""
    if maker_of(cell) is rules.retrain_exact_dense:
        return rules.shadow_retrain_exact_dense
    return rules.shadow_retrain_exact if maker_of(cell) is rules.retrain_exact else rules.shadow_unlearn


def with_levels(place):
    """A place with its state taken apart, as rules of sparse states name it."""
    pruner, _, sparsity = place["state"].rpartition("-")
    return place | {"pruner": pruner, "sparsity": sparsity}


def states_behind(state):
    """A state and those that it was pruned from."""
    if state == "dense":
        return ["dense"]
    pruner, _, sparsity = state.rpartition("-")
    rounds = rounds_to(sparsity, EXPERIMENT.entry("pruners", pruner).values.get("rate"))
    return ["dense", *(f"{pruner}-{level}" for level in rounds), state]


def outputs_of_experiment():
    """The patterns of the outputs of each job of the experiment, with the values of its wildcards."""
    shadows = EXPERIMENT.shadows.jobs() if EXPERIMENT.shadows is not None else ()
    needs = needed()
    seen = set()

    def once(*key):
        new = key not in seen
        seen.add(key)
        return new

    for dataset in EXPERIMENT.datasets:
        yield rules.ingest.output, {"dataset": dataset}
    for cell in EXPERIMENT.cells():
        place = with_levels(cell)
        dataset, model, recipe, seed, scenario = (
            cell[axis] for axis in ("dataset", "model", "recipe", "seed", "scenario")
        )
        if once(dataset, seed):
            yield rules.split.output, place
        for target in EXPERIMENT.targets(cell):
            if once(target, seed):
                yield rules.split.output, place | {"dataset": target}
            yield rules.probe.output, place | {"target": target}
        if once(dataset, seed, scenario, "forget"):
            yield rules.forget.output, place
            entry = EXPERIMENT.entry("scenarios", scenario)
            if "scores" in SCENARIOS[entry.method].needs:
                maker = rules.held_out if "folds" in entry.values else rules.losses
                yield maker.output, place | entry.values
        for state in states_behind(cell["state"]):
            if once(dataset, model, recipe, seed, state):
                level = with_levels(place | {"state": state})
                yield (rules.train if state == "dense" else rules.prune).output, level
                if "curvature" in needs and state in EXPERIMENT.states:
                    yield rules.curvature.output, level
        if "random_init" in needs and once(dataset, model, recipe, seed):
            yield rules.random_init.output, place
        yield maker_of(cell).output, place
        if "relearn" in needs:
            yield rules.relearn.output, place
        for job in shadows:
            yield shadow_maker_of(cell).output, place | {"shadows": job}
            if shadow_maker_of(cell) is not rules.shadow_unlearn:
                continue
            for state in dict.fromkeys(("dense", cell["state"])):
                if once(dataset, model, recipe, seed, state, job):
                    maker = rules.shadow_train if state == "dense" else rules.shadow_prune
                    yield maker.output, place | {"shadows": job}


def files_to_make_again(wildcards):
    """An input: of each job of the experiment the first output that is not there: making it makes the others.

    What a plan asks for anyway is left out, for each file more takes its time: the results while there are no tables, and
    cells of which nothing is there, nor their results. With `missing: allow` tables are made of what is there, and
    nothing else is asked for; a batch has its share of the cells alone.
    """
    if EXPERIMENT.missing == "allow" or not workflow.is_main_process or workflow.dag_settings.batch is not None:
        return []
    tables = os.path.exists(at("tables", "cells.csv").format(experiment=EXPERIMENT.name))
    results = {file for file in (*METRICS, *POPULATIONS) if not os.path.exists(file)}
    found = sorted(results) if tables else []
    for patterns, values in outputs_of_experiment():
        files = [str(pattern).format(**values) for pattern in patterns]
        missing = [file for file in files if not os.path.exists(file)]
        own = f"{os.path.dirname(files[0])}/metrics/{EXPERIMENT.name}.json"
        if missing and not (len(missing) == len(files) and own in results):
            found.append(missing[0])
    return list(dict.fromkeys(found))
