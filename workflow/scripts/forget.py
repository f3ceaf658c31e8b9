"""A seed's split → retain and forget of one scenario."""

from job import job, without_method

from lacuna.artifacts import read_json, read_npz, read_tensors, write_npz
from lacuna.data import SCENARIOS
from lacuna.data.scenarios.base import Known
from lacuna.data.splits import forget_split
from lacuna.fields import build

with job(snakemake) as say:
    entry, w = snakemake.params.entry, snakemake.wildcards
    arrays, _ = read_tensors(snakemake.input.images, "images", mapped=True)
    meta = read_json(snakemake.input.meta)
    known = Known(arrays["y"], meta["classes"], arrays.get("fine"), train=meta["train"])
    scenario = build(SCENARIOS[entry["method"]], without_method(entry))
    base = read_npz(snakemake.input.split, "split")
    parts = forget_split(base, known, scenario, int(w.seed), w.dataset, w.scenario)
    write_npz(snakemake.output.split, "split", parts)
    say(", ".join(f"{name} {len(index)}" for name, index in parts.items()))
    if remark := scenario.remark(base["train"]):
        say(remark)
