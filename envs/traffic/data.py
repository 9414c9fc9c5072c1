"""Road networks and vehicles of real cities: `python -m envs.traffic.data fetch` downloads them, `find` locates them,
and `python -m envs.traffic.data list` lists them.

The maps are not part of this project. Their sources state no licence, so it is unclear whether copies may be
redistributed. Users therefore download them from the sources, and checksums ensure that they are the maps with which
results were recorded:

* hangzhou_16 (Gudang sub-district, 4 x 4) and manhattan_48 (16 x 3) from traffic-signal-control/sample-code;
* hangzhou_5816_16 (a heavier flow on the same roads), jinan_12, jinan_2000_12 and jinan_2500_12 (3 x 4 with three
  flows) from LiangZhang1996/Efficient_XLight;
* newyork_16 (16 x 1), los_angeles_4 (1 x 4) and cologne_1 from DaRL-LibSignal/LibSignal, the last two converted from
  another simulator: in Los Angeles, CityFlow can drive only vehicles whose route passes no virtual intersection;
* manhattan_96, derived by `envs.traffic.synthetic.manhattan` from the topology of a large map in Chacha-Chen/MPLight,
  which carries way numbers of OpenStreetMap: (c) OpenStreetMap contributors, Open Database License.

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
from envs.traffic.synthetic.manhattan import derive, encode

COMMAND = "python -m envs.traffic.data fetch"
SOURCE = "https://raw.githubusercontent.com"
TIMEOUT = 30.0
"""Seconds to wait for a response."""
BLOCK = 1 << 16
ATTRIBUTION = (
    "The sources state no licence: use the maps for yourself, do not pass them on. "
    "Manhattan, 96 intersections: (c) OpenStreetMap contributors, Open Database License."
)


class DataFile(NamedTuple):
    """A file of the data folder."""

    name: str
    """Path in the folder; the file is compressed with gzip."""
    sha256: str
    """SHA-256 of the uncompressed JSON text."""
    repository: str = ""
    """Owner and name on GitHub; empty for derived files."""
    path: str = ""
    """Path in the repository."""
    revision: str = "master"
    """Branch; HEAD stands for the default branch."""


class CityMap(NamedTuple):
    """A map and its files."""

    roadnet: DataFile
    flow: DataFile
    topology: DataFile | None = None
    """File from which the others are derived, if they are."""


class MapFiles(NamedTuple):
    """Paths of a map's two files, in CityFlow's format and compressed with gzip."""

    roadnet: Path
    flow: Path


_SAMPLE_CODE = "traffic-signal-control/sample-code"
_XLIGHT, _LIBSIGNAL = "LiangZhang1996/Efficient_XLight", "DaRL-LibSignal/LibSignal"


def _xlight(name: str, sha256: str, path: str) -> DataFile:
    return DataFile(name, sha256, _XLIGHT, f"data/{path}", "HEAD")


def _libsignal(name: str, sha256: str, path: str) -> DataFile:
    return DataFile(name, sha256, _LIBSIGNAL, f"data/raw_data/{path}", "HEAD")


_JINAN = _xlight(
    "jinan_3x4/roadnet.json.gz",
    "55abc036ac4ac48705301f4cf46ea80d8d88a82abb9ed68404bedb96eb3cf81d",
    "Jinan/3_4/roadnet_3_4.json",
)
_HANGZHOU = "data/hangzhou_4x4_gudang_18041610_1h"
_MANHATTAN = "data/manhattan_16x3"
MAPS = {
    "hangzhou_16": CityMap(
        DataFile(
            "hangzhou_4x4/roadnet.json.gz",
            "11e2fe89f632e43e81f56ea87a308d544b66f9c5af8a410e16149668d6d376c1",
            _SAMPLE_CODE,
            f"{_HANGZHOU}/roadnet_4X4.json",
        ),
        DataFile(
            "hangzhou_4x4/flow.json.gz",
            "595a6140e6649efe5be1b274eb8b03e8c4029e517c9ac2ad53c9ea556a414213",
            _SAMPLE_CODE,
            f"{_HANGZHOU}/hangzhou_4x4_gudang_18041610_1h.json",
        ),
    ),
    "manhattan_48": CityMap(
        DataFile(
            "manhattan_16x3/roadnet.json.gz",
            "918fe133b050f4c6163252cc966fa0049b7e02edca4af15527adecd836e5098c",
            _SAMPLE_CODE,
            f"{_MANHATTAN}/roadnet_16_3.json",
        ),
        DataFile(
            "manhattan_16x3/flow.json.gz",
            "f8cbaaaef00f172f6d310807c61584f104ff13b8430b092ddc34636cfc13ccd4",
            _SAMPLE_CODE,
            f"{_MANHATTAN}/anon_16_3_newyork_real.json",
        ),
    ),
    "manhattan_96": CityMap(
        DataFile(
            "manhattan_96_derived/roadnet.json.gz", "37e40883d7668b26200756f332bdb42053ec750368f1fc1220b1952a4342d930"
        ),
        DataFile(
            "manhattan_96_derived/flow.json.gz", "38c25fc6992c9cebed1f4e0e3d368959c0cb8321d9c1b773a88a814cd75b7f3e"
        ),
        DataFile(
            "manhattan_2510_topology/roadnet_static.json.gz",
            "ddd2070ff72ad80f7947361d41c242dabfb868fc1f9a29ae2bdba4e88facf95c",
            "Chacha-Chen/MPLight",
            "data/manhattan/roadnet_manhattan.json",
        ),
    ),
}
MAPS |= {
    "hangzhou_5816_16": CityMap(
        MAPS["hangzhou_16"].roadnet,
        _xlight(
            "hangzhou_4x4/flow_5816.json.gz",
            "e9b9e31e9a9a5f59d1a668b242319c3ef69f1ab724e2f2b618ed4886cc1a7a9c",
            "Hangzhou/4_4/anon_4_4_hangzhou_real_5816.json",
        ),
    ),
    "jinan_12": CityMap(
        _JINAN,
        _xlight(
            "jinan_3x4/flow.json.gz",
            "233739633ef0b637125cb304dfffff9488503bac6e6861ca39243cc8ffdcebd5",
            "Jinan/3_4/anon_3_4_jinan_real.json",
        ),
    ),
    "jinan_2000_12": CityMap(
        _JINAN,
        _xlight(
            "jinan_3x4/flow_2000.json.gz",
            "d0931c1b759479f9e748d69c16414020bfba03d555dcc6cdf7223a0c18cb9e69",
            "Jinan/3_4/anon_3_4_jinan_real_2000.json",
        ),
    ),
    "jinan_2500_12": CityMap(
        _JINAN,
        _xlight(
            "jinan_3x4/flow_2500.json.gz",
            "4245107cc7ce91b9699519f2c1258be4397e83291080a43cb0b93479557739cd",
            "Jinan/3_4/anon_3_4_jinan_real_2500.json",
        ),
    ),
    "newyork_16": CityMap(
        _libsignal(
            "newyork_16x1/roadnet.json.gz",
            "615a8c292e0a7b1a7561a47e38b5faeed2645aaa6571cf38ef4d6187230354f7",
            "NewYork/roadnet_16_1.json",
        ),
        _libsignal(
            "newyork_16x1/flow.json.gz",
            "2af69fdb8b099f6891d66689c64387a79d524e901c193cae15107ca9614af67c",
            "NewYork/anon_16_1_300_newyork_real_1.json",
        ),
    ),
    "los_angeles_4": CityMap(
        _libsignal(
            "los_angeles_1x4/roadnet.json.gz",
            "7ec7b5b8a1855c454d56a13112b0435a5a178194b3029525f331402a607f8c24",
            "LA_1x4/roadnet_LA.json",
        ),
        _libsignal(
            "los_angeles_1x4/flow.json.gz",
            "60d00b06111d63530302f2b401cd753686d73f8c44e0c30434bfc14295520180",
            "LA_1x4/LA.json",
        ),
    ),
    "cologne_1": CityMap(
        _libsignal(
            "cologne_1/roadnet.json.gz",
            "9a1d0efbe755cbc13d2f2ee1598e9f3b7a3f2fe2e075d8f078a04bc25f016c73",
            "cologne1/cologne1_roadnet_red.json",
        ),
        _libsignal(
            "cologne_1/flow.json.gz",
            "b1506e804d12cf7a4db0efb9c36f706c2834c53edc29723806349466776f7423",
            "cologne1/cologne1_flow.json",
        ),
    ),
}
"""The maps by name, which includes the number of signalised intersections."""


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
    beside: Path | None = None,
    source: str = SOURCE,
    report: Callable[[str], None] = print,
) -> None:
    """Fetch maps into a folder; existing valid files are left alone.

    Args:
        names: names of the maps.
        folder: destination.
        beside: folder from which existing copies are taken; by default the data folder.
        source: base address of all other files, as `source/owner/repository/revision/path`.
        report: receives a line about each map.

    Raises:
        ValueError: one of the names is not a map.
        EnvironmentNotAvailableError: a file cannot be obtained, is not the expected one, or cannot be written. Files
            completed before remain; incomplete files never exist.
    """
    copies = data_folder() if beside is None else beside
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


def _bring(file: DataFile, folder: Path, beside: Path, source: str) -> str:
    """Ensure that a file is in the folder; returns a description of its origin."""
    target, copy = folder / file.name, beside / file.name
    if _is_sound(target, file.sha256):
        return f"already in {folder}"
    if copy != target and copy.is_file():
        content, origin = _read(copy), f"copied from {beside}"
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
