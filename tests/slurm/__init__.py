"""The pipeline on a real SLURM: one node, made for these tests on this machine."""
