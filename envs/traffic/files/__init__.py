"""Readers and validators of CityFlow's files: JSON with CityFlow's numbers, configurations, road networks.

This package does not depend on the simulator. Flows are read by `envs.traffic.network.routes`, which needs the road
network to expand routes; snapshots and replays are handled by `envs.traffic.cityflow`.
"""

from envs.traffic.files.config import LONGEST_STEP, EngineConfig, read_config
from envs.traffic.files.json_objects import (
    CONFIG,
    FLOWS,
    LARGEST_COORDINATE,
    MOST_WARNINGS,
    ROADNET,
    SNAPSHOT,
    VIEWER_LOG,
    IgnoredValueWarning,
    JsonObject,
    decompressed,
    read_json_file,
    require_kind,
    warn_of_ignored,
    write_atomically,
)
from envs.traffic.files.numbers import parse_json, parse_real
from envs.traffic.files.roadnet import LINK_RANKS, Roadnet, parse_roadnet

__all__ = [
    "CONFIG",
    "FLOWS",
    "LARGEST_COORDINATE",
    "LINK_RANKS",
    "LONGEST_STEP",
    "MOST_WARNINGS",
    "ROADNET",
    "SNAPSHOT",
    "VIEWER_LOG",
    "EngineConfig",
    "IgnoredValueWarning",
    "JsonObject",
    "Roadnet",
    "decompressed",
    "parse_json",
    "parse_real",
    "parse_roadnet",
    "read_config",
    "read_json_file",
    "require_kind",
    "warn_of_ignored",
    "write_atomically",
]
