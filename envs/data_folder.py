"""The folder of data that the project does not ship: real road maps and the published prey weights.

`IPB_DATA` names the folder, which contains a folder for each map (`python -m envs.traffic.data list`) and one called
prey. The default is intention-propagation-benchmark/traffic below `$XDG_CACHE_HOME` or ~/.cache.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "IPB_DATA"
EARLIER = "IPB_TRAFFIC_DATA"
"""Former name of the variable, from when the folder held only maps; used if the other is not set."""


def data_folder() -> Path:
    """The folder that data is read from and downloaded to; it need not exist."""
    if chosen := os.environ.get(VARIABLE) or os.environ.get(EARLIER):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "intention-propagation-benchmark" / "traffic"
