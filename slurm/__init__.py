"""Launching runs on SLURM clusters. Not part of the project yet: sweeps run on this machine."""
