"""Road networks and vehicles of real cities (`envs.traffic.maps`): `python -m envs.traffic.data fetch` downloads them,
`find` locates them, and `python -m envs.traffic.data list` lists them.

They are stored compressed in `$IPB_DATA` or, if that is not set, below ~/.cache (`envs.data_folder`).
"""

from __future__ import annotations

import argparse
import functools
import gzip
import hashlib
import http.client
import json
import sys
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from tqdm import tqdm

from envs.commands import run
from envs.data_folder import VARIABLE, data_folder
from envs.errors import EnvironmentNotAvailableError, TrafficFileError
from envs.traffic.files import write_atomically
from envs.traffic.maps import ATTRIBUTION, MAPS, CityMap, DataFile
from envs.traffic.synthetic.manhattan import derive, encode

COMMAND = "python -m envs.traffic.data fetch"
SOURCE = "https://raw.githubusercontent.com"
TIMEOUT = 30.0
"""Seconds to wait for a response."""
BLOCK = 1 << 16


class MapFiles(NamedTuple):
    """Paths of a map's two files, in CityFlow's format and compressed with gzip."""

    roadnet: Path
    flow: Path


def find(name: str) -> MapFiles:
    """The files of a map in the data folder, checked once per process.

    Raises:
        ValueError: there is no map of this name.
        EnvironmentNotAvailableError: the map has not been fetched yet, or a file is damaged.
    """
    _require_name(name)
    city = MAPS[name]
    folder = data_folder()
    files = MapFiles(folder / city.roadnet.name, folder / city.flow.name)
    if files.roadnet.is_file() and files.flow.is_file():
        _check_once(files.roadnet, city.roadnet.sha256)
        _check_once(files.flow, city.flow.sha256)
        return files
    raise EnvironmentNotAvailableError(
        f"the map {name} is not in {folder}: get it with {COMMAND} --source {name}, or set {VARIABLE} to the folder "
        "where it is"
    )


def listing() -> list[str]:
    """A line for each map with its location, or with the problem and its remedy."""
    lines = []
    for name in MAPS:
        try:
            lines.append(f"{name}: in {find(name).roadnet.parent}")
        except EnvironmentNotAvailableError as error:
            lines.append(str(error))
    return lines


def fetch(
    names: Sequence[str],
    folder: Path,
    existing: Path | None = None,
    source: str = SOURCE,
    report: Callable[[str], None] = print,
) -> None:
    """Fetch maps into a folder; existing valid files are left alone.

    Args:
        names: names of the maps.
        folder: destination.
        existing: folder with copies that are used instead of downloads; by default the data folder.
        source: base address of all other files, as `source/owner/repository/revision/path`.
        report: receives a line about each map.

    Raises:
        ValueError: one of the names is not a map.
        EnvironmentNotAvailableError: a file cannot be obtained, is not the expected one, or cannot be written. Files
            completed before remain; incomplete files never exist.
    """
    copies = data_folder() if existing is None else existing
    for name in names:
        _require_name(name)
    for name in names:
        city = MAPS[name]
        missing = [file for file in (city.roadnet, city.flow) if not _is_sound(folder / file.name, file.sha256)]
        if not missing:
            report(f"{name}: is already in {folder}")
            continue
        if city.topology is None:
            origin = " and ".join(sorted({_bring(file, folder, copies, source) for file in missing}))
        else:
            origin = f"derived from a topology {_bring(city.topology, folder, copies, source)}"
            _derive(city, city.topology, folder)
        report(f"{name}: {origin}; now in {folder}")


def _bring(file: DataFile, folder: Path, existing: Path, source: str) -> str:
    """Ensure that a file is in the folder; returns a description of its origin."""
    target, copy = folder / file.name, existing / file.name
    if _is_sound(target, file.sha256):
        return f"already in {folder}"
    if copy != target and copy.is_file():
        content, origin = _read(copy), f"copied from {existing}"
        _require_checksum(content, file.sha256, str(copy))
    else:
        address = f"{source}/{file.repository}/{file.revision}/{urllib.parse.quote(file.path)}"
        content, origin = _download(address, file.name), f"downloaded from {source}/{file.repository}"
        _require_checksum(content, file.sha256, address)
    _write(target, content)
    return origin


def _derive(city: CityMap, topology: DataFile, folder: Path) -> None:
    roadnet, flow = (encode(value) for value in derive(json.loads(_read(folder / topology.name))))
    for file, content in ((city.roadnet, roadnet), (city.flow, flow)):
        _require_checksum(content, file.sha256, f"{file.name}, derived from {topology.name},")
    for file, content in ((city.roadnet, roadnet), (city.flow, flow)):
        _write(folder / file.name, content)


def _download(address: str, label: str) -> bytes:
    """The content at an address, with a progress bar on a terminal."""
    content = bytearray()
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            total = int(answer.headers.get("Content-Length", 0)) or None
            with tqdm(total=total, desc=label, unit="B", unit_scale=True, disable=None, leave=False) as bar:
                while block := answer.read(BLOCK):
                    content += block
                    bar.update(len(block))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise EnvironmentNotAvailableError(
            f"cannot download {address}: {error}; try again later, or put the file, compressed with gzip, at "
            f"{label} in the data folder"
        ) from error
    return bytes(content)


def _read(path: Path) -> bytes:
    """The uncompressed content of a file."""
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise EnvironmentNotAvailableError(
            f"{path} cannot be read ({error}): delete it, then get it with {COMMAND}"
        ) from error


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, gzip.compress(content, mtime=0))
    except TrafficFileError as error:
        raise EnvironmentNotAvailableError(f"{error}, as --folder or in {VARIABLE}") from error


def _is_sound(path: Path, sha256: str) -> bool:
    """Whether a file exists and has the expected content."""
    if not path.is_file():
        return False
    try:
        return hashlib.sha256(_read(path)).hexdigest() == sha256
    except EnvironmentNotAvailableError:
        return False


def _require_checksum(content: bytes, sha256: str, what: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise EnvironmentNotAvailableError(
            f"{what} is not the expected file: its {len(content)} bytes have the sha256 {found}, expected {sha256}; it "
            "is damaged or has changed"
        )


@functools.cache
def _check_once(path: Path, sha256: str) -> None:
    if not _is_sound(path, sha256):
        raise EnvironmentNotAvailableError(
            f"{path} is damaged (expected the sha256 {sha256} inside): delete it, then get it with {COMMAND}"
        )


def _require_name(name: str) -> None:
    if name not in MAPS:
        raise ValueError(f"there is no map {name!r}; choose from {', '.join(MAPS)}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (python -m envs.traffic.data --help explains all options)")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="python -m envs.traffic.data", description="Road networks and vehicles of real cities.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="fetch|list")
    commands.add_parser("list", help="list the maps and their locations")
    fetching = commands.add_parser("fetch", help="download and check the maps", description=ATTRIBUTION)
    fetching.add_argument(
        "--source", nargs="+", default=list(MAPS), metavar="MAP", help=f"any of {', '.join(MAPS)}; default: all"
    )
    fetching.add_argument("--folder", type=Path, metavar="DIR", help="destination; $IPB_DATA or below ~/.cache")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 after one line on stderr that says what is wrong."""
    try:
        options = _parse(arguments)
        if options.command == "list":
            print(*listing(), sep="\n")
            return 0
        fetch(options.source, options.folder or data_folder(), source=SOURCE)
    except (ValueError, EnvironmentNotAvailableError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(ATTRIBUTION)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
