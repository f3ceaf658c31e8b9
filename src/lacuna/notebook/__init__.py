"""Models and their predictions without the pipeline: `lacuna.prune` and `lacuna.predict`. No job imports it."""
