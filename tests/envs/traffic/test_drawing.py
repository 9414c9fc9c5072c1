"""Frames show how full roads are, where vehicles drive and which way the signals are open."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

import envs
from envs.canvas import NEUTRALS, PAGE, SUPERSAMPLING, WHITE, Colour, margin
from envs.drawing import draw
from envs.traffic.cityflow.roster import Roster
from envs.traffic.drawing import (
    NEIGHBOUR_COLOUR,
    OPEN_COLOUR,
    PALETTE,
    PLAZA_COLOUR,
    QUEUE_COLOURS,
    caption,
    draw_traffic,
    driving_slots,
    queue_levels,
    queue_shares,
    vehicle_points,
)
from envs.traffic.engine.inspection import pool
from envs.traffic.engine.simulation import Simulation
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.original import OriginalSimulation
from envs.traffic.streets import MEDIAN, streets_of
from envs.traffic.synthetic.grid import grid_roadnet
from tests.beside import needs_map
from tests.envs.traffic import crooked
from tests.envs.traffic.hand import city
from tests.envs.traffic.towns import flow, registered

SIZE = 480
STRAIGHT_EAST_WEST, STRAIGHT_NORTH_SOUTH = 0, 1
IRREGULAR = [
    crooked.TASK,
    *(pytest.param(task, marks=needs_map(task)) for task in ("cityflow/hangzhou_16", "cityflow/manhattan_96")),
]


def make(task: str, num_envs: int = 1) -> TrafficEnvironment:
    environment = envs.make(task, num_envs)
    assert isinstance(environment, TrafficEnvironment)
    environment.reset(seed=0)
    return environment


def hold(environment: TrafficEnvironment, action: int, decisions: int) -> None:
    """Show the same everywhere for some time."""
    for _ in range(decisions):
        environment.step(torch.full((environment.num_envs, environment.spec.num_agents), action))


def fill(environment: TrafficEnvironment, standing: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so many vehicles stand on some lanes, and none on the others."""
    network = environment.city.network
    counts = np.zeros(len(network.lane_ids), dtype=np.int32)
    for lane, count in standing.items():
        counts[network.lane_index[lane]] = count
    monkeypatch.setattr(environment.batch.simulations[0], "lane_waiting", lambda: counts)


def pixel(environment: TrafficEnvironment, frame: np.ndarray, lane: str, along: float = 0.5) -> Colour:
    """The colour in the middle of a lane of a road with two points, at a share of its length."""
    network, size = environment.city.network, len(frame)
    streets, number = streets_of(environment.signals, size), network.lane_index[lane]
    start, end = streets.view.pixels(network.road_points[network.arrays.lane_road[number]])
    x, y = (end - start) / np.hypot(*(end - start))
    aside = MEDIAN / 2 * size / SIZE + (network.arrays.lane_index[number] + 0.5) * streets.lane_width
    column, row = start + along * (end - start) + aside * np.array((-y, x))  # to the right; rows grow downwards
    red, green, blue = frame[int(row), int(column)].tolist()
    return red, green, blue


def has(frame: np.ndarray, colour: Colour) -> bool:
    """Whether the colour is somewhere in the white square."""
    border = int(margin(len(frame)))
    return bool((frame[border:-border, border:-border] == colour).all(-1).any())


@pytest.mark.parametrize(
    "task", ["cityflow/synthetic_4", "cityflow/synthetic_49", "cityflow/synthetic_225", *IRREGULAR]
)
def test_every_city_is_drawn_in_every_size(task: str) -> None:
    environment = make(task)
    for size in (64, 200, 333):
        first, again = draw(environment, size=size), draw(environment, size=size)
        assert (first.shape, first.dtype) == ((size, size, 3), np.uint8)
        assert np.array_equal(first, again)
        assert tuple(first[0, 0]) == PAGE
    before = draw(environment, size=SIZE)
    reference = envs.reference_policies(environment.task)["fixed_time"](environment)
    environment.step(reference.act(torch.Generator()))
    assert not np.array_equal(before, draw(environment, size=SIZE))


@pytest.mark.parametrize("task", ["cityflow/synthetic_4", "cityflow/synthetic_100", *IRREGULAR])
def test_the_view_holds_the_whole_city_upright(task: str) -> None:
    environment = make(task)
    network, view = environment.city.network, streets_of(environment.signals, SIZE).view
    pixels = view.pixels(network.points)
    assert pixels.min() > margin(SIZE)
    assert pixels.max() < SIZE - margin(SIZE)
    assert np.allclose(pixels.max(0) - pixels.min(0), view.scale * (network.points.max(0) - network.points.min(0)))
    assert network.points[pixels[:, 1].argmin(), 1] == network.points[:, 1].max()
    assert network.points[pixels[:, 0].argmin(), 0] == network.points[:, 0].min()


def test_an_empty_city_is_pale() -> None:
    environment = make("cityflow/synthetic_4")
    frame = draw(environment, size=SIZE)
    assert has(frame, QUEUE_COLOURS[0])
    assert has(frame, PLAZA_COLOUR)
    assert not any(has(frame, colour) for colour in (*QUEUE_COLOURS[1:], OPEN_COLOUR, NEIGHBOUR_COLOUR))
    never_reset = envs.make("cityflow/synthetic_4", 1)
    assert np.array_equal(draw(never_reset, size=SIZE), frame)


def test_a_lane_has_the_colour_of_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make("cityflow/synthetic_4")  # lanes of 260 and 280 m, with 7.5 m for each vehicle that stands
    standing = {"road_1_1_0_0": 1, "road_1_1_0_1": 16, "road_2_1_2_2": 100, "road_1_2_3_0": 5, "road_0_1_0_1": 8}
    expected = {"road_1_1_0_0": 1, "road_1_1_0_1": 4, "road_2_1_2_2": 6, "road_1_2_3_0": 2, "road_0_1_0_1": 3}
    fill(environment, standing, monkeypatch)
    frame = draw(environment, size=SIZE)
    for lane in environment.city.network.lane_ids:
        assert pixel(environment, frame, lane) == QUEUE_COLOURS[expected.get(lane, 0)], lane


def test_a_thin_road_has_the_colour_of_its_fullest_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make("cityflow/synthetic_100")
    fill(environment, {"road_5_5_0_0": 3, "road_5_5_0_1": 30, "road_7_5_3_2": 1}, monkeypatch)
    frame = draw(environment, size=SIZE)
    assert pixel(environment, frame, "road_5_5_0_1") == QUEUE_COLOURS[6]
    assert pixel(environment, frame, "road_7_5_3_1") == QUEUE_COLOURS[1]
    assert pixel(environment, frame, "road_6_5_2_1") == QUEUE_COLOURS[0], "the other direction"
    assert pixel(environment, frame, "road_6_5_0_1") == QUEUE_COLOURS[0], "the next road"


def test_queues_grow_at_red() -> None:
    environment = make("cityflow/synthetic_4")
    hold(environment, STRAIGHT_NORTH_SOUTH, 60)
    shares = queue_shares(environment, 0)
    network = environment.city.network
    state = environment.batch.simulations[0].state
    table = state.traffic.vehicles[pool(state)]
    for lane in ("road_0_1_0_1", "road_1_1_1_1"):
        index = network.lane_index[lane]
        here = table[table["running"] & (table["drivable"] == index)]
        assert shares[index] == pytest.approx(
            min(1.0, (here["speed"] < 0.1).sum() * 7.5 / network.arrays.length[index])
        )
    assert shares[network.lane_index["road_0_1_0_1"]] > 0.5 > shares[network.lane_index["road_1_1_1_1"]]


def test_colours_are_ordered_by_lightness() -> None:
    values = np.array(QUEUE_COLOURS) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ (0.2126, 0.7152, 0.0722)) - 16  # CIE L*
    assert np.diff(lightness).max() < -5
    assert lightness[0] < 95, "an empty road is seen on white"
    assert queue_levels(np.array([0.0, 1e-9, 0.1, 0.11, 1.0])).tolist() == [0, 1, 1, 2, 6]
    assert set(NEUTRALS) < set(PALETTE)


def test_green_strokes_show_the_open_movements() -> None:
    environment = make("cityflow/synthetic_4")
    streets = streets_of(environment.signals, SIZE)
    centre = streets.view.pixels(environment.city.network.points[environment.signals.agents[0]])
    aside = MEDIAN / 2 + 1.5 * streets.lane_width  # of the middle lane, which goes straight on
    places = {
        STRAIGHT_EAST_WEST: np.add(centre, ((0, aside), (0, -aside))),
        STRAIGHT_NORTH_SOUTH: np.add(centre, ((aside, 0), (-aside, 0))),
    }
    for action, places_open in places.items():
        environment.reset(seed=0)
        hold(environment, action, 1)
        frame = draw(environment, size=SIZE)
        columns, rows = places_open.astype(int).T
        assert (frame[rows, columns] == OPEN_COLOUR).all()
        columns, rows = places[1 - action].astype(int).T
        assert (frame[rows, columns] == PLAZA_COLOUR).all()


def test_left_turns_are_curves_within_the_intersection() -> None:
    environment = make("cityflow/synthetic_4")
    streets = streets_of(environment.signals, SIZE)
    assert len(streets.strokes) == 4 * 8, "four straight on and four to the left at each"
    lengths = [np.hypot(*np.diff(stroke, axis=0).T).sum() for stroke in streets.strokes]
    direct = [np.hypot(*np.subtract(stroke[-1], stroke[0])) for stroke in streets.strokes]
    curved = np.array(lengths) > 1.05 * np.array(direct)
    assert curved.sum() == 4 * 4
    assert max(lengths) < 4 * 3 * streets.lane_width * SUPERSAMPLING


def test_vehicles_are_where_they_drive() -> None:
    environment = make("cityflow/synthetic_4")
    hold(environment, STRAIGHT_EAST_WEST, 12)
    network, state = environment.city.network, environment.batch.simulations[0].state
    streets = streets_of(environment.signals, SIZE)
    points = vehicle_points(streets.tracks, network, environment.batch.simulations[0])
    vehicles = state.traffic.vehicles[pool(state)]
    vehicles = vehicles[vehicles["running"]]
    assert len(points) == len(vehicles) > 20
    pixels = (points + 0.5) / SUPERSAMPLING
    for point, vehicle in zip(pixels, vehicles, strict=True):
        line = network.drivable_points[vehicle["drivable"]]
        share = vehicle["distance"] / network.arrays.length[vehicle["drivable"]]
        true = streets.view.pixels(line[0] + share * (line[-1] - line[0]))
        assert np.hypot(*(point - true)) < 3 * streets.lane_width + MEDIAN, "bands are wider than true"
        if vehicle["drivable"] < len(network.lane_ids):
            start, end = streets.tracks[vehicle["drivable"]][[0, -1]]
            along = (point * SUPERSAMPLING - 0.5 - start) @ (end - start) / ((end - start) @ (end - start))
            assert along == pytest.approx(share)
    frame = draw(environment, size=SIZE)
    columns, rows = pixels.astype(int).T
    darkness = 255 - frame[rows, columns].mean(-1)
    assert np.median(darkness) > 120
    assert not len(streets_of(make("cityflow/synthetic_49").signals, SIZE).tracks), "too small to be seen"


def test_vehicles_of_the_original_engine_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make("cityflow/synthetic_4")
    hold(environment, STRAIGHT_EAST_WEST, 12)
    simulation, network = environment.batch.simulations[0], environment.city.network
    assert isinstance(simulation, Simulation)
    roster = Roster(network)
    roster.update(simulation.state)
    slots = {f"vehicle_{slot}": slot for slot in driving_slots(simulation.state).tolist()}

    class Engine:
        def get_vehicles(self, include_waiting: bool) -> list[str]:
            assert not include_waiting
            return list(slots)

        def get_vehicle_info(self, name: str) -> dict[str, str]:
            return roster.info(simulation.state, slots[name])

    tracks = streets_of(environment.signals, SIZE).tracks
    original = OriginalSimulation(Engine(), network, environment.city.flows)
    assert np.allclose(vehicle_points(tracks, network, original), vehicle_points(tracks, network, simulation))
    frame, words = draw(environment, size=SIZE), caption(environment, 0)
    monkeypatch.setattr(original, "average_travel_time", simulation.average_travel_time)
    monkeypatch.setattr(original, "lane_waiting", simulation.lane_waiting)
    original.running, original.waiting = simulation.running, simulation.waiting
    monkeypatch.setattr(environment.batch, "simulations", [original])
    assert caption(environment, 0) == words
    assert np.array_equal(draw(environment, size=SIZE), frame)


def test_words_above_the_city() -> None:
    environment = make("cityflow/synthetic_4", 2)
    hold(environment, STRAIGHT_EAST_WEST, 20)
    (name, first), (_, second) = caption(environment, 1)
    scores = environment.scores()
    assert name == "synthetic 4"
    assert first == f"200 of 1,000 s    average travel time {scores['average_travel_time'][1].item():.1f} s"
    driving = environment.batch.simulations[1].running
    assert second == f"{driving} vehicles on the road    {int(scores['outside'][1])} waiting outside"
    frame = draw(environment, size=SIZE)
    band = frame[: int(margin(SIZE))]
    dark = (band.mean(-1) < 170).any(1)
    assert dark[: len(dark) // 2].any()
    assert dark[len(dark) // 2 :].any(), "two lines of words"
    assert (draw(environment, size=64)[:5] == PAGE).all(), "no room"


def test_a_bar_shows_how_much_of_the_episode_is_over() -> None:
    environment = make("cityflow/synthetic_4")
    hold(environment, STRAIGHT_EAST_WEST, 25)
    assert (draw(environment, size=SIZE)[-1] != PAGE).any(-1).sum() == SIZE / 4


def test_neighbours_are_joined_by_lines() -> None:
    environment = make("cityflow/synthetic_4")
    plain, linked = draw(environment, size=SIZE), draw(environment, size=SIZE, neighbours=True)
    assert not has(plain, NEIGHBOUR_COLOUR)
    view = streets_of(environment.signals, SIZE).view
    places = view.pixels(environment.city.network.points[environment.signals.agents])
    for column, row in places.astype(int):
        assert tuple(linked[row, column]) == NEIGHBOUR_COLOUR
    changed = (linked != plain).any(-1)
    low, high = places.min(0).astype(int), places.max(0).astype(int)
    assert changed[low[1], low[0] : high[0]].all(), "a line along the northern road"
    assert changed[low[1] : high[1], low[0]].all()
    column, row = places.mean(0).astype(int)
    assert tuple(linked[row, column]) == WHITE, "no line across"


def test_copies_are_drawn_one_by_one() -> None:
    pair = make("cityflow/synthetic_4", 2)
    actions = torch.zeros(2, pair.spec.num_agents, dtype=torch.int64)
    actions[1] = STRAIGHT_NORTH_SOUTH
    for _ in range(5):
        pair.step(actions)
    alone = make("cityflow/synthetic_4")
    hold(alone, STRAIGHT_EAST_WEST, 5)
    assert np.array_equal(draw(pair, 0, SIZE), draw(alone, 0, SIZE))
    assert not np.array_equal(draw(pair, 1, SIZE), draw(alone, 0, SIZE))


def test_what_cannot_be_drawn_is_refused() -> None:
    environment = make("cityflow/synthetic_4")
    with pytest.raises(ValueError, match="copy must be between 0 and 0, not -1"):
        draw(environment, copy=-1)
    with pytest.raises(ValueError, match="size must be"):
        draw(environment, size=20)
    with pytest.raises(TypeError, match="not GameEnvironment"):
        draw(envs.make("game/climbing_2", 1))


@pytest.mark.parametrize("size", [120, 480])
def test_unusual_maps(tmp_path: Path, size: int) -> None:
    """Roads without lanes, lanes without width, links of one point and links given twice are drawn."""
    roadnet = deepcopy(grid_roadnet(1, 2))
    roadnet["roads"].append({**roadnet["roads"][0], "id": "bare", "lanes": []})
    roadnet["roads"][2]["lanes"][0]["width"] = 0
    first = next(node for node in roadnet["intersections"] if not node["virtual"])
    links = first["roadLinks"][0]["laneLinks"]
    links[0]["points"] = [{"x": 0, "y": 0}]
    links.append(deepcopy(links[1]))
    del first["trafficLight"]["lightphases"][0]
    with registered("odd_2", roadnet, [flow(("road_0_1_0", "road_1_1_0"), interval=1.0)], tmp_path) as task:
        environment = city(task)
        environment.reset(0)
        environment.step(torch.tensor([[0, 0]]))
        image = draw_traffic(environment, 0, size, neighbours=True)
    assert image.shape == (size, size, 3)
