"""Names of the tasks made from PettingZoo environments, available without importing torch."""

from __future__ import annotations

PREFIX = "pettingzoo:"
"""Prefix of `package.module:function`, the function that creates the environment."""

FOUND: dict[str, str] = {}
"""Sources of the tasks that this process has made from PettingZoo environments (`envs.foreign.located`), by name."""
