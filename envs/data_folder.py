"""Where data lies that the project does not ship: real road maps, and the published weights of prey.

`IPB_DATA` names the folder, which has a folder for each map (`python -m envs.traffic.data list`) and one called prey.
Where it is not set, the folder is intention-propagation-benchmark/traffic below `$XDG_CACHE_HOME` or ~/.cache.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "IPB_DATA"
EARLIER = "IPB_TRAFFIC_DATA"
"""What the variable was called while only maps were looked for there; it counts where the other is not set."""


def data_folder() -> Path:
    """Where data is looked for and fetched to; it need not exist."""
    if chosen := os.environ.get(VARIABLE) or os.environ.get(EARLIER):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "intention-propagation-benchmark" / "traffic"
