"""Dataset → images.safetensors and meta.json."""

from job import job, without_method

from lacuna.artifacts import write_json
from lacuna.data import DATASETS
from lacuna.fields import build

with job(snakemake) as say:
    entry = snakemake.params.entry
    images = build(DATASETS[entry["method"]], without_method(entry)).load()
    meta = images.write(snakemake.output.images, snakemake.threads) | {"entry": entry, "backdoor": entry["backdoor"]}
    if listing := snakemake.params.listing:
        meta["listing"] = listing
    write_json(snakemake.output.meta, meta)
    say(f"{meta['train']} training and {meta['test']} test images, {meta['classes']} classes, sha256 {meta['sha256']}")
