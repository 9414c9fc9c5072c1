"""Shapes and crosses are those of CityFlow, to the last bit and in its order."""

from __future__ import annotations

import gzip
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from envs.traffic.network import load_network
from envs.traffic.network.crosses import find_crosses, sort_like_cpp
from envs.traffic.network.geometry import lane_polylines, link_polylines, polyline_lengths
from tests.beside import GOLDEN, needs_recordings

DATA = Path(__file__).parents[1] / "data"
OWN = sorted(path.parent for path in DATA.glob("*/geometry.json.gz"))
ALL = sorted(path.parent for path in (GOLDEN / "traffic").glob("*/geometry.json.gz"))


def require_recorded_geometry(case: Path) -> None:
    network = load_network(case / "roadnet.json.gz")
    recorded = json.loads(gzip.decompress((case / "geometry.json.gz").read_bytes()))
    arrays = network.arrays
    lengths = dict(zip(network.drivable_ids, arrays.length.tolist(), strict=True))
    segments = dict(zip(network.lane_ids, arrays.lane_segments.tolist(), strict=True))
    assert {lane: [lengths[lane], segments[lane]] for lane in network.lane_ids} == recorded["lanes"]
    assert set(network.link_ids) == set(recorded["lanelinks"])
    for link, name in enumerate(network.link_ids):
        crosses = [
            [network.link_ids[foe], arrays.cross_distance[cross], arrays.cross_distance[arrays.cross_twin[cross]]]
            for cross, foe in enumerate(arrays.cross_foe)
            if arrays.cross_starts[link] <= cross < arrays.cross_starts[link + 1]
        ]
        assert {"length": lengths[name], "crosses": crosses} == recorded["lanelinks"][name]
    assert np.array_equal(arrays.cross_twin[arrays.cross_twin], np.arange(len(arrays.cross_twin)))


@pytest.mark.parametrize("case", OWN, ids=lambda case: case.name)
def test_own_recorded_geometry(case: Path) -> None:
    require_recorded_geometry(case)


def test_own_recorded_geometry_is_there() -> None:
    assert [case.name for case in OWN] == [
        "cross_1lane_yield",
        "cross_3lane",
        "cross_curved_nopoints",
        "straight_merge",
    ]


@needs_recordings
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_all_recorded_geometry(case: Path) -> None:
    require_recorded_geometry(case)


SORTED_BY_CPP = [
    ([3, 1, 2, 1, 0, 1, 3, 2, 2, 1, 1, 0, 0, 3, 1, 2], None),
    ([1, 0, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0], [1, 16, 14, 12, 9, 7, 4, 3, 2, 6, 5, 8, 10, 11, 13, 15, 0]),
    ([0] * 20, [10, 19, 18, 17, 16, 15, 14, 13, 12, 11, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    (
        [0, 2, 0, 5, 2, 0, 4, 1, 1, 5, 1, 0, 0, 1, 0, 2, 2, 5, 1, 4],
        [0, 2, 5, 14, 11, 12, 18, 7, 8, 10, 13, 1, 16, 15, 4, 6, 19, 9, 17, 3],
    ),
    (
        [1, 1, 1, 0, 1, 6, 6, 0, 2, 1, 0, 6, 4, 4, 4, 0, 2, 7, 4, 7, 1, 4, 0, 4, 0, 3, 0, 2, 1, 5, 5, 0, 3, 6, 4, 2],
        [
            *(15, 3, 22, 24, 31, 7, 26, 10, 28, 20, 9, 0, 4, 2, 1, 27, 35, 16),
            *(8, 32, 25, 18, 34, 12, 13, 23, 14, 21, 29, 30, 11, 6, 33, 5, 19, 17),
        ],
    ),
    (
        [0] * 36,
        [27, *range(19, 27), 18, *range(28, 36), 9, *range(1, 9), 0, *range(10, 18)],
    ),
]
"""Keys, and the places they had before std::sort of the GNU C++ library; None: in a stable order."""


@pytest.mark.parametrize(("keys", "order"), SORTED_BY_CPP)
def test_order_of_equal_elements(keys: list[int], order: list[int] | None) -> None:
    given = np.array(keys, np.float64)
    places = np.arange(len(keys), dtype=np.int32)
    stable = np.argsort(given, kind="stable").tolist()
    sort_like_cpp(given, places)
    assert given.tolist() == sorted(keys)
    assert places.tolist() == (stable if order is None else order)
    assert order is None or order != stable


def test_sorting_keeps_pairs() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        keys = generator.integers(generator.integers(1, 60), size=generator.integers(200)).astype(np.float64)
        given, places = keys.copy(), np.arange(len(keys), dtype=np.int32)
        sort_like_cpp(given, places)
        assert np.array_equal(given, np.sort(keys))
        assert np.array_equal(keys[places], given)
        assert np.array_equal(np.sort(places), np.arange(len(keys)))


def test_lanes_of_a_bent_road() -> None:
    """A road of 30 m to the east, then 40 m to the north, cut by 5 and 10 m, with lanes of 4 and 2 m."""
    points, starts = lane_polylines(
        np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 40.0]]),
        np.array([0, 3], np.int32),
        np.array([0, 2], np.int32),
        np.array([4.0, 2.0]),
        np.array([5.0]),
        np.array([10.0]),
    )
    corner = math.sqrt(0.5)
    inner = [[5, -2], [30 + 2 * corner, -2 * corner], [32, 30]]
    outer = [[5, -5], [30 + 5 * corner, -5 * corner], [35, 30]]
    assert starts.tolist() == [0, 3, 6]
    np.testing.assert_allclose(points, inner + outer, rtol=0, atol=1e-14)
    first = math.hypot(25 + 2 * corner, 2 - 2 * corner) + math.hypot(2 - 2 * corner, 30 + 2 * corner)
    np.testing.assert_allclose(polyline_lengths(points, starts)[0], first, rtol=1e-14)


def curve(width: float, end_lane: list[list[float]]) -> np.ndarray:
    """The curve from a lane that comes from the west to the origin, 1.75 m to the right, to another lane."""
    lanes = np.array([[-100.0, -1.75], [0.0, -1.75], *end_lane])
    no_points, none_given = np.empty((0, 2)), np.zeros(2, np.int32)
    from_lane, to_lane = np.array([0], np.int32), np.array([1], np.int32)
    points, starts = link_polylines(
        no_points, none_given, from_lane, to_lane, np.array([width]), lanes, np.array([0, 2, 4], np.int32)
    )
    assert starts.tolist() == [0, 11]
    return points


def middle_of(start: list[float], first: list[float], second: list[float], end: list[float]) -> np.ndarray:
    """Of a cubic curve with handles that go to start + first and end + second."""
    corners = np.array([start, np.add(start, first), np.add(end, second), end])
    middle: np.ndarray = np.array([1, 3, 3, 1]) @ corners / 8
    return middle


def test_curve_of_a_wide_turn() -> None:
    """Left turn with handles of half the distance between the ends."""
    points = curve(20.0, [[1.75, 0.0], [1.75, 100.0]])
    half = math.hypot(21.75, 21.75) / 2
    start, end = [-20, -1.75], [1.75, 20]
    np.testing.assert_allclose(points[[0, 10]], [start, end], atol=1e-13)
    np.testing.assert_allclose(points[5], middle_of(start, [half, 0], [0, -half], end), atol=1e-13)


def test_curve_of_a_tight_turn() -> None:
    """Right turn whose ends are 4.6 m apart: handles of 5 m, the second one in the wrong direction."""
    points = curve(5.0, [[-1.75, 0.0], [-1.75, -100.0]])
    middle = middle_of([-5, -1.75], [5, 0], [0, -5], [-1.75, -5])
    np.testing.assert_allclose(points[5], middle, atol=1e-13)


def test_curve_in_a_narrow_intersection() -> None:
    """Below 5 m of width handles stay short."""
    points = curve(4.9, [[-1.75, 0.0], [-1.75, -100.0]])
    start, end = [-4.9, -1.75], [-1.75, -4.9]
    half = math.dist(start, end) / 2
    middle = middle_of(start, [half, 0], [0, half], end)
    np.testing.assert_allclose(points[5], middle, atol=1e-13)


def test_parts_in_parallel_are_left_out_of_the_distance() -> None:
    """The second line runs at 10 m from the first, then turns onto it: only the turn is counted."""
    first = [[0.0, 0.0], [20.0, 0.0]]
    second = [[0.0, 3.0], [10.0, 3.0], [14.0, -1.0]]
    crosses = crosses_of([first, second])
    assert crosses == {(0, 1): (13.0, math.hypot(3, 3))}


def crosses_of(lines: list[list[list[float]]]) -> dict[tuple[int, int], tuple[float, float]]:
    """Both distances of the crosses between the lines of one intersection."""
    starts = np.cumsum([0, *map(len, lines)]).astype(np.int32)
    points = np.array([point for line in lines for point in line], np.float64)
    crosses = find_crosses(points, starts, np.array([0, len(lines)]))
    found = {}
    for link in range(len(lines)):
        for cross in range(crosses.starts[link], crosses.starts[link + 1]):
            if link < crosses.foe[cross]:
                twin = crosses.distance[crosses.twin[cross]]
                found[link, int(crosses.foe[cross])] = (float(crosses.distance[cross]), float(twin))
    return found


def crosses_without_boxes(lines: list[list[list[float]]]) -> dict[tuple[int, int], tuple[float, float]]:
    """The same by looking at every pair of segments."""
    found = {}
    for i, first in enumerate(lines):
        for j in range(i + 1, len(lines)):
            distances = first_cross(first, lines[j])
            if distances:
                found[i, j] = distances
    return found


def first_cross(first: list[list[float]], second: list[list[float]]) -> tuple[float, float] | None:
    def zero(value: float) -> bool:
        return abs(value) < 1e-8

    along_first = 0.0
    for (ax, ay), (bx, by) in pairwise(first):
        along_second = 0.0
        for (cx, cy), (dx, dy) in pairwise(second):
            area = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx)
            if zero(area):
                continue
            ratio = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / area
            px, py = ax + (bx - ax) * ratio, ay + (by - ay) * ratio
            on_both = all(
                zero((fx - ex) * (py - ey) - (fy - ey) * (px - ex))
                and (px - ex) * (px - fx) + (py - ey) * (py - fy) < 1e-8
                for ex, ey, fx, fy in ((ax, ay, bx, by), (cx, cy, dx, dy))
            )
            if on_both:
                rest_first = math.sqrt((px - ax) ** 2 + (py - ay) ** 2)
                rest_second = math.sqrt((px - cx) ** 2 + (py - cy) ** 2)
                return along_first + rest_first, along_second + rest_second
            along_second += math.sqrt((dx - cx) ** 2 + (dy - cy) ** 2)
        along_first += math.sqrt((bx - ax) ** 2 + (by - ay) ** 2)
    return None


def test_boxes_do_not_change_crosses() -> None:
    """Random lines, some of them touching, in parallel, or with a gap about as small as the tolerance."""
    generator = np.random.default_rng(1)
    count = 0
    for trial in range(60):
        coordinates = generator.uniform(-10, 10, (8, 4, 2)) if trial % 2 else generator.integers(-4, 5, (8, 4, 2)) * 1.0
        coordinates += generator.choice([0, 1e-9, 1e-5, 1e-4, 2e-4], (8, 4, 2))
        lines = (coordinates * generator.choice([1, 1e-4, 1e3])).tolist()
        found = crosses_of(lines)
        assert found == crosses_without_boxes(lines)
        count += len(found)
    assert count > 300
