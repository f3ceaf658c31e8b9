"""A seed's split → retain and forget of one scenario."""

from job import job, without_method

from lacuna.artifacts import read_npz, read_tensors, write_npz
from lacuna.data import SCENARIOS
from lacuna.data.splits import forget_split
from lacuna.fields import build

with job(snakemake) as say:
    entry, w = snakemake.params.entry, snakemake.wildcards
    labels = read_tensors(snakemake.input.images, "images")[0]["y"]
    scenario = build(SCENARIOS[entry["method"]], without_method(entry))
    base = read_npz(snakemake.input.split, "split")
    parts = forget_split(base, labels, scenario, int(w.seed), w.dataset, w.scenario)
    write_npz(snakemake.output.split, "split", parts)
    say(", ".join(f"{name} {len(index)}" for name, index in parts.items()))
