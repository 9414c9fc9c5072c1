"""The maps of real cities: their files, checksums and sources.

They are not part of this project. Their sources state no licence, so it is unclear whether copies may be redistributed.
Users therefore download them from the sources (`envs.traffic.data`), and checksums ensure that they are the maps with
which results were recorded:

* hangzhou_16 (Gudang sub-district, 4 x 4) and manhattan_48 (16 x 3) from traffic-signal-control/sample-code;
* hangzhou_5816_16 (a heavier flow on the same roads), jinan_12, jinan_2000_12 and jinan_2500_12 (3 x 4 with three
  flows) from LiangZhang1996/Efficient_XLight;
* newyork_16 (16 x 1), los_angeles_4 (1 x 4) and cologne_1 from DaRL-LibSignal/LibSignal, the last two converted from
  another simulator: in Los Angeles, CityFlow can drive only vehicles whose route passes no virtual intersection;
* manhattan_96, derived by `envs.traffic.synthetic.manhattan` from the topology of a large map in Chacha-Chen/MPLight,
  which carries way numbers of OpenStreetMap: (c) OpenStreetMap contributors, Open Database License.
"""

from __future__ import annotations

from typing import NamedTuple

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
