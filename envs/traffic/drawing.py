"""Drawings of traffic tasks.

Every road or, if there is room, every lane is a band (`envs.traffic.streets`), coloured by the fraction of its fullest
lane that standing vehicles occupy. With separate lanes vehicles are dots; one halfway along its lane is shown halfway
along the band. Green strokes in an intersection are the movements that its signal opens, except right turns, which are
always open. Everything that does not change is drawn once per network and size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from envs.canvas import (
    BLUE,
    GREEN,
    INK,
    NEUTRALS,
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
    mix,
    page,
)
from envs.protocols import Environment
from envs.traffic.engine.inspection import pool
from envs.traffic.engine.simulation import Simulation
from envs.traffic.engine.state import SHADOW, State
from envs.traffic.environment import TrafficEnvironment
from envs.traffic.network import Network
from envs.traffic.original import OriginalSimulation
from envs.traffic.signals import FIRST_PHASE, Signals
from envs.traffic.streets import SHORTEST, TRACK_POINTS, Streets, points_of, streets_of

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


def can_draw(environment: object) -> bool:
    """Whether `environment` is a traffic environment."""
    return isinstance(environment, TrafficEnvironment)


def draw_traffic(environment: Environment, copy: int, size: int, neighbours: bool) -> np.ndarray:
    """A frame as for `envs.drawing.draw`, captioned with time, average travel time so far and numbers of vehicles."""
    assert isinstance(environment, TrafficEnvironment)
    signals = environment.signals
    streets = streets_of(signals, size)
    brush = Brush(_background(signals, size).copy())
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
        for point in points_of(vehicle_points(streets.tracks, signals.network, simulation)):
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
    points = points_of(streets.view.image_points(signals.network.points[signals.agents]))
    pixel = min(brush.pixel, streets.lane_width * SUPERSAMPLING)
    neighbours = [row[present].tolist() for row, present in zip(signals.neighbours, signals.mask, strict=True)]
    for i, j in agent_edges(neighbours):
        brush.line([points[i], points[j]], NEIGHBOUR_COLOUR, pixel)
    for point in points:
        brush.dot(point, 1.8 * pixel, NEIGHBOUR_COLOUR)


@lru_cache(maxsize=4)
def _background(signals: Signals, size: int) -> Image.Image:
    """The empty city with its legend, in the supersampled size."""
    streets, brush = streets_of(signals, size), Brush(page(size))
    for corners in streets.plazas:
        brush.polygon(corners, PLAZA_COLOUR)
    for band, width in zip(streets.bands, streets.band_widths, strict=True):
        if width > 0:
            brush.line(band, QUEUE_COLOURS[0], width)
    draw_legend(brush, _legend(brush, streets))
    return brush.image


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
