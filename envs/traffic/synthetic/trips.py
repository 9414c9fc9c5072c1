"""Trips through a synthetic city: departure times and routes of vehicles as arrays, for a grid of any size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Steps (x, y) to the east, north, west and south."""
LONGEST_SIDE = 200
"""Maximum number of rows or columns."""
LARGEST_MEAN = 500.0
"""Maximum mean of a single Poisson draw; exp(-mean) must be a normal floating-point number."""


@dataclass(frozen=True)
class GridFlow:
    """Arrival rates and routes of the vehicles that enter a grid.

    On every road into the grid, vehicles arrive as a Poisson process. At time t, vehicles with heading h arrive at the
    rate

        rate (1 + amplitude cos(2 pi (t / horizon - peak_h)))       vehicles per hour,

    whose mean over the horizon is `rate`. The two axes peak at different times, so that no fixed cycle of signals suits
    the whole horizon.

    At every intersection a vehicle turns with probability left + right. Its first turn is to the left with probability
    left / (left + right); after that, its turns alternate. A route therefore has at most two headings: it is a shortest
    path between its ends, cannot circle, has equal numbers of left and right turns or one more of either, and ends when
    it leaves the grid. With left = right, these are also the shares of turns among all movements.

    Raises ValueError for invalid parameters.
    """

    rate: float = 300.0
    """Vehicles per hour on each road into the grid, averaged over the horizon."""
    amplitude: float = 0.5
    """Amplitude of the rate's variation, as a fraction of the mean."""
    peaks: tuple[float, float, float, float] = (0.2, 0.7, 0.3, 0.8)
    """Times of the highest rate of vehicles heading east, north, west and south, as fractions of the horizon."""
    left: float = 0.15
    """Probability of left turns. The public flow of Manhattan, 16 x 3, has 0.15 left, 0.69 straight, 0.16 right."""
    right: float = 0.15
    """Probability of right turns; other vehicles go straight on."""
    crossings: float | None = None
    """Mean number of intersections that a vehicle crosses, at least 1; None lets vehicles drive until they leave the
    grid. With a number, a vehicle that has crossed an intersection ends its trip on the next road with probability 1 /
    crossings, and trips also begin on every road inside the grid, at `rate / crossings`. As many begin as end there, so
    that every road of a grid of any size carries about `rate` vehicles per hour once traffic has built up."""
    horizon: int = 3600
    """Seconds within which vehicles enter."""
    seed: int = 0
    """Seed of all random draws."""

    def __post_init__(self) -> None:
        def require(condition: bool, name: str, expected: str) -> None:
            if not condition:
                raise ValueError(f"{name} must be {expected}, not {getattr(self, name)!r}")

        require(0 < self.rate <= 10_000, "rate", "above 0 and at most 10000 vehicles an hour")
        require(0 <= self.amplitude <= 1, "amplitude", "between 0 and 1")
        require(len(self.peaks) == 4 and all(map(math.isfinite, self.peaks)), "peaks", "four numbers")
        require(0 <= self.left <= 1, "left", "between 0 and 1")
        require(0 <= self.right <= 1 - self.left, "right", "between 0 and what `left` leaves of 1")
        long = self.crossings is None or 1 <= self.crossings < math.inf
        require(long, "crossings", "None or a number of at least 1")
        require(1 <= self.horizon <= 86_400, "horizon", "between 1 and 86400 seconds")
        require(0 <= self.seed < 2**63, "seed", "between 0 and 2^63 - 1")

    def expected(self) -> np.ndarray:
        """(horizon, 4) float64: vehicles expected in each second on one road into the grid, by heading."""
        share = (np.arange(self.horizon)[:, None] + 0.5) / self.horizon - np.array(self.peaks)
        return self.rate / 3600 * (1 + self.amplitude * np.cos(2 * np.pi * share))


class Trips(NamedTuple):
    """Departure times and routes of V vehicles in order of time. A road is numbered by its start (x, y) and heading as
    `((x (rows + 2)) + y) 4 + heading`."""

    time: np.ndarray
    """(V,) int64, departure times in seconds."""
    route_starts: np.ndarray
    """(V + 1,) int64, offsets into `roads`."""
    roads: np.ndarray
    """int64, the routes, end to end."""


def grid_trips(rows: int, columns: int, flow: GridFlow) -> Trips:
    """The vehicles of `grid_flow` as arrays, without names of roads. Raises the same errors as `grid_flow`."""
    require_size(rows, columns)
    generator = np.random.Generator(np.random.PCG64(flow.seed))
    entries = np.array(list(_entries(rows, columns)))
    time, entry = _arrivals(flow, entries[:, 2], generator)
    if flow.crossings is not None:
        inside = np.array(list(_inner_roads(rows, columns))).reshape(-1, 3)
        later, start = _starts_inside(flow, inside[:, 2], generator)
        order = np.argsort(np.concatenate([time, later]), kind="stable")
        time = np.concatenate([time, later])[order]
        entry = np.concatenate([entry, len(entries) + start])[order]
        entries = np.concatenate([entries, inside])
    roads = _routes(rows, columns, flow, entries[entry], generator)
    driven = roads >= 0
    return Trips(time, np.concatenate([[0], driven.sum(1).cumsum()]), roads[driven].astype(np.int64))


def _arrivals(flow: GridFlow, heading: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and roads (indices into `heading`) of all vehicles that enter the grid, in order of time."""
    count = _poisson(flow.expected(), heading, generator)
    time, entry = np.nonzero(count)
    repeats = count[time, entry]
    return np.repeat(time, repeats), np.repeat(entry, repeats)


def _starts_inside(
    flow: GridFlow, heading: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and roads (indices into `heading`) of all vehicles that start inside the grid, in order of time.

    In each second, their number is Poisson-distributed over all roads of a heading together; each vehicle takes one of
    these roads uniformly.
    """
    assert flow.crossings is not None
    roads = [np.flatnonzero(heading == h) for h in range(4)]
    amounts = np.array([len(group) for group in roads])
    mean = flow.expected() / flow.crossings * amounts
    parts = max(1, math.ceil(mean.max(initial=0.0) / LARGEST_MEAN))
    count = np.sum([_poisson(mean / parts, np.arange(4), generator) for _ in range(parts)], axis=0)
    time, of_heading = np.nonzero(count)
    repeats = count[time, of_heading]
    time, of_heading = np.repeat(time, repeats), np.repeat(of_heading, repeats)
    choice = (generator.random(len(time)) * amounts[of_heading]).astype(np.int64)
    begin = np.concatenate([[0], amounts.cumsum()[:-1]])
    return time, np.concatenate(roads)[begin[of_heading] + choice]


def _poisson(mean: np.ndarray, heading: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Poisson numbers, (time, road) int64, with the means (time, heading) of the roads' headings.

    They are derived from uniform numbers, because Generator.poisson may change between versions of numpy. (Machines may
    differ in the last bit of cos and exp; the probability that this matters for a uniform number is about 1e-10.)
    """
    uniform = generator.random((len(mean), len(heading)))
    term = np.exp(-mean)
    count = np.zeros(uniform.shape, dtype=np.int64)
    at_most = term
    for number in itertools.count(1):
        more = uniform >= at_most[:, heading]
        if not more.any():
            break
        count += more
        term = term * mean / number
        if not term.any():  # the sum of probabilities may stay below 1 by a rounding error
            break
        at_most = at_most + term
    return count


def _routes(rows: int, columns: int, flow: GridFlow, entries: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Routes of vehicles that start on the given roads (V, 3: x, y, heading): (V, R) int32 roads, padded with -1. R is
    the length of the longest route, at most rows + columns."""
    x, y, heading = entries.T
    steps = np.array(HEADINGS)
    roads: list[np.ndarray] = []
    side = np.zeros(len(entries), dtype=np.int64)  # side of the last turn: 1 left, -1 right, 0 none yet
    inside = np.ones(len(entries), dtype=bool)
    for number in range(rows + columns):
        if number > 0 and not inside.any():  # nothing more is drawn once all trips have ended
            break
        roads.append(np.where(inside, (x * (rows + 2) + y) * 4 + heading, -1).astype(np.int32))
        if flow.crossings is not None and number > 0:
            inside &= generator.random(len(entries)) >= 1 / flow.crossings
        x, y = x + steps[heading, 0], y + steps[heading, 1]
        inside &= (x >= 1) & (x <= columns) & (y >= 1) & (y <= rows)
        uniform = generator.random(len(entries))
        first = np.where(uniform < flow.left, 1, -1)
        turning = uniform < flow.left + flow.right
        side = np.where(turning, np.where(side == 0, first, -side), side)
        heading = (heading + np.where(turning, side, 0)) % 4
    return np.stack(roads, axis=1)


def require_size(rows: int, columns: int) -> None:
    for name, value in (("rows", rows), ("columns", columns)):
        if not 1 <= value <= LONGEST_SIDE:
            raise ValueError(f"{name} must be between 1 and {LONGEST_SIDE}, not {value}")


def is_real(place: tuple[int, int], rows: int, columns: int) -> bool:
    return 1 <= place[0] <= columns and 1 <= place[1] <= rows


def ahead(place: tuple[int, int], heading: int) -> tuple[int, int]:
    return place[0] + HEADINGS[heading][0], place[1] + HEADINGS[heading][1]


def _entries(rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Roads into the grid as x, y and heading, in the order of headings east, north, west, south."""
    yield from ((0, y, 0) for y in range(1, rows + 1))
    yield from ((x, 0, 1) for x in range(1, columns + 1))
    yield from ((columns + 1, y, 2) for y in range(1, rows + 1))
    yield from ((x, rows + 1, 3) for x in range(1, columns + 1))


def _inner_roads(rows: int, columns: int) -> Iterator[tuple[int, int, int]]:
    """Roads between two intersections with lights, as x, y and heading."""
    for x, y, heading in itertools.product(range(1, columns + 1), range(1, rows + 1), range(4)):
        if is_real(ahead((x, y), heading), rows, columns):
            yield x, y, heading
