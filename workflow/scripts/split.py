"""Labels → the seed's train, val and test indices."""

from job import job

from lacuna.artifacts import read_json, read_tensors, write_npz
from lacuna.data.splits import split

with job(snakemake) as say:
    labels = read_tensors(snakemake.input.images, "images", mapped=True)[0]["y"]
    train = read_json(snakemake.input.meta)["train"]
    parts = split(labels, train, int(snakemake.wildcards.seed), snakemake.wildcards.dataset)
    write_npz(snakemake.output.split, "split", parts)
    say(", ".join(f"{name} {len(index)}" for name, index in parts.items()))
