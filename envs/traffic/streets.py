"""The streets of a city as drawn in a frame: bands of roads or lanes, paths of vehicles, movements, intersections.

Every road is a band to the right of its centre line; if there is room, each lane is a separate band. Bands that would
be too thin to see are drawn wider than true, and they end where crossing ones begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from envs.canvas import REFERENCE, SUPERSAMPLING, Point, margin
from envs.traffic.network import Network
from envs.traffic.network.geometry import lane_polylines
from envs.traffic.signals import Signals

PADDING = 8.0
"""Margin between the city and the border of the white square; like all sizes here in pixels of a reference frame."""
LANE_SHARE, THINNEST_LANE, WIDEST_LANE = 0.04, 0.55, 3.6
"""Width of a lane: at least this fraction of the length of a typical road, within these limits."""
LANES_SHOWN = 1.3
"""Minimum width of a lane for lanes to be separate bands."""
VEHICLES_SHOWN = 2.0
"""Minimum width of a lane for vehicles to be shown as dots."""
MEDIAN = 0.8
"""Gap between the two directions of a street."""
LONGEST_CUT = 0.3
"""Largest fraction of a road that an intersection may cover at one end."""
SMALLEST_SINE = 0.3
"""Sine of the angle between two roads below which they count as parallel."""
SHORTEST = 1e-9
"""Minimum length of a lane link in metres when drawn; some maps have links of no length."""
TRACK_POINTS = 17
"""Number of points along a lane or lane link between which positions of vehicles are interpolated linearly."""
STROKE_POINTS = 7


@dataclass(frozen=True, slots=True)
class View:
    """The square part of the city shown by a square frame; y points up in the city and down in the frame."""

    size: int
    """Side length of the frame in pixels."""
    centre: tuple[float, float]
    """Centre of the square in metres."""
    width: float
    """Side length of the white square without the padding, in metres."""

    @property
    def scale(self) -> float:
        """Pixels per metre."""
        return (self.size - 2 * (margin(self.size) + PADDING * self.unit)) / self.width

    @property
    def unit(self) -> float:
        """Pixels of the frame per pixel of a reference frame."""
        return self.size / REFERENCE

    def pixels(self, position: np.ndarray) -> np.ndarray:
        """Fractional column and row (..., 2) of positions (..., 2) in metres; pixel centres are at one half."""
        return self.size / 2 + (position - np.array(self.centre)) * (self.scale, -self.scale)

    def image_points(self, position: np.ndarray) -> np.ndarray:
        """Fractional column and row in the supersampled image, where integers are pixel centres."""
        return self.pixels(position) * SUPERSAMPLING - 0.5


def view_of(network: Network, size: int) -> View:
    """The view used for all frames of a network: the smallest square around its roads and intersections."""
    points = np.concatenate((network.points, *network.road_points))
    low, high = points.min(0), points.max(0)
    x, y = ((low + high) / 2).tolist()
    return View(size, (x, y), max(1.0, float((high - low).max())))


@dataclass(frozen=True, eq=False)
class Streets:
    """A network as drawn in one size. All points are in the supersampled image."""

    view: View
    lane_width: float
    """Width of a lane in pixels of the frame."""
    bands: list[list[Point]]
    """Centre line of every lane or, if lanes are too thin, of every road."""
    band_widths: np.ndarray
    """(band,) float64, widths in pixels of the supersampled image, like `stroke_width`."""
    band_of_lane: np.ndarray
    """(L,) int, band of each lane."""
    tracks: np.ndarray
    """(D, TRACK_POINTS, 2) float64, paths of vehicles; empty if vehicles are too small to be shown."""
    strokes: list[list[Point]]
    """Curves of the movements other than right turns."""
    stroke_lights: np.ndarray
    """(stroke,) int, index into `NetworkArrays.open` of the movement in the first phase."""
    stroke_agents: np.ndarray
    """(stroke,) int, agent at the intersection."""
    stroke_width: float
    plazas: list[list[Point]]
    """Outline of every intersection with roads on several sides."""


@lru_cache(maxsize=4)
def streets_of(signals: Signals, size: int) -> Streets:
    """The network of the signals as drawn in frames of the given size."""
    network, view = signals.network, view_of(signals.network, size)
    arrays, lane_width = network.arrays, _lane_width(network, view)
    lanes = _lanes(network, lane_width, view)
    if lane_width >= LANES_SHOWN * view.unit:
        bands, band_of_lane = lanes, np.arange(len(lanes))
        widths = np.full(len(lanes), lane_width * SUPERSAMPLING - 1)
    else:
        first = arrays.road_lane_starts
        bands = [
            np.mean(lanes[begin:end], axis=0) if begin < end else view.image_points(line)
            for line, (begin, end) in zip(network.road_points, pairwise(first.tolist()), strict=True)
        ]
        band_of_lane, widths = arrays.lane_road, np.diff(first) * lane_width * SUPERSAMPLING
    ends = np.array([(*line[-1], *_direction(line[-2:])) for line in lanes])[arrays.link_from]
    begins = np.array([(*line[0], *_direction(line[:2])) for line in lanes])[arrays.link_to]
    tracks = np.empty((0, TRACK_POINTS, 2))
    if lane_width >= VEHICLES_SHOWN * view.unit:
        tracks = np.concatenate((np.stack([_even(line) for line in lanes]), _curves(ends, begins, TRACK_POINTS)))
    strokes, lights, agents = _strokes(signals, ends, begins)
    return Streets(
        view,
        lane_width,
        [points_of(band) for band in bands],
        widths,
        band_of_lane,
        tracks,
        [points_of(stroke) for stroke in strokes],
        lights,
        agents,
        min(max(0.8 * lane_width, 0.5 * view.unit), 2 * view.unit) * SUPERSAMPLING,
        _plazas(network, lanes, lane_width),
    )


def _lane_width(network: Network, view: View) -> float:
    """The true width of a lane in pixels of the frame, but at least a fraction of the length of a typical road."""
    arrays = network.arrays
    usual = float(np.median(arrays.length[: len(network.lane_ids)])) * view.scale
    wanted = min(max(LANE_SHARE * usual, THINNEST_LANE * view.unit), WIDEST_LANE * view.unit)
    return max(float(np.median(arrays.lane_width)) * view.scale, wanted)


def _lanes(network: Network, lane_width: float, view: View) -> list[np.ndarray]:
    """Centre line of each lane as drawn, (points, 2) in the supersampled image."""
    arrays = network.arrays
    starts = np.concatenate(([0], np.cumsum([len(line) for line in network.road_points]))).astype(np.int32)
    lanes = np.diff(arrays.road_lane_starts)
    # Half of the median acts as one more lane on the inside of each road.
    first = arrays.road_lane_starts + np.arange(len(lanes) + 1, dtype=np.int32)
    widths = np.full(first[-1], lane_width / view.scale)
    widths[first[:-1]] = MEDIAN * view.unit / 2 / view.scale
    cuts = _cuts(network, (lanes * lane_width + MEDIAN * view.unit) / view.scale)
    points, line_starts = lane_polylines(np.concatenate(network.road_points), starts, first, widths, *cuts)
    lines = [view.image_points(points[begin:end]) for begin, end in pairwise(line_starts.tolist())]
    medians = set(first[:-1].tolist())
    return [line for number, line in enumerate(lines) if number not in medians]


def _cuts(network: Network, street: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres by which roads (R,) stop short of the centres of the intersections at their beginning and end: the true
    width or, if larger, that of crossing streets. street: (R,) metres that each road extends beside its line."""
    arrays = network.arrays
    parts = np.array([line[:2] for line in network.road_points] + [line[-2:] for line in network.road_points])
    steps = parts[:, 1] - parts[:, 0]
    length = np.hypot(steps[:, 0], steps[:, 1])
    x, y = (steps / length[:, None]).T
    where, street = np.concatenate((arrays.road_from, arrays.road_to)), np.tile(street, 2)
    cuts = np.zeros(len(where))
    order = np.argsort(where, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(where[order])) + 1):
        if network.virtual[where[group[0]]]:
            continue
        crossing = np.abs(np.outer(x[group], y[group]) - np.outer(y[group], x[group])) > SMALLEST_SINE
        cuts[group] = np.maximum((crossing * street[group]).max(1), network.widths[where[group]])
    cuts = np.minimum(cuts, LONGEST_CUT * length)
    return cuts[: len(cuts) // 2], cuts[len(cuts) // 2 :]


def _plazas(network: Network, lanes: list[np.ndarray], lane_width: float) -> list[list[Point]]:
    """Outline of every intersection with roads on several sides, through the corners of its roads' ends."""
    arrays, half = network.arrays, lane_width * SUPERSAMPLING / 2
    corners: list[list[np.ndarray]] = [[] for _ in network.points]
    for road, (first, end) in enumerate(pairwise(arrays.road_lane_starts.tolist())):
        if first == end:
            continue
        for intersection, place, part in (
            (arrays.road_from[road], 0, slice(None, 2)),
            (arrays.road_to[road], -1, slice(-2, None)),
        ):
            x, y = _direction(lanes[first][part])
            right = np.array((-y, x)) * half  # rows count downwards
            corners[intersection] += [lanes[first][place] - right, lanes[end - 1][place] + right]
    result = []
    for corner_points, virtual in zip(corners, network.virtual, strict=True):
        if virtual or not corner_points:
            continue
        around = np.array(corner_points) - np.mean(corner_points, axis=0)
        order = np.argsort(np.arctan2(around[:, 1], around[:, 0]))
        result.append(points_of(np.array(corner_points)[order]))
    return result


def _strokes(signals: Signals, ends: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each movement that yellow does not open: a curve (stroke, STROKE_POINTS, 2) along the middle of its lane
    links, its light in the first phase, and its agent. ends, begins: of all lane links; see `_curves`."""
    arrays = signals.network.arrays
    agent_of = np.full(len(signals.network.points), -1)
    agent_of[signals.agents] = np.arange(len(signals.agents))
    controlled = agent_of[arrays.link_intersection] >= 0
    where = arrays.link_intersection[controlled]
    yellow = arrays.link_light[controlled] + signals.yellow[agent_of[where]] * arrays.light_stride[where]
    controlled[controlled] = arrays.open[yellow] == 0
    lights, one, group, count = np.unique(
        arrays.link_light[controlled], return_index=True, return_inverse=True, return_counts=True
    )
    middle = np.zeros((2, len(lights), 4))
    for total, given in zip(middle, (ends, begins), strict=True):
        np.add.at(total, group, given[controlled])
        total /= count[:, None]
    agents = agent_of[arrays.link_intersection[controlled][one]]
    return _curves(middle[0], middle[1], STROKE_POINTS), lights, agents


def _curves(ends: np.ndarray, begins: np.ndarray, count: int) -> np.ndarray:
    """Quadratic curves (curve, count, 2) between points with directions, each given as (curve, 4): x, y, x, y.

    A curve is tangent to both directions if these meet between the points, and otherwise straight."""
    start, end, along, onward = ends[:, :2], begins[:, :2], ends[:, 2:], begins[:, 2:]
    gap, cross = end - start, along[:, 0] * onward[:, 1] - along[:, 1] * onward[:, 0]
    turns = np.abs(cross) > SMALLEST_SINE
    reach = (gap[:, 0] * onward[:, 1] - gap[:, 1] * onward[:, 0]) / np.where(turns, cross, 1.0)
    turns &= (reach > 0) & (reach < np.hypot(gap[:, 0], gap[:, 1]))
    handle = np.where(turns[:, None], start + reach[:, None] * along, (start + end) / 2)
    t = np.linspace(0.0, 1.0, count)[:, None]
    return (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * handle[:, None] + t**2 * end[:, None]


def _even(line: np.ndarray) -> np.ndarray:
    """Points at equal distances along a polyline, (TRACK_POINTS, 2)."""
    steps = np.diff(line, axis=0)
    place = np.concatenate(([0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))))
    wanted = np.linspace(0.0, place[-1], TRACK_POINTS)
    return np.stack([np.interp(wanted, place, line[:, axis]) for axis in (0, 1)], axis=-1)


def _direction(line: np.ndarray) -> np.ndarray:
    step = line[1] - line[0]
    return step / np.hypot(*step)


def points_of(line: np.ndarray) -> list[Point]:
    """Points (point, 2) as tuples."""
    return [(x, y) for x, y in line.tolist()]
