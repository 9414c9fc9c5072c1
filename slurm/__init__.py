"""Sweeps on SLURM clusters, through submitit: cluster profiles, jobs, and their outcomes (see README.md)."""
