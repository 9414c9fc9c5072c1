"""What agents see, do and neighbour: by hand on grids, on a one-way street, and from the file of the irregular map."""

from __future__ import annotations

import copy
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.traffic.data import find
from envs.traffic.network import build_network
from envs.traffic.signals import MOVEMENTS, Signals, made_phases, signals_of
from envs.traffic.synthetic.grid import grid_roadnet
from envs.traffic.tasks import city_of, write_files
from tests.beside import needs_map
from tests.envs.traffic import crooked
from tests.envs.traffic.hand import city
from tests.envs.traffic.towns import flow, registered

MANHATTAN = "cityflow/manhattan_96"


def grid(rows: int, columns: int) -> Signals:
    return signals_of(build_network(grid_roadnet(rows, columns)))


def names(signals: Signals, rows: np.ndarray) -> list[list[str]]:
    return [[signals.network.lane_ids[lane] for lane in row if lane >= 0] for row in rows]


def heard(signals: Signals, agent: int) -> list[int]:
    assert not signals.neighbours[agent][~signals.mask[agent]].any()
    return [int(other) for other in signals.neighbours[agent][signals.mask[agent]]]


def one_way(phases: list[list[int]]) -> Any:
    """Two signals on an eastbound street of two lanes, three roads long; each lane goes straight on."""
    roads, intersections = [], []
    for i in range(4):
        node: dict[str, Any] = {"id": f"n{i}", "point": {"x": 200.0 * i, "y": 0.0}, "virtual": i in (0, 3)}
        node["roads"] = [f"r{k}" for k in (i - 1, i) if 0 <= k < 3]
        if not node["virtual"]:
            links = [
                {
                    "type": kind,
                    "startRoad": f"r{i - 1}",
                    "endRoad": f"r{i}",
                    "laneLinks": [{"startLaneIndex": lane, "endLaneIndex": lane}],
                }
                for lane, kind in enumerate(("go_straight", "u_turn"))
            ]
            lights = [{"time": 30, "availableRoadLinks": available} for available in phases]
            node |= {"width": 10.0, "roadLinks": links, "trafficLight": {"lightphases": lights}}
        intersections.append(node)
        if i < 3:
            points = [{"x": 200.0 * k, "y": 0.0} for k in (i, i + 1)]
            lanes = [{"width": 4.0, "maxSpeed": 10.0}] * 2
            roads.append(
                {"id": f"r{i}", "startIntersection": f"n{i}", "endIntersection": f"n{i + 1}"}
                | {"points": points, "lanes": lanes}
            )
    return {"intersections": intersections, "roads": roads}


def test_lanes_clockwise_from_the_north() -> None:
    """Agents are numbered as intersections in the file: from west to east, each column from south to north. The road
    from the north heads south (3), and so on; lanes from the innermost outwards."""
    signals = grid(2, 2)
    assert [signals.network.intersection_ids[i] for i in signals.agents] == [
        "intersection_1_1",
        "intersection_1_2",
        "intersection_2_1",
        "intersection_2_2",
    ]
    roads = ["road_1_2_3", "road_2_1_2", "road_1_0_1", "road_0_1_0"]
    assert names(signals, signals.lanes)[0] == [f"{road}_{lane}" for road in roads for lane in range(3)]
    roads = ["road_2_3_3", "road_3_2_2", "road_2_1_1", "road_1_2_0"]
    assert names(signals, signals.lanes)[3] == [f"{road}_{lane}" for road in roads for lane in range(3)]


def test_neighbours_clockwise_from_the_north() -> None:
    two, three = grid(2, 2), grid(3, 3)
    assert [heard(two, agent) for agent in range(4)] == [[1, 2], [3, 0], [3, 0], [2, 1]]
    expected = {0: [1, 3], 1: [2, 4, 0], 2: [5, 1], 3: [4, 6, 0], 4: [5, 7, 3, 1], 8: [7, 5]}
    assert three.neighbours.shape == (9, 4)
    for agent, others in expected.items():
        assert heard(three, agent) == others


def test_a_single_signal_has_no_neighbours() -> None:
    signals = grid(1, 1)
    assert signals.neighbours.shape == signals.mask.shape == (1, 1)
    assert not signals.mask.any()


def test_one_way_street() -> None:
    """Intersections are neighbours in both directions of a one-way road; only their western sides exist."""
    signals = signals_of(build_network(one_way([[], [0], [0, 1]])))
    assert [heard(signals, agent) for agent in range(2)] == [[1], [0]]
    assert names(signals, signals.lanes) == [["r0_0", "r0_1"], ["r1_0", "r1_1"]]
    assert signals.num_actions == 2
    assert signals.link_movement.tolist() == [MOVEMENTS.index("east_straight"), -1] * 2, "a turn of unknown kind"
    assert signals.phases(np.array([[0, 1]])).tolist() == [[1, 2]]


def test_what_actions_open() -> None:
    signals = grid(1, 1)
    assert signals.action_mask.all()
    straight, left = (
        {h: MOVEMENTS.index(f"{h}_{turn}") for h in ("east", "north", "west", "south")} for turn in ("straight", "left")
    )
    expected = [
        {straight["east"], straight["west"]},
        {straight["north"], straight["south"]},
        {left["east"], left["west"]},
        {left["north"], left["south"]},
        *({straight[h], left[h]} for h in ("east", "west", "north", "south")),
    ]
    for shares, opened in zip(signals.greens[0], expected, strict=True):
        assert set(np.flatnonzero(shares).tolist()) == opened
        assert set(shares[shares > 0].tolist()) == {0.5}


def test_phases_that_open_nothing_are_no_actions() -> None:
    roadnet = copy.deepcopy(grid_roadnet(1, 2))
    first, second = (node for node in roadnet["intersections"] if not node["virtual"])
    phases = first["trafficLight"]["lightphases"]
    phases[3] = {**phases[3], "availableRoadLinks": phases[0]["availableRoadLinks"]}
    phases[5] = {**phases[5], "availableRoadLinks": []}
    del second["trafficLight"]["lightphases"][6:]
    signals = signals_of(build_network(roadnet))
    assert signals.num_actions == 8
    assert signals.action_mask.tolist() == [
        [True, True, False, True, False, True, True, True],
        [True] * 5 + [False] * 3,
    ]
    assert not signals.greens[0, [2, 4]].any()
    assert not signals.greens[1, 5:].any()
    assert np.allclose(signals.greens.sum(-1), signals.action_mask)


def lights(roadnet: Any) -> list[list[Any]]:
    """The phases of every intersection that has some."""
    return [node["trafficLight"]["lightphases"] for node in roadnet["intersections"] if not node["virtual"]]


def test_yellow_is_not_always_the_first_phase() -> None:
    """At the end, in the middle, or with another phase that opens nothing: the actions are the other phases in
    order."""
    usual = grid(1, 1)
    for place in (8, 3):
        roadnet = copy.deepcopy(grid_roadnet(1, 1))
        (phases,) = lights(roadnet)
        phases.insert(place, phases.pop(0))
        signals = signals_of(build_network(roadnet))
        assert signals.yellow.tolist() == [place]
        assert not signals.made.any()
        assert signals.action_phases.tolist() == [[i + (i >= place) for i in range(8)]]
        assert signals.action_mask.all()
        assert np.array_equal(signals.greens, usual.greens)
    (phases,) = lights(roadnet)
    phases.insert(0, {"time": 3, "availableRoadLinks": []})
    signals = signals_of(build_network(roadnet))
    assert signals.yellow.tolist() == [4], "of two, the one that opens right turns"
    assert signals.action_mask.tolist() == [[False] + [True] * 8]


def test_yellow_is_made_where_there_is_none(tmp_path: Path) -> None:
    """It opens the right turns that all phases open; everything else is as in a file that has it."""
    roadnet = copy.deepcopy(grid_roadnet(1, 2))
    yellow = lights(roadnet)[0].pop(0)
    usual, signals = grid(1, 2), signals_of(build_network(roadnet))
    assert signals.made.tolist() == [True, False]
    assert signals.yellow.tolist() == [8, 0]
    assert signals.action_phases.tolist() == [[*range(8)], [*range(1, 9)]]
    assert signals.action_mask.all()
    assert np.array_equal(signals.greens, usual.greens)
    name = signals.network.intersection_ids[signals.agents[0]]
    assert made_phases(signals) == {name: {"time": 5.0, "availableRoadLinks": sorted(yellow["availableRoadLinks"])}}
    for agent in range(2):
        for links in (signals, usual):
            assert links.network.num_phases(int(links.agents[agent])) == 9
    for link, (intersection, light) in enumerate(
        zip(usual.network.arrays.link_intersection, usual.network.arrays.link_light, strict=True)
    ):
        stride, made = usual.network.arrays.light_stride[intersection], signals.network.arrays
        for phase in range(9):
            changed = (phase - 1) % 9 if intersection == usual.agents[0] else phase
            assert (
                made.open[made.link_light[link] + changed * stride]
                == (usual.network.arrays.open[light + phase * stride])
            )
    flows = [flow(("road_0_1_0", "road_1_1_0", "road_2_1_0")), flow(("road_1_0_1", "road_1_1_0"), interval=3.0)]
    episodes = []
    for task_name, document in (("made_2", roadnet), ("usual_2", grid_roadnet(1, 2))):
        with registered(task_name, document, flows, tmp_path) as task:
            environment = city(task)
            steps = [environment.reset(0)]
            for decision in range(20):
                actions = torch.tensor([[decision // 2 % 8, decision * 3 % 8]])
                steps.append(environment.step(actions))
            episodes.append([(step.observation.tolist(), step.reward.tolist()) for step in steps])
            write_files(task, tmp_path)
            written = json.loads((tmp_path / "roadnet.json").read_text())
            assert [len(phases) for phases in lights(written)] == [9, 9]
    assert episodes[0] == episodes[1]


def test_a_right_turn_of_its_own_is_a_green() -> None:
    """Where no other phase opens it, it is no yellow phase; nor is a green that opens less than another."""
    roadnet = copy.deepcopy(grid_roadnet(1, 1))
    (node,) = (node for node in roadnet["intersections"] if not node["virtual"])
    kinds = [link["type"] for link in node["roadLinks"]]
    right, straight = kinds.index("turn_right"), kinds.index("go_straight")
    node["trafficLight"]["lightphases"] = [
        {"time": 30, "availableRoadLinks": [straight]},
        {"time": 30, "availableRoadLinks": [right]},
    ]
    signals = signals_of(build_network(roadnet))
    assert signals.action_mask.tolist() == [[True, True]]
    node["trafficLight"]["lightphases"][1]["availableRoadLinks"] = [straight, kinds.index("turn_left")]
    assert signals_of(build_network(roadnet)).action_mask.tolist() == [[True, True]]
    node["trafficLight"]["lightphases"][0]["availableRoadLinks"] = [right]
    node["trafficLight"]["lightphases"][1]["availableRoadLinks"] = [straight, right]
    signals = signals_of(build_network(roadnet))
    assert signals.yellow.tolist() == [0]
    assert signals.action_mask.tolist() == [[True]], "one action"


def test_every_agent_has_an_action() -> None:
    """Where phases open parts of what another right turn phase opens, and where road links have no lanes."""
    roadnet = copy.deepcopy(grid_roadnet(1, 2))
    first, second = (node for node in roadnet["intersections"] if not node["virtual"])
    rights = [i for i, link in enumerate(first["roadLinks"]) if link["type"] == "turn_right"]
    first["trafficLight"]["lightphases"] = [
        {"time": 30, "availableRoadLinks": links} for links in (rights[:2], rights[:1], rights[1:2])
    ]
    signals = signals_of(build_network(roadnet))
    assert signals.action_mask[0].tolist() == [True] * 3 + [False] * 5
    for link in first["roadLinks"]:
        link["laneLinks"] = []
    signals = signals_of(build_network(roadnet))
    assert [signals.network.intersection_ids[agent] for agent in signals.agents] == [second["id"]]


def test_phases_that_are_all_the_same_are_no_signals() -> None:
    roadnet = copy.deepcopy(grid_roadnet(1, 2))
    first, _ = lights(roadnet)
    first[1:] = [first[1]] * 3
    first[0] = first[1]
    signals = signals_of(build_network(roadnet))
    assert [signals.network.intersection_ids[agent] for agent in signals.agents] == ["intersection_2_1"]


@pytest.mark.parametrize("kind", ["one phase", "virtual"])
def test_neighbours_are_seen_through_nodes_without_lights(kind: str) -> None:
    roadnet = copy.deepcopy(grid_roadnet(1, 4))
    for node in roadnet["intersections"]:
        if node["id"] in ("intersection_2_1", "intersection_3_1"):
            if kind == "virtual":
                node["virtual"] = True
            else:
                links = list(range(len(node["roadLinks"])))
                node["trafficLight"]["lightphases"] = [{"time": 30, "availableRoadLinks": links}]
    signals = signals_of(build_network(roadnet))
    assert [heard(signals, agent) for agent in range(2)] == [[1], [0]]


def test_incoming_roads_that_an_intersection_does_not_list() -> None:
    roadnet = copy.deepcopy(grid_roadnet(1, 1))
    (node,) = (node for node in roadnet["intersections"] if not node["virtual"])
    node["roads"].remove("road_0_1_0")
    signals, usual = signals_of(build_network(roadnet)), grid(1, 1)
    assert signals.lanes.tolist() == usual.lanes.tolist()


def test_a_network_without_signals_is_refused() -> None:
    with pytest.raises(ValueError, match="no intersection has two phases or more"):
        signals_of(build_network(one_way([[0, 1]])))


@pytest.mark.parametrize(
    ("task", "degrees", "actions"),
    [
        (crooked.TASK, {2, 3, 4, 5}, {4, 6, 7, 8}),
        # at the border, roads to virtual intersections
        pytest.param(MANHATTAN, {1, 2, 3, 4}, {2, 4, 5, 6, 7, 8}, marks=needs_map(MANHATTAN)),
    ],
)
def test_irregular_map(task: str, degrees: set[int], actions: set[int]) -> None:
    """Lanes, neighbours and masks derived independently from the JSON file."""
    signals = city_of(task).signals
    roadnet = json.loads(gzip.decompress(find(task.removeprefix("cityflow/")).roadnet.read_bytes()))
    agents = [node for node in roadnet["intersections"] if not node["virtual"]]
    number = {agent["id"]: i for i, agent in enumerate(agents)}
    roads = {road["id"]: road for road in roadnet["roads"]}
    assert len(agents) == len(signals.agents) == int(task.rpartition("_")[2])
    assert [signals.network.intersection_ids[i] for i in signals.agents] == list(number)
    together: list[set[int]] = [set() for _ in agents]
    for road in roads.values():
        ends = [number.get(road[f"{end}Intersection"]) for end in ("start", "end")]
        if None not in ends and ends[0] != ends[1]:
            together[ends[0]].add(ends[1])  # type: ignore[index,arg-type]
            together[ends[1]].add(ends[0])  # type: ignore[index,arg-type]
    assert [set(heard(signals, agent)) for agent in range(len(agents))] == together
    assert {len(others) for others in together} == degrees
    for agent, (node, lanes) in enumerate(zip(agents, names(signals, signals.lanes), strict=True)):
        incoming = [roads[name] for name in node["roads"] if roads[name]["endIntersection"] == node["id"]]
        assert set(lanes) == {f"{road['id']}_{i}" for road in incoming for i in range(len(road["lanes"]))}
        assert len(lanes) == len(set(lanes))
        phases = [set(phase["availableRoadLinks"]) for phase in node["trafficLight"]["lightphases"]]
        opens = [bool(phase - phases[0]) for phase in phases[1:]]
        assert signals.action_mask[agent].tolist() == opens + [False] * (8 - len(opens))
        angles = [math.atan2(*direction(node, agents[other])) % (2 * math.pi) for other in heard(signals, agent)]
        assert angles == sorted(angles)
    assert set(signals.action_mask.sum(1)) == actions


def direction(start: Any, end: Any) -> tuple[float, float]:
    """(x, y) from one intersection of a file to another."""
    return end["point"]["x"] - start["point"]["x"], end["point"]["y"] - start["point"]["y"]


@pytest.mark.parametrize("task", [crooked.TASK, pytest.param(MANHATTAN, marks=needs_map(MANHATTAN))])
def test_sides_of_an_irregular_map(task: str) -> None:
    """A column of the observation means the same side everywhere: where a lane stands, its road heads that way."""
    signals = city_of(task).signals
    network = signals.network
    columns: list[set[int]] = []
    for column in signals.lanes.T:
        found = set()
        for lane in column[column >= 0]:
            line = network.road_points[network.arrays.lane_road[lane]]
            x, y = line[-1] - line[-2]
            found.add(round(math.atan2(y, x) / (math.pi / 2)) % 4)
        columns.append(found)
    assert all(len(found) == 1 for found in columns)
    order = [found.pop() for found in columns]
    assert order == sorted(order, reverse=True), "south, west, north, east: arriving from the north, the east, ..."
