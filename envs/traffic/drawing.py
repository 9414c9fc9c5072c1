"""Drawings of traffic tasks.

Every road is a band to the right of its centre line, coloured by the fraction of its fullest lane that standing
vehicles occupy. If there is room, each lane is a separate band and vehicles are dots. Bands that would be too thin to
see are drawn wider than true, and they end where crossing ones begin; a vehicle halfway along its lane is shown halfway
along the band. Green strokes in an intersection are the movements that its signal opens, except right turns, which are
always open. Everything that does not change is drawn once per network and size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image

from envs.canvas import (
    BLUE,
    GREEN,
    INK,
    NEUTRALS,
    REFERENCE,
    SUPERSAMPLING,
    WHITE,
    Brush,
    Colour,
    LegendEntry,
    Point,
    agent_edges,
    draw_legend,
    draw_progress,
    draw_text,
    margin,
    mix,
    page,
)
from envs.protocols import Environment
from envs.traffic.engine.inspection import pool
from envs.traffic.engine.simulation import Simulation
from envs.traffic.engine.state import SHADOW, State
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.network import Network
from envs.traffic.network.geometry import lane_polylines
from envs.traffic.original import OriginalSimulation
from envs.traffic.signals import FIRST_PHASE, Signals

QUEUE_COLOURS: tuple[Colour, ...] = (
    (220, 228, 238),
    (250, 206, 132),
    (245, 166, 84),
    (232, 125, 54),
    (208, 83, 24),
    (168, 45, 22),
    (116, 17, 25),
)
"""Colours from an empty lane to one full of queue, each darker than the last, so that their order is visible to
everyone."""
QUEUE_LIMITS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Fractions of a lane occupied by standing vehicles above which the next colour begins."""
OPEN_COLOUR, VEHICLE_COLOUR, NEIGHBOUR_COLOUR = GREEN, INK, BLUE
PLAZA_COLOUR = mix(QUEUE_COLOURS[0], WHITE, 0.45)
"""Colour of intersections."""
PALETTE: tuple[Colour, ...] = (*QUEUE_COLOURS, PLAZA_COLOUR, OPEN_COLOUR, NEIGHBOUR_COLOUR, *NEUTRALS)
"""All colours of the drawings."""

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
    background: Image.Image
    """Image of the empty city."""


def can_draw(environment: object) -> bool:
    """Whether `environment` is a traffic environment."""
    return isinstance(environment, TrafficEnvironment)


def draw_traffic(environment: Environment, copy: int, size: int, neighbours: bool) -> np.ndarray:
    """A frame as for `envs.drawing.draw`, captioned with time, average travel time so far and numbers of vehicles."""
    assert isinstance(environment, TrafficEnvironment)
    signals = environment.signals
    streets = streets_of(signals, size)
    brush = Brush(streets.background.copy())
    simulation = environment.batch.simulations[copy]
    fullest = np.zeros(len(streets.bands))
    np.maximum.at(fullest, streets.band_of_lane, queue_shares(environment, copy))
    levels = queue_levels(fullest)
    for band in np.flatnonzero(levels).tolist():
        brush.line(streets.bands[band], QUEUE_COLOURS[levels[band]], streets.band_widths[band])
    if neighbours:
        _draw_neighbours(brush, signals, streets)
    for stroke in _open_strokes(streets, signals, environment.current_action[copy].cpu().numpy()):
        brush.line(streets.strokes[stroke], OPEN_COLOUR, streets.stroke_width)
    if len(streets.tracks):
        for point in _points(vehicle_points(streets.tracks, signals.network, simulation)):
            brush.dot(point, 0.3 * streets.lane_width * SUPERSAMPLING, VEHICLE_COLOUR)
    frame = brush.image.reduce(SUPERSAMPLING)
    draw_text(frame, caption(environment, copy))
    draw_progress(frame, environment.decision / environment.spec.episode_length)
    return np.asarray(frame).copy()


def caption(environment: TrafficEnvironment, copy: int) -> list[tuple[str, str]]:
    """The two lines above the city, each as its left and right part."""
    simulation, settings = environment.batch.simulations[copy], environment.settings
    name = environment.task.partition("/")[2].replace("_", " ")
    now, end = environment.decision * settings.decision_seconds, settings.episode_seconds
    # Shadows of lane changes do not count as vehicles.
    driving = len(driving_slots(simulation.state)) if isinstance(simulation, Simulation) else simulation.running
    return [
        (name, f"{now:,} of {end:,} s    average travel time {simulation.average_travel_time():,.1f} s"),
        ("", f"{driving:,} vehicles on the road    {simulation.waiting:,} waiting outside"),
    ]


def queue_shares(environment: TrafficEnvironment, copy: int) -> np.ndarray:
    """Fraction of each lane occupied by standing vehicles including their gaps, (L,) float64."""
    kinds = environment.city.flows.arrays.kinds
    room = float((kinds["length"] + kinds["min_gap"]).mean()) if len(kinds) else 0.0
    standing = environment.batch.simulations[copy].lane_waiting()
    return np.minimum(room * standing / environment.city.network.arrays.length[: len(standing)], 1.0)


def queue_levels(shares: np.ndarray) -> np.ndarray:
    """Indices into `QUEUE_COLOURS` for the occupied fractions of lanes; 0 only for lanes without queue."""
    return np.searchsorted(QUEUE_LIMITS, shares)


def driving_slots(state: State) -> np.ndarray:
    """Slots of the vehicles on the roads, without shadows of lane changes."""
    slots, vehicles = pool(state), state.traffic.vehicles
    return slots[vehicles["running"][slots] & (vehicles["partner_type"][slots] != SHADOW)]


def vehicle_points(tracks: np.ndarray, network: Network, simulation: Simulation | OriginalSimulation) -> np.ndarray:
    """Positions of the vehicles on the roads in the supersampled image, (vehicle, 2) float64. tracks: see `Streets`."""
    if isinstance(simulation, Simulation):
        slots, vehicles = driving_slots(simulation.state), simulation.state.traffic.vehicles
        drivable, distance = vehicles["drivable"][slots], vehicles["distance"][slots]
    else:
        infos = [simulation.engine.get_vehicle_info(name) for name in simulation.engine.get_vehicles(False)]
        number = {name: index for index, name in enumerate(network.drivable_ids)}
        drivable = np.array([number[info["drivable"]] for info in infos], dtype=np.int64)
        distance = np.array([float(info["distance"]) for info in infos])
    place = distance / np.maximum(network.arrays.length[drivable], SHORTEST) * (TRACK_POINTS - 1)
    before = np.clip(place.astype(np.int64), 0, TRACK_POINTS - 2)
    rest = np.clip(place - before, 0.0, 1.0)[:, None]
    return (1 - rest) * tracks[drivable, before] + rest * tracks[drivable, before + 1]


def _open_strokes(streets: Streets, signals: Signals, actions: np.ndarray) -> list[int]:
    """Strokes that are open while agents show `actions` (agent,); none for agents that show nothing yet."""
    arrays = signals.network.arrays
    phases = np.where(actions >= 0, signals.phases(actions), FIRST_PHASE)
    stride = arrays.light_stride[signals.agents]
    return np.flatnonzero(arrays.open[streets.stroke_lights + (phases * stride)[streets.stroke_agents]]).tolist()


def _draw_neighbours(brush: Brush, signals: Signals, streets: Streets) -> None:
    points = _points(streets.view.image_points(signals.network.points[signals.agents]))
    pixel = min(brush.pixel, streets.lane_width * SUPERSAMPLING)
    neighbours = [row[present].tolist() for row, present in zip(signals.neighbours, signals.mask, strict=True)]
    for i, j in agent_edges(neighbours):
        brush.line([points[i], points[j]], NEIGHBOUR_COLOUR, pixel)
    for point in points:
        brush.dot(point, 1.8 * pixel, NEIGHBOUR_COLOUR)


@lru_cache(maxsize=4)
def streets_of(signals: Signals, size: int) -> Streets:
    """The drawing of the signals' network in frames of the given size."""
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
    brush = Brush(page(size))
    for corners in _plazas(network, lanes, lane_width):
        brush.polygon(corners, PLAZA_COLOUR)
    for band, width in zip(bands, widths, strict=True):
        if width > 0:
            brush.line(_points(band), QUEUE_COLOURS[0], width)
    streets = Streets(
        view,
        lane_width,
        [_points(band) for band in bands],
        widths,
        band_of_lane,
        tracks,
        [_points(stroke) for stroke in strokes],
        lights,
        agents,
        min(max(0.8 * lane_width, 0.5 * view.unit), 2 * view.unit) * SUPERSAMPLING,
        brush.image,
    )
    draw_legend(brush, _legend(brush, streets))
    return streets


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
        result.append(_points(np.array(corner_points)[order]))
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


def _points(line: np.ndarray) -> list[Point]:
    return [(x, y) for x, y in line.tolist()]


def _legend(brush: Brush, streets: Streets) -> list[LegendEntry]:
    """The entries of the legend."""
    swatch = 5.0

    def scale(at: Point, radius: float) -> None:
        left = at[0] - len(QUEUE_COLOURS) / 2 * swatch * brush.pixel
        for number, colour in enumerate(QUEUE_COLOURS):
            begin, end = (left + (number + more) * swatch * brush.pixel for more in (0, 1))
            brush.line([(begin, at[1]), (end, at[1])], colour, 1.6 * radius)

    def stroke(at: Point, radius: float) -> None:
        brush.line([(at[0] - radius, at[1]), (at[0] + radius, at[1])], OPEN_COLOUR, 2 * brush.pixel)

    def vehicle(at: Point, radius: float) -> None:
        brush.dot(at, radius / 2, VEHICLE_COLOUR)

    entries = [
        LegendEntry("queue, none to full lane", scale, len(QUEUE_COLOURS) * swatch),
        LegendEntry("green light", stroke),
    ]
    return [*entries, LegendEntry("vehicle", vehicle)] if len(streets.tracks) else entries
