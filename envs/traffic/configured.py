"""User-defined cities: a CityFlow configuration becomes the task `cityflow/<folder>_<signals>` in this process.

`configure` reads the configuration and computes the SHA-256 of its road network and flow. It registers the city in
`envs.traffic_names.CONFIGURED`, from which the traffic tasks read it. The city also goes into the settings of the
environment (`map`, `roadnet_sha256`, `flow_sha256`), so that another process or a resumed run builds the same city or
reports which file has changed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from envs.errors import TrafficFileError
from envs.traffic.files import EngineConfig, read_config, read_json_file
from envs.traffic_names import CONFIGURED, ConfiguredCity, is_listed

MOST_BYTES = 1 << 20
"""Maximum size of a file that is inspected to see whether it is a configuration, in bytes; road networks and flows are
usually larger."""
STEP = 1.0
"""Duration of a step in seconds, the same for all traffic tasks."""


def configure(path: str, roadnet_sha256: str = "", flow_sha256: str = "") -> str:
    """Make a task from the configuration at `path`, a file or the folder that contains it; returns the task's name.

    Raises TrafficFileError if there is no configuration or more than one, if a file is missing, malformed or does not
    have the given SHA-256, if no signal has a choice of phases, or if another city has the same name.
    """
    config = _configuration(path)
    settings = read_config(config)
    if settings.interval != STEP:
        raise TrafficFileError(
            f"{config}: 'interval' is {settings.interval:g}; tasks take steps of {STEP:g} s: change it to {STEP:g}"
        )
    roadnet, flow = (_located(config, settings, name) for name in (settings.roadnet_file, settings.flow_file))
    city = ConfiguredCity(
        str(config), str(roadnet), str(flow), sha256_of(roadnet), sha256_of(flow), settings.lane_change
    )
    for file, found, expected in (
        (roadnet, city.roadnet_sha256, roadnet_sha256),
        (flow, city.flow_sha256, flow_sha256),
    ):
        if expected and found != expected:
            raise changed(file, found, expected)
    task = f"cityflow/{_folder_name(config)}_{_count_signals(city)}"
    _require_free(task, city)
    CONFIGURED[task] = city
    return task


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's raw bytes, compressed or not. Raises TrafficFileError if the file cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TrafficFileError(f"{path}: the file cannot be read ({error.strerror or error})") from error


def changed(file: Path, found: str, expected: str) -> TrafficFileError:
    """The error to raise for a file that differs from the one a run was started with."""
    return TrafficFileError(
        f"{file} has changed: its sha256 is {found[:12]}..., that of the run {expected[:12]}...; restore the file, or "
        "start new runs with another --results folder"
    )


def _configuration(path: str) -> Path:
    """The absolute path of the configuration at `path`."""
    given = Path(path).expanduser().resolve()
    if given.is_file():
        return given
    if not given.is_dir():
        raise TrafficFileError(f"{path}: there is no such file or folder; expected a CityFlow configuration")
    found = [file for file in sorted(given.glob("*.json")) if _is_configuration(file)]
    if not found:
        raise TrafficFileError(
            f"{path}: this folder holds no CityFlow configuration: expected a .json file with roadnetFile and flowFile"
        )
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise TrafficFileError(f"{path}: this folder holds {len(found)} configurations ({names}): give the path of one")
    return found[0]


def _is_configuration(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > MOST_BYTES:
        return False
    try:
        document = read_json_file(file)
    except TrafficFileError:
        return False  # some other file in the folder, which was not requested by name
    return isinstance(document, dict) and "roadnetFile" in document


def _located(config: Path, settings: EngineConfig, name: str) -> Path:
    """The path of a file of the configuration: `dir` and its name relative to the configuration's folder or, as in
    CityFlow, to the current folder; or its name next to the configuration, whatever `dir` is."""
    written = settings.path(name)
    places = list(dict.fromkeys((config.parent / written, Path.cwd() / written, config.parent / name)))
    for place in places:
        if place.is_file():
            return place.resolve()
    raise TrafficFileError(
        f"{config}: there is no file {' or '.join(map(str, places))}; expected {name!r} where 'dir' leads from the "
        "folder of the configuration or the current one, or next to the configuration"
    )


def _folder_name(config: Path) -> str:
    """The folder's name, with characters that task names cannot contain replaced by _."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", config.parent.name).lstrip(".-")
    if not name:
        raise TrafficFileError(
            f"{config}: its folder yields no name for the task: put it in a folder with another name"
        )
    return name


def _count_signals(city: ConfiguredCity) -> int:
    from envs.traffic.tasks import city_of_files

    try:
        return len(city_of_files(city).signals.agents)
    except TrafficFileError:
        raise
    except ValueError as error:
        raise TrafficFileError(f"{city.roadnet}: {error}") from error


def _require_free(task: str, city: ConfiguredCity) -> None:
    """Raise TrafficFileError if the name belongs to another city."""
    before = CONFIGURED.get(task)
    if is_listed(task):
        raise TrafficFileError(f"{city.config}: {task} is a task of this project: give the folder another name")
    if before is not None and before.config != city.config and before.files() != city.files():
        raise TrafficFileError(
            f"{city.config} and {before.config} would both be {task}: give one of their folders another name, or each "
            "configuration a separate folder"
        )
