"""A seed's split → retain and forget of one scenario."""

from lacuna_workflow.job import comment_for, job, without_method

import numpy as np

from lacuna.artifacts.files import read_npz, read_tensors, write_npz
from lacuna.artifacts.meta import read_meta
from lacuna.data import SCENARIOS
from lacuna.data.backdoor import backdoor_of
from lacuna.data.forget import forget_split
from lacuna.data.scenarios.base import DatasetFacts
from lacuna.fields import build

with job(snakemake) as log:
    entry, w = snakemake.params.entry, snakemake.wildcards
    arrays, _ = read_tensors(snakemake.input.images, "images", mapped=True)
    meta, base = read_meta(snakemake.input.meta), read_npz(snakemake.input.split, "split")
    labels, poisoned, scores = arrays["y"], None, None
    if (backdoor := backdoor_of(meta)) is not None:
        labels = backdoor.labels(labels, base["poisoned"])  # what the models were told
        poisoned = np.isin(np.arange(len(labels)), base["poisoned"])
    for path in snakemake.input.scores:
        stored = read_npz(path, "scores")
        scores = np.full(len(labels), np.nan)
        scores[stored["index"]] = stored["score"]
    facts = DatasetFacts(labels, meta["classes"], arrays.get("fine"), scores, poisoned, train=meta["train"])
    scenario = build(SCENARIOS[entry["method"]], without_method(entry))
    parts = forget_split(base, facts, scenario, int(w.seed), w.dataset, w.scenario)
    write_npz(snakemake.output.split, "split", parts, comment_for(snakemake))
    log(", ".join(f"{name} {len(index)}" for name, index in parts.items()))
    if remark := scenario.remark(base["train"]):
        log(remark)
