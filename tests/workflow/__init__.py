"""The pipeline end to end, driven by the real Snakemake."""
