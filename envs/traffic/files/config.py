"""CityFlow's configuration file: which road network and flows to simulate, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envs.traffic.files.json_objects import CONFIG, JsonObject, read_json_file, require_kind, warn_of_ignored

LONGEST_STEP = 60.0
"""Seconds. Drivers decide once in a step; with far longer ones, flows would make vehicles without end."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One configuration file. File names are as written; `path` puts the directory in front."""

    interval: float
    """Seconds of one step."""
    seed: int
    """32 bits with a sign; the seed of the Mersenne twister."""
    directory: str
    """Put in front of every file name as it is, so it normally ends with a slash."""
    roadnet_file: str
    flow_file: str
    rl_traffic_light: bool
    """True: phases change only when told to. False: each intersection runs through its phases."""
    lane_change: bool
    save_replay: bool
    roadnet_log_file: str
    """Empty where the file gives none, which is allowed without a replay; likewise the next."""
    replay_log_file: str

    def path(self, name: str) -> Path:
        """Where the file called `name` lies."""
        return Path(self.directory + name)


def read_config(path: str | Path) -> EngineConfig:
    """The configuration in a file. Raises TrafficFileError."""
    document = read_json_file(path)
    require_kind(document, CONFIG, str(path))
    config = JsonObject(document, str(path))
    ignored: list[str] = []
    lane_change = config.optional_flag("laneChange", False, ignored)
    warn_of_ignored(ignored)
    save_replay = config.flag("saveReplay")

    def log_file(key: str) -> str:
        return (
            config.text(key) if save_replay else config.values[key] if isinstance(config.values.get(key), str) else ""
        )

    return EngineConfig(
        interval=config.number("interval", most=LONGEST_STEP, positive=True),
        seed=config.integer("seed"),
        directory=config.text("dir"),
        roadnet_file=config.text("roadnetFile"),
        flow_file=config.text("flowFile"),
        rl_traffic_light=config.flag("rlTrafficLight"),
        lane_change=lane_change,
        save_replay=save_replay,
        roadnet_log_file=log_file("roadnetLogFile"),
        replay_log_file=log_file("replayLogFile"),
    )
