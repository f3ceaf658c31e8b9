"""Dataset → images.safetensors and meta.json."""

from dataclasses import replace

from lacuna_workflow.job import job, without_method

from lacuna.artifacts.files import write_json
from lacuna.data import DATASETS
from lacuna.fields import build

with job(snakemake) as log:
    entry = snakemake.params.entry
    dataset = build(DATASETS[entry["method"]], without_method(entry))
    content = dataset.content()  # before it is read: a change meanwhile is noticed by the next plan
    images = replace(dataset.load(), names=dataset.class_names())
    meta = images.write(snakemake.output.images, snakemake.threads) | {"entry": entry, "backdoor": entry["backdoor"]}
    if content:
        meta["content"] = content
    write_json(snakemake.output.meta, meta | {"parameters": dict(snakemake.params.items())})
    for line in images.remarks():
        log(line)
    log(f"{meta['train']} training and {meta['test']} test images, {meta['classes']} classes, sha256 {meta['sha256']}")
