"""The answers of all shadow models of a cell and of its oracles → population.json."""

from lacuna_workflow.job import commit, coordinates, job, record_of

from lacuna.artifacts.files import read_npz, write_json
from lacuna.evaluation.population import Pool, evaluate_population
from lacuna.evaluation.population.attacks import summary_of

with job(snakemake) as log:
    inputs, labels = snakemake.input, snakemake.params.oracles

    def pool(files: list[str]) -> Pool:
        return Pool.from_jobs({file: read_npz(file, "shadows") for file in files})

    own, count = pool(inputs.own), len(inputs.own)
    theirs = {label: inputs.oracles[i * count : (i + 1) * count] for i, label in enumerate(labels)}
    metrics = evaluate_population(own, {label: pool(files) for label, files in theirs.items()})
    result = {
        "cell": coordinates(snakemake.wildcards),
        "metrics": metrics,
        "notes": metrics.notes,
        "attacks": {attack: summary_of(own, attack) for attack in ("u_lira", "rmia")},
        "models": own.models.tolist(),
        "evaluated_at_commit": commit(),
        **record_of(snakemake),
    }
    write_json(snakemake.output.population, result)
    log(", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    for name, note in metrics.notes.items():
        log(f"warning: {name}: {note}")
