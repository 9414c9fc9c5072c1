"""How long tests wait for what they have started."""

PATIENCE = 1500
"""Seconds, however slow the machine: the end of what hangs, not a measure of speed. pytest's own limit (pyproject.toml)
is longer."""
