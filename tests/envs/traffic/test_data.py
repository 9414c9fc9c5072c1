"""Maps of real cities are fetched, checked and found; the irregular map is derived to the byte."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from envs.data_folder import EARLIER, VARIABLE, data_folder
from envs.errors import EnvironmentNotAvailableError
from envs.traffic import data
from envs.traffic.data import MapFiles, fetch, find, main
from envs.traffic.maps import MAPS, CityMap, DataFile
from envs.traffic.synthetic.manhattan import derive, encode, shared_lanes
from envs.traffic_names import REAL
from tests.beside import MAPS as REAL_MAPS
from tests.beside import TOPOLOGY, needs_topology

ROADNET, FLOW, PLAN = b'{"intersections":[],"roads":[]}', b"[]", b'{"static":{}}'


def described(name: str, content: bytes, path: str = "") -> DataFile:
    return DataFile(name, hashlib.sha256(content).hexdigest(), "somebody/maps" if path else "", path)


TINY = CityMap(
    described("tiny/roadnet.json.gz", ROADNET, "folder/road net.json"),
    described("tiny/flow.json.gz", FLOW, "folder/flow.json"),
)
DERIVED = CityMap(
    described("derived/roadnet.json.gz", ROADNET),
    described("derived/flow.json.gz", FLOW),
    described("plan/plan.json.gz", PLAN, "folder/plan.json"),
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def maps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two small maps instead of the real ones' sources, a data folder without maps."""
    monkeypatch.setitem(MAPS, "tiny", TINY)
    monkeypatch.setitem(MAPS, "derived", DERIVED)
    monkeypatch.setattr(data, "derive", lambda topology: (json.loads(ROADNET), json.loads(FLOW)))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "*")
    data._check_once.cache_clear()


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The folder that the local server shows."""
    folder = tmp_path / "served"
    files = folder / "somebody" / "maps" / "master" / "folder"
    files.mkdir(parents=True)
    for name, content in (("road net.json", ROADNET), ("flow.json", FLOW), ("plan.json", PLAN)):
        (files / name).write_bytes(content)
    return folder


@pytest.fixture
def source(served: Path) -> Iterator[str]:
    """The address of a local server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, compressed ones as what they hold."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else b"?"
        for path in found
    }


def put(folder: Path, file: DataFile, content: bytes) -> Path:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content))
    return path


def test_download_of_another_branch(tmp_path: Path, served: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps that share their roads bring them once."""
    content = b'[{"route": []}]'
    (served / "somebody/maps/HEAD").mkdir()
    (served / "somebody/maps/HEAD/other flow.json").write_bytes(content)
    flow = described("tiny/other.json.gz", content, "other flow.json")._replace(revision="HEAD")
    monkeypatch.setitem(MAPS, "tiny_other", CityMap(TINY.roadnet, flow))
    fetch(["tiny", "tiny_other"], tmp_path / "maps", tmp_path / "none", source, lambda line: None)
    assert contents(tmp_path / "maps") == {
        "tiny/roadnet.json.gz": ROADNET,
        "tiny/flow.json.gz": FLOW,
        "tiny/other.json.gz": content,
    }


def test_names_say_how_many_signals() -> None:
    """Settings of a run depend on the last number."""
    assert set(REAL) <= MAPS.keys()
    assert all(name.rpartition("_")[2].isdigit() and int(name.rpartition("_")[2]) < 200 for name in REAL)


def test_download(tmp_path: Path, source: str) -> None:
    lines: list[str] = []
    fetch(["tiny", "derived"], tmp_path / "maps", tmp_path / "none", source, lines.append)
    assert contents(tmp_path / "maps") == {
        "tiny/roadnet.json.gz": ROADNET,
        "tiny/flow.json.gz": FLOW,
        "derived/roadnet.json.gz": ROADNET,
        "derived/flow.json.gz": FLOW,
        "plan/plan.json.gz": PLAN,
    }
    assert f"downloaded from {source}/somebody/maps" in lines[0]
    assert "derived" in lines[1]


def test_fetching_again_does_nothing(tmp_path: Path, source: str) -> None:
    fetch(["tiny", "derived"], tmp_path, tmp_path / "none", source, str)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    lines: list[str] = []
    fetch(["tiny", "derived"], tmp_path, tmp_path / "none", "http://127.0.0.1:9/nobody-asks", lines.append)
    assert lines == [f"{name}: is already in {tmp_path}" for name in ("tiny", "derived")]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_damaged_files_are_replaced(tmp_path: Path, source: str) -> None:
    put(tmp_path, TINY.flow, b"[0]")
    (put(tmp_path, TINY.roadnet, ROADNET)).write_bytes(b"no gzip")
    fetch(["tiny"], tmp_path, tmp_path / "none", source, str)
    assert contents(tmp_path)["tiny/flow.json.gz"] == FLOW
    assert contents(tmp_path)["tiny/roadnet.json.gz"] == ROADNET


def test_copies_beside_come_first(tmp_path: Path) -> None:
    for file, content in ((TINY.roadnet, ROADNET), (TINY.flow, FLOW)):
        put(tmp_path / "beside", file, content)
    lines: list[str] = []
    fetch(["tiny"], tmp_path / "maps", tmp_path / "beside", "http://127.0.0.1:9/nobody-asks", lines.append)
    assert contents(tmp_path / "maps") == {"tiny/roadnet.json.gz": ROADNET, "tiny/flow.json.gz": FLOW}
    assert "copied from" in lines[0]


def test_damaged_copy_beside_is_named(tmp_path: Path) -> None:
    damaged = put(tmp_path / "beside", TINY.roadnet, b"{}")
    with pytest.raises(EnvironmentNotAvailableError, match="is not the expected file") as error:
        fetch(["tiny"], tmp_path / "maps", tmp_path / "beside", report=str)
    assert str(damaged) in str(error.value)
    assert contents(tmp_path / "maps") == {}


@pytest.mark.parametrize("content", [FLOW + b" ", b"", b"<html>please log in</html>"])
def test_wrong_content_is_not_kept(tmp_path: Path, served: Path, source: str, content: bytes) -> None:
    (served / "somebody/maps/master/folder/flow.json").write_bytes(content)
    with pytest.raises(EnvironmentNotAvailableError, match=r"folder/flow\.json is not the expected file"):
        fetch(["tiny"], tmp_path / "maps", tmp_path / "none", source, str)
    assert contents(tmp_path / "maps") == {"tiny/roadnet.json.gz": ROADNET}


def test_wrong_derivation_is_not_kept(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "derive", lambda topology: (json.loads(ROADNET), [1]))
    with pytest.raises(EnvironmentNotAvailableError, match="derived from plan"):
        fetch(["derived"], tmp_path / "maps", tmp_path / "none", source, str)
    assert contents(tmp_path / "maps") == {"plan/plan.json.gz": PLAN}


def test_missing_page_and_missing_network(
    tmp_path: Path, served: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (served / "somebody/maps/master/folder/road net.json").unlink()
    with socket.socket() as unused:  # bound, but nobody listens
        unused.bind(("127.0.0.1", 0))
        for address, reason in ((source, "404"), (f"http://127.0.0.1:{unused.getsockname()[1]}", "refused")):
            monkeypatch.setattr(data, "SOURCE", address)
            assert main(["fetch", "--source", "tiny", "--folder", str(tmp_path / "maps")]) == 2
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert error.startswith(f"error: cannot download {address}/somebody/maps/master/folder/road%20net.json: ")
            assert reason in error
    assert not (tmp_path / "maps").exists()


def test_full_disk(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_space(path: Path, content: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(data, "SOURCE", source)
    monkeypatch.setattr(Path, "write_bytes", no_space)
    assert main(["fetch", "--source", "tiny", "--folder", str(tmp_path / "maps")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: cannot write {tmp_path / 'maps/tiny/roadnet.json.gz'}: No space left on device")
    assert error.count("\n") == 1
    assert not [path for path in (tmp_path / "maps").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["fetch", "--source", "jinan"],
            "no map 'jinan'; choose from hangzhou_16, manhattan_48, manhattan_96",
        ),
        (["fetch", "--source"], "expected at least one argument"),
        (["fetch", "--colour"], "--colour"),
        ([], "fetch"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_that_is_a_file(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "SOURCE", source)
    (tmp_path / "file").write_text("")
    assert main(["fetch", "--source", "tiny", "--folder", str(tmp_path / "file")]) == 2
    assert "error: cannot write" in capsys.readouterr().err


def test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, content in ((TINY.roadnet, ROADNET), (TINY.flow, FLOW)):
        put(tmp_path / "data", file, content)
    put(tmp_path / "data", DERIVED.flow, FLOW)
    put(tmp_path / "data", DERIVED.roadnet, b"other")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(MAPS)
    assert f"tiny: in {tmp_path / 'data' / 'tiny'}" in lines
    (damaged,) = (line for line in lines if "derived" in line)
    assert "is damaged" in damaged
    (missing,) = (line for line in lines if "hangzhou_16" in line)
    assert f"is not in {tmp_path / 'data'}: get it with python -m envs.traffic.data fetch" in missing


def test_command_line(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "SOURCE", source)
    assert main(["fetch", "--source", "tiny"]) == 0
    output = capsys.readouterr().out
    assert "no licence" in output
    assert "(c) OpenStreetMap contributors" in output
    assert find("tiny") == MapFiles(tmp_path / "data/tiny/roadnet.json.gz", tmp_path / "data/tiny/flow.json.gz")


def test_find(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentNotAvailableError, match=r"python -m envs\.traffic\.data fetch --source tiny"):
        find("tiny")
    folder = tmp_path / "data"
    put(folder, TINY.flow, FLOW)
    with pytest.raises(EnvironmentNotAvailableError, match=r"set IPB_DATA to the folder"):
        find("tiny")  # half a map is none
    put(folder, TINY.roadnet, ROADNET)
    assert find("tiny").flow == folder / TINY.flow.name
    with pytest.raises(ValueError, match="choose from hangzhou_16"):
        find("jinan")


def test_find_refuses_a_damaged_file(tmp_path: Path) -> None:
    put(tmp_path / "data", TINY.roadnet, ROADNET)
    damaged = put(tmp_path / "data", TINY.flow, b"[1]")
    with pytest.raises(EnvironmentNotAvailableError, match="damaged") as error:
        find("tiny")
    assert str(damaged) in str(error.value)
    put(tmp_path / "data", TINY.flow, FLOW)
    assert find("tiny").flow == damaged


def test_files_are_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, content in ((TINY.roadnet, ROADNET), (TINY.flow, FLOW)):
        put(tmp_path / "data", file, content)
    read: list[Path] = []
    monkeypatch.setattr(data, "_read", lambda path: (read.append(path), gzip.decompress(path.read_bytes()))[1])
    assert find("tiny") == find("tiny")
    assert len(read) == 2


def test_where_maps_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert data_folder() == tmp_path / "data"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv(EARLIER, str(tmp_path / "earlier"))
    assert data_folder() == tmp_path / "earlier"
    monkeypatch.delenv(EARLIER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "intention-propagation-benchmark" / "traffic"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".cache" / "intention-propagation-benchmark" / "traffic"


@needs_topology
def test_the_real_maps_are_the_expected_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(REAL_MAPS))
    for name in ("hangzhou_16", "manhattan_48", "manhattan_96"):
        assert find(name).roadnet.is_relative_to(REAL_MAPS)


@needs_topology
def test_derivation_of_the_irregular_map() -> None:
    topology = json.loads(gzip.decompress(TOPOLOGY.read_bytes()))
    roadnet, flow = derive(topology)
    city = MAPS["manhattan_96"]
    assert hashlib.sha256(encode(roadnet)).hexdigest() == city.roadnet.sha256
    assert hashlib.sha256(encode(flow)).hexdigest() == city.flow.sha256
    virtual = [intersection["virtual"] for intersection in roadnet["intersections"]]
    assert (virtual.count(False), virtual.count(True)) == (96, 39)


@needs_topology
def test_another_topology_is_refused() -> None:
    topology = json.loads(gzip.decompress(TOPOLOGY.read_bytes()))
    topology["static"]["nodes"].reverse()
    with pytest.raises(ValueError, match="not the topology"):
        derive(topology)
    with pytest.raises(ValueError, match="no window of 96"):
        derive({"static": {"nodes": topology["static"]["nodes"][:500], "edges": []}})


@pytest.mark.parametrize(
    ("lanes", "kinds", "expected"),
    [
        (1, "LSR", {"L": (0,), "S": (0,), "R": (0,)}),
        (2, "LSR", {"L": (0,), "S": (0, 1), "R": (1,)}),
        (3, "LSR", {"L": (0,), "S": (1,), "R": (2,)}),
        (5, "LSR", {"L": (0,), "S": (1, 2, 3), "R": (4,)}),
        (3, "LS", {"L": (0,), "S": (1, 2)}),
        (3, "SR", {"S": (0, 1), "R": (2,)}),
        (2, "LR", {"L": (0,), "R": (1,)}),
        (5, "LR", {"L": (0, 1), "R": (2, 3, 4)}),
        (4, "S", {"S": (0, 1, 2, 3)}),
        (3, "", {}),
    ],
)
def test_lanes_of_turns(lanes: int, kinds: str, expected: dict[str, tuple[int, ...]]) -> None:
    names = {"L": "turn_left", "S": "go_straight", "R": "turn_right"}
    use = shared_lanes(lanes, [names[kind] for kind in kinds])
    assert use == {names[kind]: places for kind, places in expected.items()}
