"""Names of the tasks made of PettingZoo environments, which can be looked at without torch."""

from __future__ import annotations

PREFIX = "pettingzoo:"
"""Before `package.module:function`, the function that makes the environment."""

FOUND: dict[str, str] = {}
"""Tasks that this process has made of PettingZoo environments (`envs.foreign.located`), by name, and their sources."""
