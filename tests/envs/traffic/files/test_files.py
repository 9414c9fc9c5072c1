"""Files are read, and whatever is wrong with one is said in its terms."""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import TrafficFileError
from envs.traffic.files import MOST_WARNINGS, EngineConfig, IgnoredValueWarning, read_config, read_json_file
from envs.traffic.network import Network, build_network, load_network
from envs.traffic.network.routes import build_flows

MERGE = Path(__file__).parents[1] / "data" / "straight_merge"
CONFIG = {
    "interval": 1.0,
    "seed": 3,
    "dir": "maps/",
    "roadnetFile": "roadnet.json",
    "flowFile": "flow.json",
    "rlTrafficLight": True,
    "laneChange": False,
    "saveReplay": False,
    "roadnetLogFile": "static.json",
    "replayLogFile": "replay.txt",
}


def roadnet() -> dict[str, Any]:
    """Two roads of three lanes in a line, with an intersection between them."""
    document: dict[str, Any] = read_json_file(MERGE / "roadnet.json.gz")
    return document


def flows() -> list[dict[str, Any]]:
    document: list[dict[str, Any]] = read_json_file(MERGE / "flow.json.gz")
    return document


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_config(tmp_path: Path) -> None:
    config = read_config(write(tmp_path / "config.json", CONFIG))
    assert config == EngineConfig(
        1.0, 3, "maps/", "roadnet.json", "flow.json", True, False, False, "static.json", "replay.txt"
    )
    assert config.path(config.flow_file) == Path("maps/flow.json")


def test_what_a_config_may_leave_out(tmp_path: Path) -> None:
    given = {key: value for key, value in CONFIG.items() if key not in ("laneChange", "roadnetLogFile")}
    config = read_config(write(tmp_path / "config.json", {**given, "replayLogFile": 7, "unknown": []}))
    assert (config.lane_change, config.roadnet_log_file, config.replay_log_file) == (False, "", "")
    with pytest.warns(IgnoredValueWarning, match="'laneChange' is 1, expected true or false; .* and false taken"):
        assert read_config(write(tmp_path / "config.json", {**CONFIG, "laneChange": 1})).lane_change is False
    assert read_config(write(tmp_path / "config.json", {**CONFIG, "laneChange": True})).lane_change is True


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("interval", None, "'interval' is missing; expected a finite number > 0"),
        ("interval", "1", "'interval' is '1'; expected a finite number > 0"),
        ("interval", 0, "'interval' is 0; expected a finite number > 0"),
        ("interval", True, "'interval' is True"),
        ("seed", 1.0, "'seed' is 1.0; expected an integer from -2147483648 to 2147483647"),
        ("seed", 2**31, "'seed' is 2147483648"),
        ("dir", 3, "'dir' is 3; expected a string"),
        ("flowFile", None, "'flowFile' is missing"),
        ("rlTrafficLight", "true", "'rlTrafficLight' is 'true'; expected true or false"),
        ("saveReplay", None, "'saveReplay' is missing"),
    ],
)
def test_wrong_configs(tmp_path: Path, key: str, value: object, complaint: str) -> None:
    given = {**CONFIG, key: value} if value is not None else {k: v for k, v in CONFIG.items() if k != key}
    path = write(tmp_path / "config.json", given)
    with pytest.raises(TrafficFileError, match=complaint) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_a_replay_needs_files(tmp_path: Path) -> None:
    given = {**CONFIG, "saveReplay": True, "replayLogFile": None}
    with pytest.raises(TrafficFileError, match="'replayLogFile' is None; expected a string"):
        read_config(write(tmp_path / "config.json", given))


def test_plain_and_compressed_files(tmp_path: Path) -> None:
    text = json.dumps(roadnet()).encode()
    (tmp_path / "a.json").write_bytes(text)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text))
    plain, compressed = load_network(tmp_path / "a.json"), load_network(str(tmp_path / "a.json.gz"))
    assert all(np.array_equal(a, b) for a, b in zip(plain.arrays, compressed.arrays, strict=True))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b'{"a": 1,\n "b" 2}', r"not JSON: Expecting ':' delimiter \(line 2, column 6\)"),
        (b"[1e999]", "not JSON: the number 1e999 is too large"),
        (b"\x80\x00", "not JSON: .*decode"),
        (gzip.compress(b"[1, 2, 3]" * 50, mtime=0)[:-12], "cannot be read"),
        (b"\x1f\x8b rubbish", "cannot be read"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(TrafficFileError, match=complaint) as caught:
        read_json_file(path)
    assert str(path) in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(TrafficFileError, match=r"^[^:]*nothing\.json: there is no such file$"):
        load_network(tmp_path / "nothing.json")
    with pytest.raises(TrafficFileError, match="cannot be read"):
        read_json_file(tmp_path)
    with pytest.raises(TrafficFileError, match="cannot be read"):
        read_json_file("a\0b")


def test_network_of_a_small_file() -> None:
    network = build_network(roadnet())
    assert network.road_ids == ("in", "out")
    assert network.intersection_ids == ("a", "b", "c")
    assert network.lane_ids == ("in_0", "in_1", "in_2", "out_0", "out_1", "out_2")
    assert network.link_ids[:4] == ("in_0_TO_out_0", "in_0_TO_out_1", "in_0_TO_out_2", "in_1_TO_out_0")
    assert network.drivable_ids == network.lane_ids + network.link_ids
    assert network.lane_index["out_1"] == 4
    assert network.virtual.tolist() == [True, False, True]
    assert network.widths.tolist() == [0, 12, 0]
    assert network.points.tolist() == [[-250, 0], [0, 0], [150, 0]]
    assert [network.num_phases(i) for i in range(3)] == [0, 2, 0]
    assert network.road_points[1].tolist() == [[0, 0], [150, 0]]
    assert network.drivable_points[4].tolist() == [[12, -5.25], [150, -5.25]]
    assert network.road_link_starts.tolist() == [0, 0, 1, 1]
    assert (network.road_link_from.tolist(), network.road_link_to.tolist()) == ([0], [1])
    arrays = network.arrays
    assert arrays.road_cost.tolist() == [238, 138]
    assert arrays.leaving[arrays.leaving_starts[1] : arrays.leaving_starts[2]].tolist() == [3, 4, 5]
    assert arrays.link_rank.tolist() == [3] * 9
    assert arrays.phase_time.tolist() == [20, 15]
    assert arrays.max_speed.tolist() == [11.111] * 6 + [10000] * 9
    assert len(arrays.adjacent) == 4
    assert arrays.lane_index.tolist() == [0, 1, 2, 0, 1, 2]


def test_which_links_are_open_in_which_phase() -> None:
    network = load_network(MERGE.with_name("cross_fixed_signal") / "roadnet.json.gz")
    document = read_json_file(MERGE.with_name("cross_fixed_signal") / "roadnet.json.gz")
    arrays = network.arrays
    checked = 0
    link = 0
    for number, intersection in enumerate(document["intersections"]):
        if intersection["virtual"]:
            continue
        for position, road_link in enumerate(intersection["roadLinks"]):
            for _ in road_link["laneLinks"]:
                for phase, light in enumerate(intersection["trafficLight"]["lightphases"]):
                    given = arrays.open[arrays.link_light[link] + phase * arrays.light_stride[number]]
                    assert given == (position in light["availableRoadLinks"])
                    checked += 1
                link += 1
    assert link == len(network.link_ids)
    assert checked > 50


def test_an_empty_network() -> None:
    network = build_network({"roads": [], "intersections": []})
    assert network.drivable_ids == ()
    assert build_flows([], network).arrays.kind.shape == (0,)


def crossing(document: Any) -> Any:
    return document["intersections"][1]


def road_link(document: Any) -> Any:
    return crossing(document)["roadLinks"][0]


def put(where: Callable[[Any], Any], *keys_and_value: Any) -> Callable[[Any], None]:
    """A change that sets a value under some keys, one inside the other."""
    *keys, last, value = keys_and_value

    def change(document: Any) -> None:
        target = where(document)
        for key in keys:
            target = target[key]
        target[last] = value

    return change


def remove(where: Callable[[Any], Any], *keys: Any) -> Callable[[Any], None]:
    """A change that takes a key out."""

    def change(document: Any) -> None:
        target = where(document)
        for key in keys[:-1]:
            target = target[key]
        del target[keys[-1]]

    return change


def road(document: Any) -> Any:
    return document["roads"][0]


def itself(document: Any) -> Any:
    return document


def turn_back_within_the_cut(document: Any) -> None:
    """The road out turns back after 5 m, which are cut off: its lanes are fine, but not the curves between lanes."""
    document["roads"][1]["points"] = [{"x": x, "y": 0} for x in (0, 5, -150)]
    for link in road_link(document)["laneLinks"]:
        del link["points"]


WRONG_ROADNETS: list[tuple[Callable[[Any], None], str]] = [
    (remove(itself, "roads"), "net: 'roads' is missing; expected a list of roads"),
    (put(itself, "intersections", {}), "net: 'intersections' is {}; expected a list"),
    (put(itself, "roads", 0, 5), "net: road 0 is 5; expected an object"),
    (put(itself, "roads", 1, "id", "in"), "net: road 1: 'id' is 'in' again"),
    (put(itself, "intersections", 2, "id", "a"), "net: intersection 2: 'id' is 'a' again"),
    (put(road, "id", 4), "net: road 0: 'id' is 4; expected a string"),
    (put(road, "startIntersection", "z"), "net: road 'in': 'startIntersection' is 'z'; expected the id"),
    (remove(road, "endIntersection"), "net: road 'in': 'endIntersection' is missing"),
    (put(road, "points", [{"x": 0, "y": 0}]), "net: road 'in': 'points' is .*; expected a list of at least two"),
    (put(road, "points", 1, "x", "1"), "net: road 'in': point 1 of 'points': 'x' is '1'"),
    (put(road, "points", 1, "x", math.nan), "net: road 'in': point 1 of 'points': 'x' is nan"),
    (put(road, "points", 1, "y", 1e10), "point 1 of 'points': 'y' is 1e10|10000000000.0; expected a finite number >= "),
    (remove(road, "points", 0, "y"), "net: road 'in': point 0 of 'points': 'y' is missing"),
    (put(road, "points", 1, [0, 0]), r"net: road 'in': point 1 of 'points' is \[0, 0\]; expected an object"),
    (put(road, "points", 1, {"x": -250, "y": 0.0}), "net: road 'in': 'points' is .*; expected no point twice in a row"),
    (put(road, "points", 1, {"x": -238, "y": 0.0}), "net: road 'in': lane 0 has length nan .*not exactly the length"),
    (put(road, "points", [{"x": x, "y": 0} for x in (-250, 0, -100)]), "net: road 'in': lane 0 has length nan"),
    (turn_back_within_the_cut, "net: lane link in_0_TO_out_0 has length nan m"),
    (put(road, "lanes", {}), "net: road 'in': 'lanes' is {}; expected a list of lanes"),
    (put(road, "lanes", 1, "width", -1), "net: road 'in': lane 1: 'width' is -1; expected a finite number >= 0"),
    (put(road, "lanes", 2, "maxSpeed", -1.0), "net: road 'in': lane 2: 'maxSpeed' is -1.0"),
    (put(road, "lanes", 2, "maxSpeed", 10**400), "lane 2: 'maxSpeed' is 1000.*; expected a finite number >= 0"),
    (remove(crossing, "point"), "net: intersection 'b': 'point' is None; expected an object"),
    (put(crossing, "point", "x", None), "net: intersection 'b': 'point': 'x' is None"),
    (remove(crossing, "virtual"), "net: intersection 'b': 'virtual' is missing; expected true or false"),
    (put(crossing, "roads", 1, "z"), "net: intersection 'b': entry 1 of 'roads' is 'z'"),
    (put(crossing, "roads", 1, []), r"net: intersection 'b': entry 1 of 'roads' is \[\]"),
    (put(crossing, "width", -1), "net: intersection 'b': 'width' is -1; expected a finite number >= 0"),
    (put(crossing, "roadLinks", None), "net: intersection 'b': 'roadLinks' is None"),
    (put(road_link, "type", 3), "net: intersection 'b': road link 0: 'type' is 3; expected a string"),
    (put(road_link, "startRoad", "z"), "road link 0: 'startRoad' is 'z'; expected the id of a road"),
    (put(road_link, "startRoad", "out"), "road link 0: 'startRoad' is 'out'; expected a road that ends at"),
    (put(road_link, "endRoad", "in"), "road link 0: 'endRoad' is 'in'; expected a road that starts at"),
    (put(road_link, "laneLinks", 1, "startLaneIndex", 3), "road link 0: lane link 1: 'startLaneIndex' is 3; .*0 to 2"),
    (put(road_link, "laneLinks", 1, "endLaneIndex", -1), "lane link 1: 'endLaneIndex' is -1"),
    (put(road_link, "laneLinks", 1, "endLaneIndex", True), "lane link 1: 'endLaneIndex' is True"),
    (put(road_link, "laneLinks", 1, "points", 2, "x", []), "lane link 1: point 2 of 'points': 'x' is"),
    (put(road_link, "laneLinks", 1, "points", 2, "x", math.nan), "lane link 1: point 2 of 'points': 'x' is nan"),
    (put(road_link, "laneLinks", 1, "points", "somewhere"), "lane link 1: 'points' is 'somewhere'; expected a list of"),
    (remove(crossing, "trafficLight"), "net: intersection 'b': 'trafficLight' is None; expected an object"),
    (put(crossing, "trafficLight", "lightphases", []), "'lightphases' is .*; expected a list of at least one phase"),
    (put(crossing, "trafficLight", "lightphases", 1, "time", -1), "intersection 'b': phase 1: 'time' is -1"),
    (
        put(crossing, "trafficLight", "lightphases", 0, "availableRoadLinks", [0, 1]),
        "phase 0: entry 1 of 'availableRoadLinks' is 1; expected indices of the intersection's 1 road links",
    ),
    (
        put(crossing, "trafficLight", "lightphases", 1, "availableRoadLinks", [0] * 20 + [-3]),
        "phase 1: entry 20 of 'availableRoadLinks' is -3; expected indices",
    ),
    (put(itself, "static", {"nodes": []}), "net: this is the log of a road network that the viewer of replays reads"),
]


@pytest.mark.parametrize(("change", "complaint"), WRONG_ROADNETS)
def test_wrong_roadnets(change: Callable[[Any], None], complaint: str) -> None:
    document = roadnet()
    change(document)
    with pytest.raises(TrafficFileError, match=complaint):
        build_network(document, "net")


def test_what_is_not_read_is_not_checked() -> None:
    document = roadnet()
    virtual = document["intersections"][0]
    virtual.update(width="wide", roadLinks=7, trafficLight=None, unknown=[])
    road_link(document)["direction"] = "north"
    road_link(document)["type"] = "turn_around"
    crossing(document)["trafficLight"]["roadLinkIndices"] = "none"
    for link in road_link(document)["laneLinks"]:
        link["points"] = []
    network = build_network(document)
    assert network.road_link_rank.tolist() == [0]
    assert len(network.drivable_points[-1]) == 11


WRONG_FLOWS: list[tuple[Callable[[Any], None], str]] = [
    (put(itself, 0, 3), "flows: flow 0 is 3; expected an object"),
    (remove(itself, 0, "interval"), "flows: flow 0: 'interval' is missing"),
    (put(itself, 0, "interval", 0.5), "flow 0: 'interval' is 0.5; expected at least 1 second unless startTime equals"),
    (put(itself, 0, {**flows()[0], "interval": 0.5, "startTime": -1, "endTime": -1}), "'interval' is 0.5"),
    (put(itself, 0, {**flows()[0], "interval": 0, "startTime": 5, "endTime": 5}), "'interval' is 0; expected .* > 0"),
    (put(itself, 0, "route", []), r"flow 0: 'route' is \[\]; expected a list of at least one road id"),
    (put(itself, 0, "route", "in"), "flow 0: 'route' is 'in'; expected a list"),
    (put(itself, 0, "route", ["in", "gone"]), "flow 0: 'route' is .*; expected ids of roads .*, which 'gone' is not"),
    (put(itself, 0, "route", ["in", []]), r"which \[\] is not"),
    (put(itself, 0, "route", ["in", 1]), "which 1 is not"),
    (remove(itself, 0, "vehicle"), "flow 0: 'vehicle' is None; expected an object"),
    (remove(itself, 0, "vehicle", "minGap"), "flow 0: 'vehicle': 'minGap' is missing; expected a finite number >= 0"),
    (put(itself, 0, "vehicle", "maxNegAcc", 0), "flow 0: 'vehicle': 'maxNegAcc' is 0; expected a finite number > 0"),
    (put(itself, 0, "vehicle", "length", []), "flow 0: 'vehicle': 'length' is"),
    (put(itself, 0, "vehicle", "length", True), "flow 0: 'vehicle': 'length' is True"),
]


@pytest.mark.parametrize(("change", "complaint"), WRONG_FLOWS)
def test_wrong_flows(change: Callable[[Any], None], complaint: str) -> None:
    document = flows()
    change(document)
    with pytest.raises(TrafficFileError, match=complaint):
        build_flows(document, build_network(roadnet()), "flows")


def test_flows_are_a_list() -> None:
    with pytest.raises(TrafficFileError, match="flow: expected a list of flows, not dict"):
        build_flows({}, build_network(roadnet()))


def test_times_that_are_ignored_are_told() -> None:
    """The first ones by flow and key, then how many more."""
    document = [{**flows()[0], "startTime": "30", "endTime": 30.0} for _ in range(9)]
    with pytest.warns(IgnoredValueWarning) as told:
        arrays = build_flows(document, build_network(roadnet()), "flows").arrays
    assert set(arrays.start.tolist()) == {0}
    assert set(arrays.end.tolist()) == {-1}
    messages = [str(warning.message) for warning in told]
    assert messages[0].startswith("flows: flow 0: 'startTime' is '30', expected a whole number")
    assert messages[3].startswith("flows: flow 1: 'endTime' is 30.0, expected a whole number")
    assert messages[MOST_WARNINGS:] == ["8 more values are ignored like these"]


def test_files_that_are_others() -> None:
    with pytest.raises(TrafficFileError, match=r"flow: this is a road network \(.*\); expected a list of flows"):
        build_flows(roadnet(), build_network(roadnet()))
    others: dict[str, Any] = {"a list of flows": flows(), "a configuration": CONFIG, "a snapshot": {"drivables": {}}}
    for kind, document in others.items():
        with pytest.raises(TrafficFileError, match=f"roadnet: this is {kind}.*; expected a road network"):
            build_network(document)


def test_what_cityflow_runs_is_read() -> None:
    """Lanes without speed or width, roads without lanes, links of one point, links given twice."""
    document = roadnet()
    document["roads"][0]["lanes"][2].update(width=0, maxSpeed=0)
    document["roads"].append({**document["roads"][1], "id": "bare", "lanes": []})
    links = road_link(document)["laneLinks"]
    links[0]["points"] = [{"x": 0, "y": 0}]
    links.append(links[2])
    network = build_network(document)
    assert network.link_ids.count("in_0_TO_out_2") == 2
    assert network.arrays.length[network.drivable_ids.index("in_0_TO_out_0")] == 0.0
    assert network.arrays.road_cost[2] == 0.0
    assert len(set(network.drivable_keys)) == len(network.drivable_keys) > len(set(network.drivable_ids))


NETWORK: Network = build_network(roadnet())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["in", "out", "a", "b", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "y", "id", "points", "time"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys that lead to every value inside a document."""
    keys = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    inside = [place for key in keys for place in places(document[key], (*path, key))]
    return [*inside, path] if path else inside


def mutated(document: Any, data: st.DataObject) -> Any:
    """A copy with up to three values replaced by anything, or taken out."""
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        known = places(document)
        if not known:
            break
        *path, last = data.draw(st.sampled_from(known))
        target = document
        for key in path:
            target = target[key]
        if data.draw(st.booleans()):
            target[last] = data.draw(ANYTHING)
        else:
            del target[last]
    return document


@settings(max_examples=300)
@given(st.data())
def test_mutated_roadnets_give_no_other_error(data: st.DataObject) -> None:
    document = mutated(roadnet(), data)
    try:
        network = build_network(document)
    except TrafficFileError:
        return
    assert np.isfinite(network.arrays.length).all()


@pytest.mark.filterwarnings("ignore::envs.traffic.files.IgnoredValueWarning")
@settings(max_examples=300)
@given(st.data())
def test_mutated_flows_give_no_other_error(data: st.DataObject) -> None:
    document = mutated(flows(), data)
    try:
        arrays = build_flows(document, NETWORK).arrays
    except TrafficFileError:
        return
    assert len(arrays.route) == len(document)


@pytest.mark.filterwarnings("ignore::envs.traffic.files.IgnoredValueWarning")
@settings(max_examples=100)
@given(st.data())
def test_mutated_configs_give_no_other_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("configs") / "config.json"
    path.write_text(json.dumps(mutated(CONFIG, data)))
    with contextlib.suppress(TrafficFileError):
        read_config(path)
