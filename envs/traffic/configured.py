"""Any city as a task: a CityFlow configuration becomes `cityflow/<folder>_<signals>` in this process.

`configure` reads the configuration and takes the SHA-256 of its road network and flow. What it finds stands in
`envs.traffic_names.CONFIGURED`, from where the traffic tasks have it, and goes into the settings of the environment
(`map`, `roadnet_sha256`, `flow_sha256`), so that another process, or a run that is resumed, builds the same city or
says which file has changed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from envs.errors import TrafficFileError
from envs.traffic.files import EngineConfig, read_config, read_json_file
from envs.traffic_names import CONFIGURED, ConfiguredCity, is_listed

MOST_BYTES = 1 << 20
"""Of a file that is looked into to see whether it is a configuration: road networks and flows are larger or not one."""
STEP = 1.0
"""Seconds between two steps of every traffic task."""


def configure(path: str, roadnet_sha256: str = "", flow_sha256: str = "") -> str:
    """Make a task of the configuration at `path`, a file or the folder that holds it; returns the task's name.

    Raises TrafficFileError where there is no configuration or more than one, a file is missing or malformed or
    does not have the SHA-256 given for it, no signal has a choice, or another city has the name.
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
    """SHA-256 of a file's bytes as they are, compressed or not. Raises TrafficFileError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise TrafficFileError(f"{path}: the file cannot be read ({error.strerror or error})") from error


def changed(file: Path, found: str, expected: str) -> TrafficFileError:
    """What to raise about a file that is not the one of a run."""
    return TrafficFileError(
        f"{file} has changed: its sha256 is {found[:12]}..., that of the run {expected[:12]}...; restore the file, or "
        "begin new runs with another --results folder"
    )


def _configuration(path: str) -> Path:
    """The configuration that is meant, as an absolute path."""
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
        return False  # some other file, which nobody asked for by its name
    return isinstance(document, dict) and "roadnetFile" in document


def _located(config: Path, settings: EngineConfig, name: str) -> Path:
    """Where a file of the configuration is: `dir` and its name from the configuration's folder or, as in CityFlow, from
    the current one; or beside the configuration, wherever `dir` leads."""
    written = settings.path(name)
    places = list(dict.fromkeys((config.parent / written, Path.cwd() / written, config.parent / name)))
    for place in places:
        if place.is_file():
            return place.resolve()
    raise TrafficFileError(
        f"{config}: there is no file {' or '.join(map(str, places))}; expected {name!r} where 'dir' leads from the "
        "folder of the configuration or the current one, or beside the configuration"
    )


def _folder_name(config: Path) -> str:
    """The folder's name, with _ for what does not go into names of tasks."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", config.parent.name).lstrip(".-")
    if not name:
        raise TrafficFileError(f"{config}: its folder gives the task no name: put it in a folder with a name")
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
    """Raise TrafficFileError if the name is another city's."""
    before = CONFIGURED.get(task)
    if is_listed(task):
        raise TrafficFileError(f"{city.config}: {task} is a task of this project: give the folder another name")
    if before is not None and before.config != city.config and before.files() != city.files():
        raise TrafficFileError(
            f"{city.config} and {before.config} would both be {task}: give one of their folders another name, or each "
            "configuration a folder of its own"
        )
