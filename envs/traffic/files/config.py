"""CityFlow's configuration file: the road network and flows to simulate, and the engine's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envs.traffic.files.json_objects import CONFIG, JsonObject, read_json_file, require_kind, warn_of_ignored

LONGEST_STEP = 60.0
"""Maximum duration of a step in seconds. Drivers decide once per step, and with much longer ones flows would create
vehicles without end."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """A configuration file. File names are stored as written; `path` prepends the directory."""

    interval: float
    """Duration of one step in seconds."""
    seed: int
    """Seed of the Mersenne twister, a signed 32-bit integer."""
    directory: str
    """Prefix of every file name, used verbatim, so it normally ends with a slash."""
    roadnet_file: str
    flow_file: str
    rl_traffic_light: bool
    """If True, phases change only on command; if False, each intersection cycles through its phases."""
    lane_change: bool
    save_replay: bool
    roadnet_log_file: str
    """Log of the road network; empty if not given, which is allowed without a replay, as for the next field."""
    replay_log_file: str

    def path(self, name: str) -> Path:
        """The path of the file called `name`."""
        return Path(self.directory + name)


def read_config(path: str | Path) -> EngineConfig:
    """The configuration in a file. Raises TrafficFileError if it is missing or invalid."""
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
