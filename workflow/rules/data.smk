# Images come in, and are split once per seed.


localrules:
    split,
    forget,


def dataset_files(wildcards):
    """The user's files that a dataset reads, so that a changed file is ingested again."""
    from lacuna.data import DATASETS
    from lacuna.fields import build

    entry = EXPERIMENT.entry("datasets", wildcards.dataset)
    return [str(path) for path in build(DATASETS[entry.method], entry.values).files()]


rule ingest:
    input:
        dataset_files,
    output:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
    params:
        entry=entry_of("datasets", "dataset"),
        code=code_of("ingest.py", datasets="dataset"),
    log:
        beside(DATA + "ingest", "log"),
    benchmark:
        beside(DATA + "ingest", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
        gpu=0,
    conda:
        ENVIRONMENT
    message:
        "ingest {wildcards.dataset}"
    script:
        "../scripts/ingest.py"


rule split:
    input:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
    output:
        split=SPLITS + "split.npz",
    params:
        code=code_of("split.py"),
    log:
        beside(SPLITS + "split", "log"),
    benchmark:
        beside(SPLITS + "split", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
        gpu=0,
    conda:
        ENVIRONMENT
    message:
        "split {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/split.py"


rule forget:
    input:
        images=DATA + "images.safetensors",
        split=SPLITS + "split.npz",
    output:
        split=SPLITS + "forget/{scenario}.npz",
    params:
        entry=entry_of("scenarios", "scenario"),
        code=code_of("forget.py", scenarios="scenario"),
    log:
        beside(SPLITS + "forget/{scenario}", "log"),
    benchmark:
        beside(SPLITS + "forget/{scenario}", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
        gpu=0,
    conda:
        ENVIRONMENT
    message:
        "choose what to forget: {wildcards.scenario} of {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/forget.py"
