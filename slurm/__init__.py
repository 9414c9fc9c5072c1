"""Sweeps on SLURM clusters, through submitit: profiles of clusters, jobs, and what became of them (see README.md)."""
