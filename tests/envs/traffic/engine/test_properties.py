"""Invariants of every town: order, gaps, lights, limits, no vehicle lost, exact continuation, and no input that
crashes.

Small towns, flows and lights are drawn at random, with and without lane changes and in steps of different lengths.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import tempfile
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.errors import TrafficFileError
from envs.traffic import Engine, Network, build_network
from envs.traffic.engine.inspection import on_drivable, pool, vehicle_names
from envs.traffic.engine.state import FINISHED, NEW, NOT_PAIRED, POOL, REAL, RUNNING, SHADOW
from envs.traffic.network.layout import NONE
from envs.traffic.synthetic.grid import grid_roadnet
from tests.envs.traffic.towns import RIGHT_ANGLES, corridor, flow, make_engine, ring, streets, write_files

ROUNDING = 1e-9
"""Metres by which a follower may touch its leader's rear, by rounding."""

lengths = st.floats(60.0, 220.0).map(lambda length: round(length, 1))


@st.composite
def junctions(draw: st.DrawFn) -> Any:
    """Two intersections of one-lane roads. From every road one may turn into every other, so that vehicles merge;
    ranks of links and phases are at random."""
    points = {"c": (0.0, 0.0), "d": (draw(lengths), 10.0)}
    roads = [("cd", "c", "d"), ("dc", "d", "c")]
    for i, (end, x, y) in enumerate((e, x, y) for e in "cd" for x, y in ((-1 if e == "c" else 1, 0), (0, 1), (0, -1))):
        length = draw(lengths)
        points[f"a{i}"] = (points[end][0] + x * length, points[end][1] + y * length)
        roads += [(f"in{i}", f"a{i}", end), (f"out{i}", end, f"a{i}")]
    roadnet = streets(points, roads, width=draw(st.sampled_from([5.0, 10.0, 15.0])))
    for intersection in roadnet["intersections"][:2]:
        links = intersection["roadLinks"]
        for link in links:
            link["type"] = draw(st.sampled_from(["go_straight", "turn_left", "turn_right", "other"]))
        choice = st.sets(st.integers(0, len(links) - 1)).map(sorted)
        phases = [{"time": draw(st.integers(0, 9)), "availableRoadLinks": draw(choice)} for _ in range(3)]
        intersection["trafficLight"]["lightphases"] += phases
    return roadnet


roadnets = st.one_of(
    st.builds(corridor, st.integers(1, 3), st.lists(lengths, min_size=2, max_size=3)),
    st.builds(grid_roadnet, st.integers(1, 2), st.just(2), st.floats(80.0, 160.0)),
    junctions(),
)


@st.composite
def ways(draw: st.DrawFn, network: Network) -> list[str]:
    """Two to four roads on which one can drive, none of them twice."""
    choices = [
        [int(road) for road in network.next_roads[network.next_road_starts[r] : network.next_road_starts[r + 1]]]
        for r in range(len(network.road_ids))
    ]
    roads = [draw(st.sampled_from([road for road, following in enumerate(choices) if following]))]
    for _ in range(draw(st.integers(1, 3))):
        following = [road for road in choices[roads[-1]] if road not in roads]
        if following:
            roads.append(draw(st.sampled_from(following)))
    return [network.road_ids[road] for road in roads]


@st.composite
def flows_on(draw: st.DrawFn, network: Network) -> list[dict[str, Any]]:
    """Up to five flows of vehicles of all sorts."""
    return [
        flow(
            draw(ways(network)),
            interval=draw(st.sampled_from([1.0, 1.5, 3.0, 6.0])),
            startTime=draw(st.sampled_from([0, 0, 7])),
            endTime=draw(st.sampled_from([-1, -1, 30])),
            maxSpeed=draw(st.sampled_from([5.0, 11.111, 16.0, 30.0])),
            length=draw(st.sampled_from([3.0, 5.0, 12.0])),
            minGap=draw(st.sampled_from([0.5, 2.5])),
            maxPosAcc=draw(st.sampled_from([1.0, 2.0, 4.0])),
            usualPosAcc=draw(st.sampled_from([1.0, 2.0, 3.0])),
            maxNegAcc=draw(st.sampled_from([4.5, 7.0])),
            usualNegAcc=draw(st.sampled_from([3.0, 4.5])),
            headwayTime=draw(st.sampled_from([0.5, 1.0, 2.0])),
        )
        for _ in range(draw(st.integers(1, 5)))
    ]


class Town(NamedTuple):
    """All that an engine needs."""

    roadnet: Any
    flows: list[dict[str, Any]]
    config: dict[str, Any]
    lights: int
    """Seed of the phases."""

    def engine(self) -> Engine:
        return make_engine(self.roadnet, self.flows, **self.config)


@st.composite
def towns(draw: st.DrawFn) -> Town:
    roadnet = draw(roadnets)
    config = {
        "interval": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "seed": draw(st.integers(0, 99)),
        "laneChange": draw(st.booleans()),
        "rlTrafficLight": draw(st.sampled_from([True, True, False])),
    }
    for intersection in roadnet["intersections"]:  # a built-in cycle must take time
        if not intersection["virtual"]:
            intersection["trafficLight"]["lightphases"][0]["time"] = 12
    return Town(roadnet, draw(flows_on(build_network(roadnet))), config, draw(st.integers(0, 999)))


def set_lights(engine: Engine, generator: random.Random) -> None:
    """A phase at random for every intersection, now and then."""
    if engine.config.rl_traffic_light and generator.random() < 0.15:
        for index, name in enumerate(engine.network.intersection_ids):
            phases = engine.network.num_phases(index)
            if phases:
                engine.set_tl_phase(name, generator.randrange(phases))


class Vehicle(NamedTuple):
    """What is known of a running vehicle."""

    drivable: int
    previous: int
    distance: float
    speed: float
    length: float
    max_speed: float
    acceleration: float
    deceleration: float
    partner_type: int


class Moment(NamedTuple):
    """An engine between two steps."""

    vehicles: dict[str, Vehicle]
    """Running ones, shadows too."""
    lists: list[list[str]]
    """By drivable, front first."""
    everyone: set[str]
    """Waiting ones too, but no shadows."""
    finished: int
    phase: np.ndarray


def look(engine: Engine) -> Moment:
    traffic = engine.state.traffic
    running = traffic.vehicles[pool(engine.state)]
    running = running[running["running"]]
    kinds = traffic.kinds[running["kind"]]
    columns = [running[name].tolist() for name in ("drivable", "previous", "distance", "speed")]
    columns += [kinds[name].tolist() for name in ("length", "max_speed", "max_acceleration", "max_deceleration")]
    rows = zip(*columns, running["partner_type"].tolist(), strict=True)
    vehicles = {name: Vehicle(*row) for name, row in zip(vehicle_names(running), rows, strict=True)}
    lists: list[list[str]] = [[] for _ in traffic.queues]
    for drivable in np.flatnonzero(traffic.queues["size"]).tolist():
        lists[drivable] = vehicle_names(traffic.vehicles[list(on_drivable(engine.state, drivable))])
    assert sorted(name for names in lists for name in names) == sorted(vehicles)
    everyone = set(engine.get_vehicles(include_waiting=True))
    return Moment(vehicles, lists, everyone, int(traffic.counts[FINISHED]), traffic.phase.copy())


def moments(town: Town, steps: int) -> Iterator[tuple[Engine, Moment, Moment]]:
    """An engine of the town with what was before and after each step; phases are those of the step."""
    engine, generator = town.engine(), random.Random(town.lights)
    after = look(engine)
    for _ in range(steps):
        set_lights(engine, generator)
        before, phase = after, engine.state.traffic.phase.copy()
        engine.next_step()
        after = look(engine)
        yield engine, before._replace(phase=phase), after


def gap(ahead: Vehicle, behind: Vehicle) -> float:
    """Metres between two neighbours; negative if they overlap."""
    return ahead.distance - ahead.length - behind.distance


@settings(max_examples=30)
@given(towns())
def test_vehicles_keep_their_order_and_do_not_collide(town: Town) -> None:
    """The lists of vehicles keep their order, and no vehicle drives into the one ahead: neighbours that came onto a
    drivable from the same place, which is where they were neighbours before, never overlap. Where vehicles come from
    different places - lanes that merge, a buffer beside a lane link, a shadow - the one that is behind in the list may
    be ahead of the other's rear; but once two are neighbours without an overlap, they stay without one."""
    apart: set[tuple[str, str]] = set()
    for _, before, after in moments(town, 50):
        for old, new in zip(before.lists, after.lists, strict=True):
            stayed = set(old) & set(new)
            assert [name for name in old if name in stayed] == [name for name in new if name in stayed]
        neighbours = [pair for names in after.lists for pair in pairwise(names)]
        was_apart, apart = apart, set()
        for names in neighbours:
            ahead, behind = (after.vehicles[name] for name in names)
            distance = gap(ahead, behind)
            if names in was_apart or ahead.previous == behind.previous:
                assert distance >= -ROUNDING
            if distance >= -ROUNDING:
                apart.add(names)


@settings(max_examples=30)
@given(towns())
def test_red_lights_and_limits(town: Town) -> None:
    """Who leaves a lane over a closed link could not have stopped before it: the braking distance before the step was
    longer than the rest of the lane. Speeds are within those of vehicle and lane, and change by no more than vehicles
    can accelerate or brake; who is too fast brakes as hard as possible."""
    interval = town.config["interval"]
    for engine, before, after in moments(town, 50):
        arrays, lanes = engine.network.arrays, len(engine.network.lane_ids)
        links = {(int(a), int(b)): i for i, (a, b) in enumerate(zip(arrays.link_from, arrays.link_to, strict=True))}
        for name, now in after.vehicles.items():
            assert 0 <= now.distance <= arrays.length[now.drivable]
            then = before.vehicles.get(name)
            if then is None or then.partner_type != now.partner_type:
                continue  # it was not running, or the name has passed on to its shadow
            lane_changed = now.drivable != then.drivable and now.drivable < lanes > then.drivable
            if lane_changed and arrays.lane_road[now.drivable] == arrays.lane_road[then.drivable]:
                continue  # the shadow came and took over in one long step
            limit = min(now.max_speed, arrays.max_speed[then.drivable], then.speed + now.acceleration * interval)
            slowest = then.speed - now.deceleration * interval
            assert max(slowest, 0.0) <= now.speed <= max(limit, slowest)
            if then.drivable < lanes and now.drivable != then.drivable:
                over = links[then.drivable, now.drivable] if now.drivable < lanes else now.drivable - lanes
                crossing = arrays.link_intersection[over]
                row = arrays.link_light[over] + before.phase[crossing] * arrays.light_stride[crossing]
                rest = arrays.length[then.drivable] - then.distance
                assert arrays.open[row] or 0.5 * then.speed * then.speed / now.deceleration > rest


@settings(max_examples=30)
@given(towns())
def test_nobody_is_lost_and_nobody_comes_from_nothing(town: Town) -> None:
    """Vehicles are those that flows have made less those that have arrived, which they do on the last road of their
    route. A shadow that ends with its vehicle, or before its lane change is complete, counts as arrived too."""
    arrived: set[str] = set()
    for engine, before, after in moments(town, 50):
        state, network = engine.state, engine.network
        made = {f"flow_{flow}_{i}" for flow, count in enumerate(state.sources.made) for i in range(count)}
        gone = before.everyone - after.everyone
        assert not gone & arrived
        arrived |= gone
        assert after.everyone == made - arrived
        shadows = [name for name, vehicle in after.vehicles.items() if vehicle.partner_type == SHADOW]
        vanished = [n for n, v in before.vehicles.items() if v.partner_type == SHADOW and n not in after.vehicles]
        assert len(gone) <= after.finished - before.finished <= len(gone) + len(vanished)
        for name in gone:
            place = before.vehicles[name].drivable
            lane = place if place < len(network.lane_ids) else network.arrays.link_to[place - len(network.lane_ids)]
            road = network.road_ids[network.arrays.lane_road[lane]]
            assert road == town.flows[int(name.split("_")[1])]["route"][-1]
        counts = state.traffic.counts
        waiting = int(state.traffic.queues["waiting_size"].sum())
        assert counts[NEW] == 0
        assert counts[POOL] == len(after.everyone) + len(shadows) == counts[RUNNING] + waiting
        assert counts[RUNNING] == len(after.vehicles) == state.traffic.queues["size"].sum()


@settings(max_examples=15)
@given(towns(), st.integers(0, 60))
def test_what_is_derived_is_consistent(town: Town, steps: int) -> None:
    """Sets of bits, links between vehicles, leaders and plans say what the lists say."""
    engine, generator = town.engine(), random.Random(town.lights)
    for _ in range(steps):
        set_lights(engine, generator)
        engine.next_step()
    state, arrays, lanes = engine.state, engine.network.arrays, len(engine.network.lane_ids)
    traffic, vehicles = state.traffic, state.traffic.vehicles
    slots = pool(state)
    assert (np.diff(vehicles["priority"][slots].astype(np.int64)) > 0).all()
    bits = np.unpackbits(traffic.occupied.view(np.uint8), bitorder="little")[: len(traffic.queues)]
    assert (bits == (traffic.queues["size"] > 0)).all()
    bits = np.unpackbits(state.lanes.waited.view(np.uint8), bitorder="little")[:lanes]
    assert (bits == (traffic.queues["waiting_size"][:lanes] > 0)).all()
    departing = np.bincount(arrays.link_from, traffic.queues["size"][lanes:], lanes)
    assert (departing == traffic.queues["departing"][:lanes]).all()
    for drivable in range(len(traffic.queues)):
        on_it = list(on_drivable(state, drivable))
        assert vehicles["ahead"][on_it].tolist() == [NONE, *on_it[:-1]][: len(on_it)]
        assert vehicles["leader"][on_it[1:]].tolist() == on_it[:-1]
    for slot in slots:
        place, plan = vehicles["drivable"][slot], traffic.plans[slot, : vehicles["plan_length"][slot]]
        for i, following in enumerate(plan):
            if following == NONE:
                assert i == len(plan) - 1
                break
            if place >= lanes:
                assert following == arrays.link_to[place - lanes]
            else:
                assert arrays.link_from[following - lanes] == place
            place = following
    paired = slots[vehicles["partner_type"][slots] != NOT_PAIRED]
    partners = vehicles["partner"][paired]
    assert vehicles["running"][partners].all()
    assert (vehicles["partner"][partners] == paired).all()
    assert (vehicles["partner_type"][partners] + vehicles["partner_type"][paired] == REAL + SHADOW).all()


@settings(max_examples=20)
@given(towns(), st.integers(0, 40), st.integers(1, 25))
def test_every_way_of_saving_goes_on_exactly(town: Town, before: int, after: int) -> None:
    """A snapshot, a file and a dictionary, taken at any step, with a vehicle that has just been pushed."""
    engine = town.engine()
    engine.run(before)
    engine.push_vehicle({"speed": 4.0, "maxSpeed": 9.0}, town.flows[0]["route"])
    for vehicle in engine.get_vehicles()[:3]:
        engine.set_vehicle_speed(vehicle, 2.5)
    loaded = [town.engine() for _ in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        file, other = Path(folder) / "a.json", Path(folder) / "b.json"
        engine.snapshot().dump(file)
        loaded[0].load(engine.snapshot())
        loaded[1].load_from_file(file)
        loaded[2].load_state_dict(engine.state_dict())
        engine.run(after)
        engine.snapshot().dump(file)
        for copied in loaded:
            copied.run(after)
            copied.snapshot().dump(other)
            assert other.read_bytes() == file.read_bytes()


# --- malformed input -------------------------------------------------------------------------------------------------

SOUND: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "corridor": (
        corridor(2, (120.0, 90.0, 80.0)),
        [flow(("r0", "r1", "r2"), interval=1.5, maxSpeed=speed) for speed in (11.0, 6.0)],
    ),
    "grid": (grid_roadnet(1, 1, 100.0), [flow(way, interval=2.0) for way in RIGHT_ANGLES]),
    "ring": (ring(80.0), [flow(("in", "there", "back", "there", "out")), flow(("in", "there", "out"))]),
}
ODD = (
    *(0, -1, 1, 2, 7, 60, 1000, -0.0, 0.1, 1.5, 1e-5, 1e-300, 1e5, 1e9, -1e9, 1e300, 2**31 - 1, 2**31, 2**63),
    *(None, True, False, "", "1", "r0", "r1", "n1", "\ud800", [], {}, [0], [[]]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where everything in a JSON value is."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def spoil(document: Any, generator: random.Random) -> None:
    """Change one place of a JSON value: leave it out, repeat it, or put something else there."""
    everywhere = list(places(document))

    def inside(path: tuple[Any, ...]) -> Any:
        value = document
        for key in path[:-1]:
            value = value[key]
        return value

    if not everywhere:
        return
    path, other = generator.choice(everywhere), generator.choice(everywhere)
    target, odd = inside(path), copy.deepcopy(inside(other)[other[-1]])
    match generator.randrange(5):
        case 0:
            del target[path[-1]]
        case 1 if isinstance(target, list):
            target.append(copy.deepcopy(target[path[-1]]))
        case 2:
            target[path[-1]] = odd
        case _:
            target[path[-1]] = generator.choice(ODD)


def spoil_bytes(text: bytes, generator: random.Random) -> bytes:
    """Change, put in or leave out a few bytes."""
    place = generator.randrange(len(text))
    new = generator.choice([b"", b"9", b"e9", b"-", b'"', b",", b"{", b"0", b".", bytes([generator.randrange(256)])])
    return text[:place] + new + text[place + generator.randrange(4) :]


def drive(engine: Engine) -> None:
    """Some steps, with a look at everything."""
    for _ in range(4):
        engine.run(5)
        for vehicle in engine.get_vehicles()[:2]:
            engine.get_vehicle_info(vehicle)
        engine.vehicle_table()
        engine.get_lane_vehicles()
        engine.get_average_travel_time()


def stop_if_stranded(engine: Engine) -> None:
    """Drive; a vehicle may be on a lane that does not lead on, but nothing else may happen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # flows without route
        try:
            drive(engine)
        except RuntimeError as error:
            if "cannot follow its route from lane" not in str(error):
                raise


configs = st.fixed_dictionaries(
    {"interval": st.sampled_from([0.5, 1.0, 3.0]), "laneChange": st.booleans(), "rlTrafficLight": st.booleans()}
)


@pytest.mark.filterwarnings("ignore::envs.traffic.files.IgnoredValueWarning")
@settings(max_examples=150)
@given(configs, st.sampled_from(sorted(SOUND)), st.sampled_from(["config", "roadnet", "flow"]), st.integers(0, 10**6))
def test_spoilt_files_are_refused_or_work(config: dict[str, Any], name: str, file: str, seed: int) -> None:
    """What is wrong with one is said in its terms; where nothing is, the engine works."""
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = write_files(Path(folder), *SOUND[name], **config)
        target = Path(folder) / f"{file}.json"
        if generator.random() < 0.3:
            target.write_bytes(spoil_bytes(target.read_bytes(), generator))
        else:
            document = json.loads(target.read_text())
            for _ in range(generator.choice((1, 1, 2, 3))):
                spoil(document, generator)
            target.write_text(json.dumps(document))
        with contextlib.suppress(TrafficFileError):
            stop_if_stranded(Engine(path))


@settings(max_examples=80)
@given(configs, st.sampled_from(sorted(SOUND)), st.integers(0, 10**6))
def test_spoilt_snapshots_are_refused_or_work(config: dict[str, Any], name: str, seed: int) -> None:
    generator = random.Random(seed)
    engine = make_engine(*SOUND[name], **config)
    engine.run(generator.choice((20, 50)))
    engine.push_vehicle({}, SOUND[name][1][0]["route"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        engine.snapshot().dump(path)
        document = json.loads(path.read_text())
        for _ in range(generator.choice((1, 2))):
            spoil(document, generator)
        path.write_text(json.dumps(document))
        before = look(engine)
        try:
            engine.load_from_file(path)
        except TrafficFileError:
            after = look(engine)
            assert (after.vehicles.keys(), after.lists) == (before.vehicles.keys(), before.lists)
    stop_if_stranded(engine)
