"""Labels → the seed's train, val and test indices, and who is poisoned where the dataset has a backdoor."""

from lacuna_workflow.job import comment_for, job

from lacuna.artifacts.files import read_tensors, write_npz
from lacuna.artifacts.meta import read_meta
from lacuna.data.backdoor import backdoor_of
from lacuna.data.splits import split

with job(snakemake) as log:
    labels = read_tensors(snakemake.input.images, "images", mapped=True)[0]["y"]
    meta, seed, dataset = (
        read_meta(snakemake.input.meta),
        int(snakemake.wildcards.seed),
        snakemake.wildcards.dataset,
    )
    parts = split(labels, meta["train"], seed, dataset)
    if (backdoor := backdoor_of(meta)) is not None:
        parts |= backdoor.parts(parts["train"], labels, meta["train"], seed, dataset)
    write_npz(snakemake.output.split, "split", parts, comment_for(snakemake))
    log(", ".join(f"{name} {len(index)}" for name, index in parts.items()))
